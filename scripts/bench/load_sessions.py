"""Many sessions: how long one takes to open, what an idle one weighs, and ten thousand of them."""

from __future__ import annotations

import time
from array import array
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol

import trio

from scripts.bench.figures import END, Measurement, Task
from scripts.bench.load_messages import time_round_trips
from scripts.bench.meter import Meter, percentiles, resident

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from scripts.bench.link import Link, SessionLink
    from scripts.bench.side import Side

    class OpenerLink(Link, SessionLink, Protocol):
        """A link whose client opens more sessions."""

    class CrowdLink(Link, Protocol):
        """A link whose further sessions can carry messages."""

        def open_session(self) -> AbstractAsyncContextManager[object]:
            """Open one at the client."""

        async def use(self, session: object) -> Link:
            """Return a way through a session, at the client."""

        async def accept_used(self, count: int) -> list[Link]:
            """Return the ways through the last `count` sessions, at the server."""


_STEP = b"next"
_IDLE_TIMES = 12
"""A crowd idles this many times as long as a one-way figure takes: 60 s with the defaults."""
_BUSY = 10


async def serve_open(link: OpenerLink, _task: Task, _side: Side) -> Measurement:
    """Let the sessions come and go."""
    meter = Meter()
    await _expect(link, END)
    return meter.read(1)


async def drive_open(link: OpenerLink, task: Task, _side: Side) -> Measurement:
    """Open and close sessions, one after the other."""
    samples = array("Q")
    meter = Meter()
    begin = time.perf_counter()
    while len(samples) < task.samples and time.perf_counter() - begin < task.seconds:
        start = time.perf_counter_ns()
        async with link.open_session():
            samples.append(time.perf_counter_ns() - start)
    measurement = meter.read(len(samples))
    await link.send(END)
    return {**measurement, **percentiles(samples), "opens_s": len(samples) / measurement["seconds"]}


async def serve_idle(link: OpenerLink, task: Task, _side: Side) -> Measurement:
    """Weigh this process before and after the sessions."""
    before = resident()
    meter = Meter()
    await link.send(_STEP)
    await _expect(link, _STEP)
    measurement = _weigh(meter, before, task.figure.count)
    await link.send(END)
    return measurement


async def drive_idle(link: OpenerLink, task: Task, _side: Side) -> Measurement:
    """Open the sessions and weigh this process before and after them."""
    count = task.figure.count
    await _expect(link, _STEP)
    async with AsyncExitStack() as sessions:
        before = resident()
        meter = Meter()
        for _ in range(count):
            await sessions.enter_async_context(link.open_session())
        measurement = _weigh(meter, before, count)
        await link.send(_STEP)
        await _expect(link, END)
    return measurement


async def serve_crowd(link: CrowdLink, task: Task, side: Side) -> Measurement:
    """Weigh this process, let the crowd idle, then answer the few that are used."""
    before = resident()
    meter = Meter()
    await link.send(_STEP)
    await _expect(link, _STEP)
    measurement = _weigh(meter, before, task.figure.count)
    measurement |= await _idle(task, side)
    await _expect(link, _STEP)

    async def echo(used: Link) -> None:
        while (message := await used.receive()) != END:
            await used.send(message)

    async with trio.open_nursery() as nursery:
        for used in await link.accept_used(_BUSY):
            nursery.start_soon(echo, used)
    await link.send(END)
    return measurement


async def drive_crowd(link: CrowdLink, task: Task, side: Side) -> Measurement:
    """Open the crowd, let it idle, then time round trips of a few at a time."""
    count = task.figure.count
    await _expect(link, _STEP)
    samples = array("Q")
    async with AsyncExitStack() as stack:
        before = resident()
        meter = Meter()
        sessions = [await stack.enter_async_context(link.open_session()) for _ in range(count)]
        measurement = _weigh(meter, before, count)
        measurement["open_s"] = measurement["seconds"]
        await link.send(_STEP)
        measurement |= await _idle(task, side)
        await link.send(_STEP)

        async def ping(used: Link) -> None:
            samples.extend(await time_round_trips(used, bytes(task.figure.size), task))
            await used.send(END)

        async with trio.open_nursery() as nursery:
            for session in sessions[-_BUSY:]:
                nursery.start_soon(ping, await link.use(session))
        await _expect(link, END)
    return {**measurement, **percentiles(samples)}


def _weigh(meter: Meter, before: int, count: int) -> Measurement:
    measurement = meter.read(count)
    return {**measurement, "session_kib": (resident() - before) / count / 1024}


async def _idle(task: Task, side: Side) -> Measurement:
    begin = time.process_time()
    await side.sleep(task.seconds * _IDLE_TIMES)
    return {"idle_cpu_s": time.process_time() - begin}


async def _expect(link: Link, mark: bytes) -> None:
    if (message := await link.receive()) != mark:
        raise RuntimeError(f"{message[:20]!r} came where {mark!r} was due")
