"""Pools that are awaited: trio-parallel, and anyio's on Trio and on asyncio."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from scripts.bench.meter import percentiles
from scripts.bench.workers_loads.work import echo, hang, who
from scripts.bench.workers_task import PAUSE, PAYLOAD, TIMEOUT, Task, latencies, private_kib

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from scripts.bench.figures import Measurement

    Run = Callable[..., Awaitable[Any]]

_now = time.perf_counter_ns


@asynccontextmanager
async def _trio_parallel(workers: int) -> AsyncIterator[tuple[Run, Run]]:
    trio, parallel = import_module("trio"), import_module("trio_parallel")
    limiter = trio.CapacityLimiter(workers)
    # Forked from a server that has imported what is needed: its quickest way to a new worker.
    async with parallel.open_worker_context(worker_type=parallel.WorkerType.FORKSERVER) as context:
        run = partial(context.run_sync, limiter=limiter)
        yield run, partial(context.run_sync, kill_on_cancel=True, limiter=limiter)


@asynccontextmanager
async def _anyio(workers: int) -> AsyncIterator[tuple[Run, Run]]:
    anyio, to_process = import_module("anyio"), import_module("anyio.to_process")
    limiter = anyio.CapacityLimiter(workers)
    run = partial(to_process.run_sync, limiter=limiter)
    yield run, partial(to_process.run_sync, cancellable=True, limiter=limiter)


def measure(task: Task) -> Measurement:
    """Measure a figure of a pool that is warm."""
    anyio = import_module("anyio")
    backend = "asyncio" if task.contender.endswith("asyncio") else "trio"
    measured: Measurement = anyio.run(_measure, task, backend=backend)
    return measured


async def _measure(task: Task) -> Measurement:
    anyio = import_module("anyio")
    open_pool = _trio_parallel if task.contender == "trio_parallel" else _anyio
    async with open_pool(task.workers) as (run, run_killed):
        pids: list[int] = []

        async def ask() -> None:
            pids.append(await run(who, 0.2))

        async with anyio.create_task_group() as group:
            for _ in range(task.workers):
                group.start_soon(ask)
        match task.figure:
            case "memory":
                return {"private_kib": private_kib(pids)}
            case "noop_call":
                return await _one_by_one(run, task)
            case "noop_call_16":
                return await _many(anyio, run, task)
            case _:
                return await _kills(anyio, run, run_killed, task)


async def _one_by_one(run: Run, task: Task) -> Measurement:
    for _ in range(task.warm_up):
        await run(echo, PAYLOAD)
    taken = []
    begun = _now()
    for _ in range(task.samples):
        start = _now()
        await run(echo, PAYLOAD)
        taken.append(_now() - start)
    return latencies(taken, (_now() - begun) / 1e9)


async def _many(anyio: Any, run: Run, task: Task) -> Measurement:
    async def call(samples: int) -> None:
        for _ in range(samples):
            await run(echo, PAYLOAD)

    async def all_of(samples: int) -> float:
        begun = _now()
        async with anyio.create_task_group() as group:
            for _ in range(task.callers):
                group.start_soon(call, samples // task.callers)
        return (_now() - begun) / 1e9

    await all_of(task.warm_up)
    return {"rate": task.samples // task.callers * task.callers / await all_of(task.samples)}


async def _kills(anyio: Any, run: Run, run_killed: Run, task: Task) -> Measurement:
    taken = []
    for _ in range(task.samples):
        await anyio.sleep(PAUSE)
        deadline = _now() + round(TIMEOUT * 1e9)
        with anyio.move_on_after(TIMEOUT):
            await run_killed(hang)
        await run(echo, PAYLOAD)
        taken.append(_now() - deadline)
    return percentiles(taken)
