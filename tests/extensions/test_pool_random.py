"""Seeded schedules of callers, sessions, deaths, failing starts and reloads, against what a pool promises (section 9).

`WEB4_POOL_RUNS=2000 pytest tests/extensions/test_pool_random.py` makes as many as you want; a failure prints a seed.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.extensions.pretending import Job, Workshop, refused
from web4.extensions.pool.memory import MemoryCeiling
from web4.extensions.pool.pool import Moved, Pool, PoolOptions

if TYPE_CHECKING:
    from web4.extensions.outcome import CallOutcome

RUNS = int(os.environ.get("WEB4_POOL_RUNS", "25"))
JOBS = 120
WEATHER = 4.0
"""Seconds of the jumping clock in which things happen; afterwards everything that was asked must still be answered."""


class Run:
    """One random run and what was seen of it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        rng = self.rng
        self.options = PoolOptions(
            workers=rng.randint(1, 5),
            spares=rng.randint(0, 2),
            reuse=rng.choice(("shared", "shared", "session", "call")),
            queue_ms=rng.choice((50, 500, 5_000)),
            idle_ms=rng.choice((200, 300_000)),
            calls=rng.choice((3, 10, 1_000)),
            queue=rng.choice((4, 1_024)),
        )
        self.calm = rng.random() < 0.3
        self.memory = MemoryCeiling(None if self.calm else rng.choice((None, 40 << 20, 80 << 20)))
        self.outcomes: dict[int, CallOutcome] = {}
        self.cancelled: set[int] = set()
        self.queued: list[int] = []
        self.shops: list[Workshop] = []
        self.pools: list[Pool[Job]] = []

    async def open_pool(self, nursery: trio.Nursery) -> None:
        shop = Workshop(nursery, self.rng)
        shop.starting = self.rng.choice((0.001, 0.02, 0.2))
        if not self.calm:
            shop.fails = lambda: self.rng.random() < 0.1
        pool = Pool(shop.start, refused, options=self.options, memory=self.memory)
        self.shops.append(shop)
        self.pools.append(pool)
        await nursery.start(pool.run)

    def job(self, number: int) -> Job:
        rng = self.rng
        end = "ok" if self.calm else rng.choices(("ok", "timeout", "lost", "grown"), (20, 1, 1, 1))[0]
        session = rng.choice((None, "a", "b", "c", "d"))
        return Job(number, rng.choice((0.0, 0.001, 0.01, 0.1)), session, end)

    async def caller(self, number: int) -> None:
        rng = self.rng
        await trio.sleep(rng.random() * WEATHER)
        job = self.job(number)
        patience = 0.05 * rng.random() if not self.calm and rng.random() < 0.1 else 1e6
        with trio.move_on_after(patience) as scope:
            answer: CallOutcome | Moved = Moved(rng.random() < 0.5, fresh=False, waited=0.0, call=job)
            while isinstance(answer, Moved):
                answer = await self.pools[-1].call(
                    job, session=job.session, again=answer.again, fresh=answer.fresh, before=answer.waited
                )
            self.outcomes[number] = answer
        if scope.cancelled_caught:
            self.cancelled.add(number)

    async def killer(self) -> None:
        while True:
            await trio.sleep(self.rng.random() * 0.5)
            idle = [one for one in self.shops[-1].alive if not one.busy and one.usable]
            if idle and not self.calm:
                self.rng.choice(idle).die()

    async def turns(self) -> None:
        """Runs that see one generation while they last; more of their calls come than callers make."""
        number = JOBS
        while True:
            await trio.sleep(self.rng.random())
            pool = self.pools[-1]
            shop = self.shops[-1]
            pool.pin()
            try:
                with trio.CancelScope(shield=True):
                    for _ in range(3):
                        await trio.sleep(self.rng.random() * 0.5)
                        number += 1
                        answer = await pool.call(Job(number, 0.001), pinned=True)
                        assert not isinstance(answer, Moved), "a pinned call was sent elsewhere"
                        assert answer.code is not None or number in shop.order
            finally:
                pool.unpin()

    async def watcher(self) -> None:
        while True:
            await trio.sleep(0.3)
            for worker in self.shops[-1].alive:
                worker.burning = 0.0 if self.calm else self.rng.choice((0.0, 0.0, 0.0, 0.9))
            for pool in self.pools:
                pool.look_at_idle()

    async def reloader(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.sleep(self.rng.random() * 3)
            old = self.pools[-1]
            await self.open_pool(nursery)
            old.supersede()

    async def play(self) -> None:
        async with trio.open_nursery() as outer:
            await self.open_pool(outer)
            async with trio.open_nursery() as weather:
                weather.start_soon(self.killer)
                weather.start_soon(self.turns)
                weather.start_soon(self.watcher)
                weather.start_soon(self.reloader, outer)
                async with trio.open_nursery() as callers:
                    for number in range(JOBS):
                        callers.start_soon(self.caller, number)
                weather.cancel_scope.cancel()
            health = self.pools[-1].health()
            assert (health.busy, health.waiting) == (0, 0)
            self.pools[-1].close("the run is over")
        assert self.memory.used == 0
        for pool in self.pools:
            health = pool.health()
            assert (health.busy, health.free, health.starting, health.leaving, health.waiting) == (
                0,
                0,
                0,
                0,
                0,
            )


def check(run: Run) -> None:
    options = run.options
    cap = options.workers + options.spares
    answered = {number for number, outcome in run.outcomes.items() if outcome.code != "worker_lost"}
    assert run.outcomes.keys() | run.cancelled == set(range(JOBS)), "a call was lost"
    assert not run.outcomes.keys() & run.cancelled
    served: list[int] = []
    for shop in run.shops:
        assert shop.alive == []
        assert shop.most_running <= options.workers
        assert shop.most_alive <= 2 * cap
        for worker in shop.made:
            served += [job.number for job in worker.served if job.number < JOBS]
            assert len(worker.served) <= options.calls
            if options.reuse == "call":
                assert len(worker.served) <= 1
            if options.reuse == "session":
                assert len({job.session for job in worker.served}) <= 1, "two sessions in one worker"
    twice = {number for number in served if served.count(number) > 1}
    lost = {number for number in range(JOBS) if served.count(number) > 2}
    assert not lost
    assert not twice & {n for n in answered if run.outcomes[n].code is None}, "served twice, and answered"
    for number, outcome in run.outcomes.items():
        if outcome.code in (None, "extension_timeout"):
            assert number in served
        if outcome.code == "extension_busy" and "wait already" not in str(outcome.reason):
            assert outcome.queue_ms is not None
            assert outcome.queue_ms >= options.queue_ms - 1e-6
        if outcome.code == "extension_busy":
            assert number not in served or run.outcomes[number].code == "extension_busy"
    if run.calm and options.queue_ms == 5_000 and options.queue == 1_024:
        assert all(outcome.code is None for outcome in run.outcomes.values()), "a call failed for no reason"


@pytest.mark.parametrize("seed", range(RUNS))
def test_no_call_is_lost_none_served_twice_and_the_bounds_hold(seed: int) -> None:
    """EXT-23, EXT-25, EXT-37, EXT-39, on whatever schedule."""
    print(f"seed {seed}")
    run = Run(seed)
    trio.run(run.play, clock=trio.testing.MockClock(autojump_threshold=0))
    check(run)
