"""Workers that only pretend: for the logic of a pool, on a clock that jumps."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import trio

from web4.extensions.errors import WorkerStartError
from web4.extensions.outcome import CallOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from web4.extensions.pool.waiting import Refusal


class Job(NamedTuple):
    """A pretended call: how long it takes, and what becomes of its worker."""

    number: int
    seconds: float = 0.01
    session: str | None = None
    end: str = "ok"
    """`ok`, `timeout` (the worker is killed), `lost`, `grown` (unfit afterwards)."""


def outcome(job: Job, code: str | None = None, **fields: object) -> CallOutcome:
    return CallOutcome(
        outcome="ok" if code is None else "error",
        code=code,
        extension="pretended",
        version="1.0.0",
        operation="tool:job",
        call_id=str(job.number),
        **fields,  # type: ignore[arg-type]
    )


def refused(job: Job, refusal: Refusal, waited: float) -> CallOutcome:
    return outcome(job, refusal.code, queue_ms=waited * 1000, reason=refusal.reason)


class PretendedWorker:
    """Serves one job at a time; says what it was asked."""

    def __init__(self, shop: Workshop, number: int) -> None:
        self.shop = shop
        self.number = number
        self.busy = False
        self.burning = 0.0
        self.served: list[Job] = []
        self.killed: str | None = None
        self.drained = False
        self.obeys_drain = True
        self.resident = shop.resident
        self._grown = False
        self._cancelled = trio.CancelScope()
        self._dead = trio.Event()
        self._died = trio.Event()

    @property
    def usable(self) -> bool:
        return self.killed is None and not self._dead.is_set()

    async def call(self, job: Job, waited: float, /) -> CallOutcome:
        assert not self.busy, "two calls at once"
        assert self.usable, "a dead worker was given a call"
        self.busy = True
        self.served.append(job)
        self.shop.begun(self, job, waited)
        try:
            with trio.CancelScope() as self._cancelled:
                if job.end == "lost":
                    self.kill("lost")
                    await self.wait()
                    return outcome(job, "worker_lost")
                await trio.sleep(job.seconds)
                if job.end == "timeout":
                    self.kill("late")
                    await self.wait()
                    return outcome(job, "extension_timeout")
                self._grown = job.end == "grown"
                return outcome(job, worker_id=str(self.number), queue_ms=waited * 1000)
            self.kill("cancelled")
            return outcome(job, "extension_cancelled")
        except trio.Cancelled:
            self.kill("its caller was cancelled")
            raise
        finally:
            self.busy = False
            self.shop.running -= 1

    def cpu_seconds(self) -> float:
        return trio.current_time() * self.burning

    def unfit(self) -> str | None:
        return "it has grown" if self._grown else None

    def cancel(self, reason: str) -> None:
        self._cancelled.cancel(reason)

    async def drain(self) -> None:
        assert not self.busy
        self.drained = True
        if not self.obeys_drain:
            await trio.sleep(0.02)
        self.kill("drained")
        await self.wait()

    def kill(self, reason: str) -> None:
        if self.killed is None:
            self.killed = reason
            self._dead.set()
            self.shop.nursery.start_soon(self._die)

    def die(self) -> None:
        """By itself: nobody is told until it is noticed."""
        self._dead.set()
        self.shop.nursery.start_soon(self._die)

    async def _die(self) -> None:
        with trio.CancelScope(shield=True):  # a test that fails does not keep it alive
            await trio.sleep(self.shop.dying)
        if self in self.shop.alive:
            self.shop.alive.remove(self)
        self._died.set()

    async def wait(self) -> None:
        await self._died.wait()


class Workshop:
    """Where pretended workers are made, and what is seen of them."""

    def __init__(self, nursery: trio.Nursery, rng: random.Random | None = None) -> None:
        self.nursery = nursery
        self.rng = rng or random.Random(0)
        self.starting = 0.02
        self.dying = 0.001
        self.resident = 8 << 20
        self.failing: str | None = None
        self.fails: Callable[[], bool] = lambda: False
        self.stillborn = False
        self.alive: list[PretendedWorker] = []
        self.made: list[PretendedWorker] = []
        self.attempts: list[float] = []
        self.running = 0
        self.most_running = 0
        self.most_alive = 0
        self.order: list[int] = []

    @asynccontextmanager
    async def start(self) -> AsyncIterator[PretendedWorker]:
        self.attempts.append(trio.current_time())
        await trio.sleep(self.starting)
        if self.failing is not None or self.fails():
            raise WorkerStartError("it does not start", code=self.failing or "extension_start_failed")
        worker = PretendedWorker(self, len(self.made))
        self.made.append(worker)
        self.alive.append(worker)
        self.most_alive = max(self.most_alive, len(self.alive))
        if self.stillborn:
            worker.die()
        try:
            yield worker
        finally:
            worker.kill("closed")
            with trio.CancelScope(shield=True):
                await worker.wait()

    def begun(self, worker: PretendedWorker, job: Job, _waited: float) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.order.append(job.number)
        assert worker in self.alive or worker.killed is None
