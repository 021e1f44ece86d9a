"""A process of the demo, seen from the one that started it: its events, and questions it answers."""

from __future__ import annotations

import itertools
import os
import sys
from contextlib import asynccontextmanager
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import trio

from web4.demo.lines import read_lines, to_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


class ChildError(Exception):
    """A process of the demo failed to do what it was asked, or ended."""


class Child:
    """One process of the demo."""

    def __init__(
        self,
        name: str,
        process: trio.Process,
        on_event: Callable[[dict[str, Any]], None],
        on_end: Callable[[], None],
    ) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._on_event = on_event
        self._on_end = on_end
        self._ids = itertools.count(1)
        self._replies: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self.ended = False
        """Whether it says nothing more."""

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have the process do something and wait for its answer.

        Raises:
            ChildError: It could not, or it has ended.
        """
        number = next(self._ids)
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._replies[number] = send
        try:
            if self.ended:
                raise ChildError(f"{self.name} has ended")
            assert self._process.stdin is not None
            await self._process.stdin.send_all(to_line({"id": number, "do": do, **arguments}))
            reply = await receive.receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
            raise ChildError(f"{self.name} ended while it was asked to {do}") from None
        finally:
            self._replies.pop(number, None)
        if "error" in reply:
            raise ChildError(f"{self.name} could not {do}: {reply['error']}")
        return reply

    async def kill(self) -> None:
        """End the process as a crash does, at once and without a word; return when it is gone."""
        self._process.kill()
        await self._process.wait()

    async def listen(self) -> None:
        """Hand on what the process says, until it ends."""
        assert self._process.stdout is not None
        async for message in read_lines(self._process.stdout):
            if message["type"] == "reply":
                waiting = self._replies.get(message["id"])
                if waiting is not None:
                    waiting.send_nowait(message)
            else:
                self._on_event(message)
        self.ended = True
        for waiting in self._replies.values():
            waiting.close()
        self._on_end()


@asynccontextmanager
async def start_child(
    module: str,
    name: str,
    configuration: dict[str, Any],
    on_event: Callable[[dict[str, Any]], None],
    on_end: Callable[[], None],
    nursery: trio.Nursery,
) -> AsyncGenerator[Child]:
    """Run `python -m module` for the length of a block.

    It reads its configuration as the first line, says events and answers on its output, which a task of `nursery`
    reads, and ends when its input does; what has not ended two seconds later is killed.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # A session of its own, so that Ctrl-C reaches the one who tells the story, and it ends the others in order.
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", module], stdin=PIPE, stdout=PIPE, env=environment, start_new_session=True
    )
    child = Child(name, process, on_event, on_end)
    assert process.stdin is not None
    try:
        await process.stdin.send_all(to_line(configuration))
        nursery.start_soon(child.listen)
        yield child
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            with trio.move_on_after(2):
                await process.wait()
            if process.poll() is None:
                process.kill()
                await process.wait()
