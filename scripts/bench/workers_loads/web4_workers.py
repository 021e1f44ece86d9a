"""Web4's own workers, sandboxed as they are by default, called through the extension host of a node."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from scripts.bench.meter import percentiles, resident
from scripts.bench.workers_loads import bench_workers
from scripts.bench.workers_task import PAUSE, TIMEOUT, Task, latencies, private_kib
from web4.extensions.conversation.conversation import open_conversation
from web4.extensions.conversation.terms import Terms
from web4.extensions.hosting.generation import start_spec
from web4.extensions.hosting.host import open_extension_host
from web4.extensions.hosting.options import HostOptions
from web4.extensions.hosting.provisional import read_provisional
from web4.extensions.processes import open_processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from scripts.bench.figures import Measurement
    from web4.extensions.enabling.standing import EnabledExtension
    from web4.extensions.hosting.host import ExtensionHost
    from web4.extensions.processes import Processes

_now = time.perf_counter_ns
_TEXT = "x" * 1024
_NAME = "bench.workers"
_TIMEOUT_MS = round(TIMEOUT * 1_000)
_TREE = 16
"""Processes that the worker that forks may have."""
_QUICK_MS = 10
"""Limit of the calls that are killed by the thousand."""
_THREADS_END = 15.0
"""Seconds within which Trio lets go of threads that nobody needs."""
_LONG = 60.0
"""Seconds after which the benchmark is stuck."""


class Setting(NamedTuple):
    """A host with the benchmark's extension."""

    host: ExtensionHost
    processes: Processes
    extension: EnabledExtension
    place: Path

    async def call(self, name: str, timeout_ms: int | None = None, **arguments: object) -> object:
        """Call a tool; what it gave.

        Raises:
            RuntimeError: It failed in another way than by its time.
        """
        outcome = await self.host.call("tool", f"{_NAME}.{name}", arguments, timeout_ms=timeout_ms)
        if outcome.code not in (None, "extension_timeout"):
            raise RuntimeError(f"{name}: {outcome.code}: {outcome.reason}")
        return outcome.value

    async def hang(self, kind: str, timeout_ms: int = _TIMEOUT_MS) -> None:
        """Call a tool that does not come back."""
        outcome = await self.host.call("tool", f"{_NAME}.{kind}", {}, timeout_ms=timeout_ms)
        if outcome.code != "extension_timeout":
            raise RuntimeError(f"{kind}: {outcome.code}: {outcome.reason}")
        # Its failures are meant: without this the benchmark would measure the quarantine.
        await self.host.reset(_NAME)

    async def settled(self, free: int) -> None:
        """Until so many workers are free, and none is on its way in or out."""
        with trio.fail_after(_LONG):
            while True:
                pool = self.host.health().extensions[0].pool
                if pool.free >= free and not (pool.starting or pool.leaving or pool.busy):
                    return
                await trio.sleep(0.005)


def write_extension(directory: Path, *, workers: int, processes: int, spares: int) -> None:
    """Put the extension where it can be run from; its manifest follows from its types."""
    directory.mkdir()
    shutil.copy(str(bench_workers.__file__), directory / "bench_workers.py")
    manifest = {
        "schema": 1,
        "protocol": 1,
        "name": _NAME,
        "version": "1.0.0",
        "description": "Of the benchmark.",
        "entry": {"python": "bench_workers:ext"},
        "resources": {"workers": workers, "processes": processes, "spares": spares},
        **bench_workers.ext.describe(),
    }
    (directory / "web4-extension.json").write_text(json.dumps(manifest))


@asynccontextmanager
async def _setting(task: Task, *, processes: int = 1, spares: int = 1) -> AsyncIterator[Setting]:
    """A host whose workers are ready. Workers are retired after as many calls as by default."""
    with tempfile.TemporaryDirectory(prefix="web4-bench-") as name:
        place = Path(name)
        write_extension(place / "extension", workers=task.workers, processes=processes, spares=spares)
        extension = read_provisional(place / "extension")
        async with (
            open_processes(runtime=place / "runtime") as started,
            open_extension_host([extension], started, options=HostOptions()) as host,
        ):
            await host.ready(_NAME)
            setting = Setting(host, started, extension, place)
            await setting.settled(spares)
            yield setting


async def _noop_call(task: Task) -> Measurement:
    async with _setting(task) as setting:
        call, arguments = setting.host.call, {"data": _TEXT}
        name = f"{_NAME}.echo"
        for _ in range(task.warm_up):
            await call("tool", name, arguments)
        taken = []
        begun = _now()
        for _ in range(task.samples):
            start = _now()
            outcome = await call("tool", name, arguments)
            taken.append(_now() - start)
            assert outcome.value == _TEXT
        return latencies(taken, (_now() - begun) / 1e9)


async def _noop_call_16(task: Task) -> Measurement:
    async with _setting(task, spares=task.workers) as setting:

        async def calls(samples: int) -> None:
            for _ in range(samples):
                assert await setting.call("echo", data=_TEXT) == _TEXT

        async def all_of(samples: int) -> float:
            begun = _now()
            async with trio.open_nursery() as nursery:
                for _ in range(task.callers):
                    nursery.start_soon(calls, samples // task.callers)
            return (_now() - begun) / 1e9

        await all_of(max(task.warm_up, task.callers))
        return {"rate": task.samples // task.callers * task.callers / await all_of(task.samples)}


async def _memory(task: Task) -> Measurement:
    async with _setting(task, spares=task.workers) as setting:
        pids: list[int] = []

        async def ask() -> None:
            pid = await setting.call("who", seconds=0.2)
            assert isinstance(pid, int)
            pids.append(pid)

        async with trio.open_nursery() as nursery:
            for _ in range(task.workers):
                nursery.start_soon(ask)
        return {"private_kib": private_kib(pids)}


async def _kill_to_served(task: Task) -> Measurement:
    async with _setting(task) as setting:
        taken = []
        for _ in range(task.samples):
            await trio.sleep(PAUSE)
            await setting.settled(1)
            await setting.call("echo", data=_TEXT)
            await setting.settled(2)  # one warm worker, one spare
            deadline = _now() + _TIMEOUT_MS * 1_000_000
            await setting.hang("sleeping")
            await setting.call("echo", data=_TEXT)
            taken.append(_now() - deadline)
        return percentiles(taken)


async def _overshoot(task: Task) -> Measurement:
    kind = task.figure.removeprefix("overshoot_")
    async with _setting(task, processes=_TREE if kind == "forking" else 1) as setting:
        taken = []
        for _ in range(task.samples):
            await setting.settled(1)
            before = len(descendants(os.getpid()))
            deadline = _now() + _TIMEOUT_MS * 1_000_000
            await setting.hang(kind)
            taken.append(_now() - deadline)
            await setting.settled(1)
            if len(descendants(os.getpid())) > before:
                raise RuntimeError(f"{kind}: something of it lives on")
        return percentiles(taken)


async def _starts(task: Task) -> Measurement:
    """Workers one after another: to a complete sandbox, and to `ready`."""
    entered, ready = [], []
    async with _setting(task, spares=0) as setting:
        spec, terms = start_spec(setting.extension, 1, HostOptions()), Terms(setting.extension.manifest)
        for number in range(task.samples + 3):
            start = _now()
            process = await setting.processes.start(spec)
            middle = _now()
            async with open_conversation(process, terms) as conversation:
                await conversation.greet()
                end = _now()
            if number >= 3:
                entered.append(middle - start)
                ready.append(end - start)
    return {**percentiles(entered), **percentiles(ready, "ready_")}


async def _spawn_cold(task: Task) -> Measurement:
    taken = []
    for _ in range(task.samples):
        start = _now()
        async with _setting(task):
            taken.append(_now() - start)
    return percentiles(taken)


async def _kills_1000(task: Task) -> Measurement:
    """What is there before and after so many timeouts in a row (EXT-41)."""
    async with _setting(task) as setting:

        async def left() -> tuple[int, int, int, int, int]:
            await setting.settled(1)
            await trio.sleep(0.3)  # what is cleaned in the background is cleaned
            with trio.move_on_after(_THREADS_END):
                while threading.active_count() > 1:  # noqa: ASYNC110 - Trio's idle threads end by themselves
                    await trio.sleep(0.1)
            files = sum(1 for _ in setting.place.rglob("*"))
            descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a directory of the kernel's
            children = len(descendants(os.getpid()))
            return descriptors, threading.active_count(), children, files, resident()

        for _ in range(10):
            await setting.hang("sleeping", _QUICK_MS)
        before = await left()
        begun = _now()
        for _ in range(task.samples):
            await setting.hang("sleeping", _QUICK_MS)
        seconds = (_now() - begun) / 1e9
        after = await left()
    gained = dict(
        zip(("descriptors", "threads", "children", "files"), map(_gain, before, after), strict=False)
    )
    return {**gained, "memory_ratio": after[4] / before[4], "kills_per_s": task.samples / seconds}


def _gain(before: int, after: int) -> float:
    return float(after - before)


def descendants(pid: int) -> set[int]:
    """The processes below one, zombies included."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            below.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        children = below.get(todo.pop(), [])
        found.update(children)
        todo += children
    return found


_FIGURES: dict[str, Callable[[Task], Awaitable[Measurement]]] = {
    "noop_call": _noop_call,
    "noop_call_16": _noop_call_16,
    "memory": _memory,
    "kill_to_served": _kill_to_served,
    "overshoot_sleeping": _overshoot,
    "overshoot_spinning": _overshoot,
    "overshoot_forking": _overshoot,
    "starts": _starts,
    "spawn_cold": _spawn_cold,
    "kills_1000": _kills_1000,
}


def measure(task: Task) -> Measurement:
    """Measure a figure."""
    return trio.run(_FIGURES[task.figure], task)
