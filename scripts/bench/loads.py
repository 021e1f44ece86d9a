"""The loads, each a coroutine for the server and one for the client."""

from __future__ import annotations

import threading
import time
from array import array
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scripts.bench.figures import END, Figure, Measurement, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bench.link import Link


class _Meter:
    """Wall and CPU time since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._process = time.process_time()
        self._thread = time.thread_time()

    def read(self, messages: int) -> Measurement:
        seconds = time.perf_counter() - self._wall
        share = 1e6 / max(messages, 1)
        return {
            "messages": messages,
            "seconds": seconds,
            "cpu_us": (time.process_time() - self._process) * share,
            "cpu_main_us": (time.thread_time() - self._thread) * share,
        }


async def serve(link: Link, task: Task) -> Measurement:
    """Run the server's half of a figure."""
    if task.figure.kind == "ping_pong":
        return await _echo(link)
    return await _count(link, task)


async def drive(link: Link, task: Task) -> Measurement:
    """Run the client's half of a figure."""
    if task.figure.kind == "one_way":
        return await _flood(link, task)
    with _hog(task.figure):
        return await _ping(link, task)


async def _count(link: Link, task: Task) -> Measurement:
    each = task.figure.batch == 1
    received = 0
    meter: _Meter | None = None
    begin: float | None = None
    while True:
        messages = [await link.receive()] if each else await link.receive_many()
        if begin is None:
            begin = time.perf_counter()
        if messages[-1] == END:
            break
        received += len(messages)
        if meter is None and time.perf_counter() - begin >= task.warm_up:
            meter, received = _Meter(), 0
    if meter is None:
        raise RuntimeError("the load ended during the warm-up")
    measurement = meter.read(received + len(messages) - 1)
    rate = measurement["messages"] / measurement["seconds"]
    return {**measurement, "rate": rate, "mib_s": rate * task.figure.size / 2**20}


async def _flood(link: Link, task: Task) -> Measurement:
    figure = task.figure
    message = bytes(range(256)) * (figure.size // 256) or bytes(figure.size)
    batch = [message] * figure.batch
    sent = 0
    meter = _Meter()
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


async def _echo(link: Link) -> Measurement:
    meter = _Meter()
    echoed = 0
    while (message := await link.receive()) != END:
        await link.send(message)
        echoed += 1
    return meter.read(echoed)


async def _ping(link: Link, task: Task) -> Measurement:
    message = bytes(task.figure.size)
    warm = time.perf_counter() + task.warm_up
    while time.perf_counter() < warm:
        await link.send(message)
        await link.receive()
    samples = array("Q")
    meter = _Meter()
    end = time.perf_counter_ns() + int(task.seconds * 1e9)
    now = time.perf_counter_ns()
    while len(samples) < task.samples and now < end:
        begin = now
        await link.send(message)
        await link.receive()
        now = time.perf_counter_ns()
        samples.append(now - begin)
    measurement = meter.read(len(samples))
    await link.send(END)
    ordered = sorted(samples)
    return {
        **measurement,
        "p50_us": ordered[len(ordered) // 2] / 1e3,
        "p99_us": ordered[len(ordered) * 99 // 100] / 1e3,
        "max_us": ordered[-1] / 1e3,
    }


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
