"""Messages one way and round trips: what every link carries."""

from __future__ import annotations

import threading
import time
from array import array
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, cast

from scripts.bench.figures import END, Figure, Measurement, Task
from scripts.bench.meter import Meter, percentiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bench.link import Link, SessionLink
    from scripts.bench.side import Side


async def count(link: Link, task: Task, _side: Side) -> Measurement:
    """Count what arrives after the warm-up, until the end mark."""
    each = task.figure.batch == 1
    received = 0
    meter: Meter | None = None
    begin: float | None = None
    while True:
        messages = [await link.receive()] if each else await link.receive_many()
        if begin is None:
            begin = time.perf_counter()
        if messages[-1] == END:
            break
        received += len(messages)
        if meter is None and time.perf_counter() - begin >= task.warm_up:
            meter, received = Meter(), 0
    if meter is None:
        raise RuntimeError("the load ended during the warm-up")
    measurement = meter.read(received + len(messages) - 1)
    rate = measurement["messages"] / measurement["seconds"]
    return {**measurement, "rate": rate, "mib_s": rate * task.figure.size / 2**20}


async def flood(link: Link, task: Task, _side: Side) -> Measurement:
    """Send as fast as the link takes it, then the end mark."""
    figure = task.figure
    message = bytes(range(256)) * (figure.size // 256) or bytes(figure.size)
    batch = [message] * figure.batch
    sent = 0
    meter = Meter()
    end = time.perf_counter() + task.warm_up + task.seconds
    while time.perf_counter() < end:
        if figure.batch == 1:
            await link.send(message)
        else:
            await link.send_many(batch)
        sent += figure.batch
    measurement = meter.read(sent)
    await link.send(END)
    return measurement


async def echo(link: Link, _task: Task, _side: Side) -> Measurement:
    """Send back what arrives, until the end mark."""
    meter = Meter()
    echoed = 0
    while (message := await link.receive()) != END:
        await link.send(message)
        echoed += 1
    return meter.read(echoed)


async def ping(link: Link, task: Task, _side: Side) -> Measurement:
    """Time round trips, one in flight; beside idle sessions if the figure says so."""
    async with AsyncExitStack() as idle:
        for _ in range(task.figure.count):
            await idle.enter_async_context(cast("SessionLink", link).open_session())
        with _hog(task.figure):
            measurement = await _ping(link, task)
        await link.send(END)
    return measurement


async def _ping(link: Link, task: Task) -> Measurement:
    message = bytes(task.figure.size)
    warm = time.perf_counter() + task.warm_up
    while time.perf_counter() < warm:
        await link.send(message)
        await link.receive()
    meter = Meter()
    samples = await time_round_trips(link, message, task)
    return {**meter.read(len(samples)), **percentiles(samples)}


async def time_round_trips(link: Link, message: bytes, task: Task) -> array[int]:
    """Return the nanoseconds of each round trip."""
    samples = array("Q")
    end = time.perf_counter_ns() + int(task.seconds * 1e9)
    now = time.perf_counter_ns()
    while len(samples) < task.samples and now < end:
        begin = now
        await link.send(message)
        await link.receive()
        now = time.perf_counter_ns()
        samples.append(now - begin)
    return samples


@contextmanager
def _hog(figure: Figure) -> Iterator[None]:
    """Compute in a second Python thread, which gives up the interpreter only when it is made to."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=spin)
    if figure.hogged:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if figure.hogged:
            thread.join()
