"""Pools that are called from threads: concurrent.futures, loky, pebble. Each as fast as it can be had."""

from __future__ import annotations

import multiprocessing
import os
import queue
import time
from abc import ABC, abstractmethod
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from scripts.bench.meter import percentiles
from scripts.bench.workers_loads.work import echo, hang, who
from scripts.bench.workers_task import PAUSE, PAYLOAD, TIMEOUT, Task, latencies, private_kib

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.bench.figures import Measurement

_now = time.perf_counter_ns


class _Pool(ABC):
    """A pool of processes that hands out futures."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    @abstractmethod
    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have it done."""

    def kill(self) -> None:
        """Run what hangs until its deadline, and see that it is gone."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """End its processes."""


class Futures(_Pool):
    """`concurrent.futures`. It cannot end a call that hangs."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        # Forked: the workers' interpreter is there already, and their calls take the same time.
        self._pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"))

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """See `_Pool.submit`."""
        return self._pool.submit(function, *arguments)

    def close(self) -> None:
        """See `_Pool.close`."""
        self._pool.shutdown()


class Loky(_Pool):
    """`loky`. What ends a call that hangs is to kill all its workers and begin anew."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._loky = import_module("loky")
        self._pool = self._loky.ProcessPoolExecutor(workers)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """See `_Pool.submit`."""
        submitted: Future[Any] = self._pool.submit(function, *arguments)
        return submitted

    def kill(self) -> None:
        """See `_Pool.kill`."""
        with suppress(FutureTimeoutError):
            self._pool.submit(hang).result(TIMEOUT)
        self._pool.shutdown(wait=True, kill_workers=True)
        self._pool = self._loky.ProcessPoolExecutor(self.workers)

    def close(self) -> None:
        """See `_Pool.close`."""
        self._pool.shutdown(wait=True, kill_workers=True)


class Pebble(_Pool):
    """`pebble`: it keeps deadlines itself, and fills its pool up again by itself."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        context = multiprocessing.get_context("fork")
        self._pool = import_module("pebble").ProcessPool(max_workers=workers, context=context)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """See `_Pool.submit`."""
        submitted: Future[Any] = self._pool.schedule(function, args=arguments)
        return submitted

    def kill(self) -> None:
        """See `_Pool.kill`."""
        with suppress(FutureTimeoutError, TimeoutError):
            self._pool.schedule(hang, timeout=TIMEOUT).result()

    def close(self) -> None:
        """See `_Pool.close`."""
        self._pool.stop()
        self._pool.join()


POOLS: dict[str, type[_Pool]] = {"futures": Futures, "loky": Loky, "pebble": Pebble}


def measure(task: Task) -> Measurement:
    """Measure a figure of a pool that is warm."""
    pool = POOLS[task.contender](task.workers)
    try:
        pids = [pool.submit(who, 0.2) for _ in range(2 * task.workers)]
        found = {future.result() for future in pids}
        figures: dict[str, Callable[[_Pool, Task], Measurement]] = {
            "noop_call": _one_by_one,
            "noop_call_16": _many,
            "kill_to_served": _kills,
        }
        if task.figure == "memory":
            return {"private_kib": private_kib(found - {os.getpid()})}
        return figures[task.figure](pool, task)
    finally:
        pool.close()


def _one_by_one(pool: _Pool, task: Task) -> Measurement:
    submit = pool.submit
    for _ in range(task.warm_up):
        submit(echo, PAYLOAD).result()
    taken = []
    begun = _now()
    for _ in range(task.samples):
        start = _now()
        submit(echo, PAYLOAD).result()
        taken.append(_now() - start)
    return latencies(taken, (_now() - begun) / 1e9)


def _many(pool: _Pool, task: Task) -> Measurement:
    """So many calls in flight, made by one thread: sixteen threads would only stand in each other's way."""
    done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def call() -> None:
        pool.submit(echo, PAYLOAD).add_done_callback(done.put)

    def run(samples: int) -> float:
        begun = _now()
        for _ in range(task.callers):
            call()
        for number in range(samples):
            done.get().result()
            if number < samples - task.callers:
                call()
        return (_now() - begun) / 1e9

    run(max(task.warm_up, task.callers))
    return {"rate": task.samples / run(task.samples)}


def _kills(pool: _Pool, task: Task) -> Measurement:
    taken = []
    for _ in range(task.samples):
        time.sleep(PAUSE)
        deadline = _now() + round(TIMEOUT * 1e9)
        pool.kill()
        pool.submit(echo, PAYLOAD).result()
        taken.append(_now() - deadline)
    return percentiles(taken)
