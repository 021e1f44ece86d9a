"""Messages between two tasks of one process, sending and receiving counted as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from scripts.bench.meter import Meter
from web4.actors import Actor, Mailbox, open_supervisor
from web4.actors.mailbox import WORK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from scripts.bench.figures import Measurement
    from scripts.bench.journal_task import Task

_CHUNK = 20_000


def mailbox(task: Task) -> Measurement:
    """Through a mailbox: told until it is full, drained in rounds."""
    return trio.run(_repeat, task, _through_mailbox)


def actor(task: Task) -> Measurement:
    """Through a handle to a supervised actor, each message handled by its `receive`."""
    return trio.run(_repeat, task, _through_actor)


def channel(task: Task) -> Measurement:
    """Through a Trio memory channel of the same bound."""
    return trio.run(_repeat, task, _through_channel)


async def _repeat(task: Task, run: Callable[[], Awaitable[None]]) -> Measurement:
    with trio.move_on_after(task.warm_up):
        await run()
    messages, meter = 0, Meter()
    until = trio.current_time() + task.seconds
    while trio.current_time() < until:
        await run()
        messages += _CHUNK
    found = meter.read(messages)
    found["rate"] = messages / found["seconds"]
    return found


async def _through_mailbox() -> None:
    box: Mailbox[int] = Mailbox()

    async def receive() -> None:
        got = 0
        while got < _CHUNK:
            await box.wait()
            for _ in box.drain():
                got += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        sent = 0
        while sent < _CHUNK:
            for _ in range(min(WORK - len(box), _CHUNK - sent)):
                box.work(sent)
                sent += 1
            await trio.lowlevel.checkpoint()


class _Counter(Actor[int, None]):
    """Counts."""

    def __init__(self, over: trio.Event) -> None:
        self._got = 0
        self._over = over

    async def receive(self, message: int) -> None:
        self._got += 1
        if self._got == _CHUNK:
            self._over.set()


async def _through_actor() -> None:
    over = trio.Event()
    box: Mailbox[int] = Mailbox()
    async with open_supervisor() as supervisor:
        ref = supervisor.start("counter", lambda: _Counter(over), mailbox=box)
        sent = 0
        while sent < _CHUNK:
            for _ in range(min(WORK - len(box), _CHUNK - sent)):
                ref.tell(sent)
                sent += 1
            await trio.lowlevel.checkpoint()
        await over.wait()


async def _through_channel() -> None:
    send, receive = trio.open_memory_channel[int](WORK)

    async def take() -> None:
        async with receive:
            async for _ in receive:
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        async with send:
            for number in range(_CHUNK):
                await send.send(number)
