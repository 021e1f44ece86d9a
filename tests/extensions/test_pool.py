"""What a pool promises, one thing at a time (section 9), with pretended workers on a clock that jumps."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.extensions.pretending import Job, PretendedWorker, Workshop, refused
from web4.extensions.errors import WorkerStartError
from web4.extensions.metrics import ExtensionMetrics
from web4.extensions.outcome import CallOutcome
from web4.extensions.pool.memory import MemoryCeiling
from web4.extensions.pool.pool import Moved, Pool, PoolOptions
from web4.extensions.pool.spares import Staff, StartPauses, to_start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock(autojump_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    return autojump_clock


class Stage:
    """A pool, where its workers are made, and what it counted."""

    def __init__(self, nursery: trio.Nursery, memory: MemoryCeiling | None = None, **options: Any) -> None:
        self.nursery = nursery
        self.shop = Workshop(nursery)
        self.metrics = ExtensionMetrics()
        self.pool = Pool(
            self.shop.start, refused, options=PoolOptions(**options), memory=memory, metrics=self.metrics
        )
        self.number = 0

    async def call(self, seconds: float = 0.01, **given: Any) -> CallOutcome:
        answer = await self.ask(seconds, **given)
        assert isinstance(answer, CallOutcome)
        return answer

    async def ask(self, seconds: float = 0.01, *, end: str = "ok", **given: Any) -> CallOutcome | Moved:
        self.number += 1
        job = Job(self.number, seconds, given.get("session"), end)
        return await self.pool.call(job, **given)

    async def settle(self) -> None:
        """Let what is in the background happen; less than a second."""
        await trio.sleep(0.5)


@asynccontextmanager
async def stage(memory: MemoryCeiling | None = None, **options: Any) -> AsyncIterator[Stage]:
    async with trio.open_nursery() as nursery:
        one = Stage(nursery, memory, **options)
        await nursery.start(one.pool.run)
        yield one
        one.pool.close("the test is over")


async def together(*calls: Any) -> list[CallOutcome]:
    """Make calls at once, in this order; their outcomes."""
    outcomes: dict[int, CallOutcome] = {}

    async def make(index: int, call: Any) -> None:
        outcomes[index] = await call

    async with trio.open_nursery() as nursery:
        for index, call in enumerate(calls):
            nursery.start_soon(make, index, call)
            await trio.testing.wait_all_tasks_blocked()
    return [outcomes[index] for index in range(len(calls))]


# --- workers ------------------------------------------------------------------------------------------------


async def test_spares_are_ready_before_anybody_calls_and_are_refilled_behind_a_call(clock: Any) -> None:
    """EXT-37."""
    async with stage(spares=2) as one:
        await one.settle()
        assert one.pool.health().free == 2
        outcomes = await together(*(one.call(0.2) for _ in range(2)))
        assert [outcome.queue_ms for outcome in outcomes] == [0, 0], "a call waited for a refill"
        await one.settle()
        health = one.pool.health()
        assert (health.busy, health.free) == (0, 4)
        assert one.metrics.cold_starts == 0


async def test_a_free_worker_serves_without_a_checkpoint_of_the_pool(clock: Any) -> None:
    async with stage() as one:
        await one.settle()
        worker = one.shop.made[0]

        async def at_once(job: Job, waited: float, /) -> CallOutcome:
            return refused(job, None, waited)  # type: ignore[arg-type]

        worker.call = at_once  # type: ignore[method-assign]
        with pytest.raises(AttributeError), trio.testing.assert_no_checkpoints():
            await one.call()


async def test_no_more_calls_run_than_workers_may_and_no_more_live_than_spares_allow(clock: Any) -> None:
    """EXT-37."""
    async with stage(workers=3, spares=1) as one:
        await together(*(one.call(0.1) for _ in range(20)))
        assert one.shop.most_running == 3
        assert one.shop.most_alive == 4


async def test_calls_are_served_in_the_order_in_which_they_came(clock: Any) -> None:
    async with stage(workers=1, spares=0) as one:
        await together(*(one.call() for _ in range(30)))
        assert one.shop.order == list(range(1, 31))


async def test_a_worker_that_a_call_has_cost_is_replaced_by_a_spare_at_once(clock: Any) -> None:
    """EXT-35: the start of another is never in the path of a call."""
    async with stage(workers=1, spares=1) as one:
        await one.settle()
        assert (await one.call(0.1, end="timeout")).code == "extension_timeout"
        outcome = await one.call()
        assert (outcome.code, outcome.queue_ms) == (None, 0)
        await one.settle()
        assert one.pool.health().free == 2


async def test_a_worker_is_retired_after_its_calls(clock: Any) -> None:
    """EXT-25."""
    async with stage(workers=1, spares=0, calls=10) as one:
        for _ in range(35):
            await one.call()
        assert [len(worker.served) for worker in one.shop.made] == [10, 10, 10, 5]
        assert all(worker.drained for worker in one.shop.made[:3]), "it gets its time to end"


async def test_a_worker_with_leftovers_serves_no_other_call(clock: Any) -> None:
    """EXT-25."""
    async with stage(workers=1, spares=1) as one:
        await one.settle()
        await one.call(end="grown")
        await one.call()
        assert [len(worker.served) for worker in one.shop.made[:2]] == [1, 1]
        assert one.metrics.kills == {"it has grown": 1}


async def test_every_call_gets_a_fresh_worker_where_it_wants_one(clock: Any) -> None:
    """EXT-25: `reuse = "call"`."""
    async with stage(reuse="call") as one:
        for _ in range(10):
            await one.call()
        assert sorted(len(worker.served) for worker in one.shop.made)[-10:] == [1] * 10


async def test_no_worker_serves_two_sessions(clock: Any) -> None:
    """EXT-37."""
    async with stage(reuse="session", workers=2, spares=1) as one:
        for index in range(40):
            assert (await one.call(session=f"s{index % 5}")).code is None
        for worker in one.shop.made:
            assert len({job.session for job in worker.served}) <= 1
        assert one.shop.most_alive <= 6


async def test_a_session_comes_back_to_its_worker(clock: Any) -> None:
    async with stage(reuse="session", workers=2, spares=1) as one:
        for _ in range(10):
            assert (await one.call(session="a")).worker_id == (await one.call(session="a")).worker_id
            await one.call(session="b")
        assert len([worker for worker in one.shop.made if worker.served]) == 2


async def test_a_session_without_a_worker_is_not_kept_waiting_for_ever_by_one_that_has_all(
    clock: Any,
) -> None:
    async with stage(reuse="session", workers=2, spares=0) as one:
        async with trio.open_nursery() as nursery:

            async def go_on() -> None:
                while True:
                    await one.call(0.05, session="greedy")

            for _ in range(4):
                nursery.start_soon(go_on)
            await one.settle()
            outcome = await one.call(session="modest")
            nursery.cancel_scope.cancel()
        assert outcome.code is None
        assert outcome.queue_ms is not None
        assert outcome.queue_ms < 1_000


# --- waiting ------------------------------------------------------------------------------------------------


async def test_a_call_that_finds_no_worker_in_time_is_told_that_the_extension_is_busy(clock: Any) -> None:
    """Section 5: `queue_ms`."""
    async with stage(workers=1, spares=0, queue_ms=200) as one:
        first, second = await together(one.call(1.0), one.call())
        assert first.code is None
        assert second.code == "extension_busy"
        assert second.queue_ms == pytest.approx(200)
        assert one.shop.order == [1], "it was called all the same"


async def test_a_call_waits_no_longer_than_its_run_has_left(clock: Any) -> None:
    """EXT-20."""
    async with stage(workers=1, spares=0, queue_ms=5_000) as one:
        _, second = await together(one.call(1.0), one.call(within_ms=50))
        assert second.code == "extension_busy"
        assert second.queue_ms == pytest.approx(50)


async def test_the_queue_is_bounded(clock: Any) -> None:
    async with stage(workers=1, spares=0, queue=3) as one:
        outcomes = await together(*(one.call(0.1) for _ in range(6)))
        assert [outcome.code for outcome in outcomes] == [None] * 3 + ["extension_busy"] * 3


async def test_a_call_that_is_cancelled_while_it_waits_asks_nothing_of_a_worker(clock: Any) -> None:
    async with stage(workers=1, spares=0) as one:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, 0.5)
            await one.settle()
            with trio.move_on_after(0.01):
                await one.call()
        assert one.shop.order == [1]
        assert one.pool.health().waiting == 0
        assert one.metrics.cancelled_in_queue == 1


async def test_a_call_that_is_cancelled_just_as_it_gets_a_worker_loses_none(clock: Any) -> None:
    async with stage(workers=1, spares=0) as one:
        scope = trio.CancelScope()

        async def second() -> None:
            with scope:
                await one.call()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.call, 0.05)
            await trio.sleep(0.03)
            nursery.start_soon(second)
            await trio.testing.wait_all_tasks_blocked()
            worker = one.shop.made[0]
            original = worker.unfit

            def cancel_then() -> str | None:
                nursery.start_soon(_later, scope)
                return original()

            worker.unfit = cancel_then  # type: ignore[method-assign]
        assert (await one.call()).code is None
        assert one.pool.health().busy == 0


async def _later(scope: trio.CancelScope) -> None:
    scope.cancel()


# --- what is lost -------------------------------------------------------------------------------------------


async def test_a_lost_call_is_made_once_more_in_a_fresh_worker_if_it_may_be(clock: Any) -> None:
    """EXT-23."""
    async with stage(workers=2, spares=1) as one:
        await one.call()
        outcome = await one.call(end="lost", again=True)
        assert outcome.code == "worker_lost"
        tried = [worker for worker in one.shop.made if any(job.number == 2 for job in worker.served)]
        assert len(tried) == 2
        assert [job.number for job in tried[1].served] == [2], "the second worker had served somebody"
        assert one.metrics.retries == 1


async def test_a_lost_call_is_not_made_again_unless_it_may_be(clock: Any) -> None:
    """EXT-23."""
    async with stage() as one:
        assert (await one.call(end="lost")).code == "worker_lost"
        assert one.shop.order == [1]


async def test_a_worker_that_dies_while_it_is_free_is_noticed_and_replaced(clock: Any) -> None:
    async with stage(spares=1) as one:
        await one.settle()
        one.shop.made[0].die()
        assert (await one.call()).code is None
        await one.settle()
        assert one.shop.made[0].served == []
        assert one.pool.health().lost == 1
        assert one.pool.health().free >= 1


async def test_workers_that_die_as_soon_as_they_are_ready_are_started_ever_more_rarely(clock: Any) -> None:
    async with stage(spares=1) as one:
        one.shop.stillborn = True
        await trio.sleep(120)
        assert 5 < len(one.shop.attempts) < 20
        one.shop.stillborn = False
        await trio.sleep(60)
        assert one.pool.health().free == 1


# --- starts that fail ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("extension_start_failed", "error"),
        ("extension_start_timeout", "timeout"),
        ("extension_unprotected", "refused"),
        ("extension_changed", "refused"),
        ("extension_protocol_error", "killed"),
    ],
)
async def test_calls_that_wait_for_a_start_conclude_with_why_it_failed(
    clock: Any, code: str, outcome: str
) -> None:
    """EXT-27, EXT-32."""
    async with stage(spares=0) as one:
        one.shop.failing = code
        outcomes = await together(one.call(), one.call())
        assert {found.code for found in outcomes} == {code}


async def test_a_start_that_keeps_failing_is_tried_ever_more_rarely_however_many_call(clock: Any) -> None:
    async with stage(spares=0, queue_ms=500) as one:
        one.shop.failing = "extension_start_failed"
        for _ in range(200):
            assert (await one.call()).code == "extension_start_failed"
        assert len(one.shop.attempts) < 20
        one.shop.failing = None
        await trio.sleep(60)
        assert (await one.call()).code is None


async def test_while_somebody_serves_a_failed_start_costs_no_call(clock: Any) -> None:
    async with stage(workers=2, spares=0) as one:
        await one.call()
        one.shop.failing = "extension_start_failed"
        outcomes = await together(*(one.call(0.1) for _ in range(4)))
        assert [outcome.code for outcome in outcomes] == [None] * 4


async def test_a_mistake_of_ours_in_a_start_ends_the_pool_and_says_so(clock: Any) -> None:
    refused_with = []

    @asynccontextmanager
    async def broken() -> AsyncIterator[PretendedWorker]:
        raise ZeroDivisionError
        yield

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with trio.open_nursery() as nursery:
            pool = Pool(broken, refused, options=PoolOptions(spares=0))
            await nursery.start(pool.run)
            with trio.CancelScope(shield=True):
                refused_with.append(await pool.call(Job(1)))
    assert caught.group_contains(ZeroDivisionError)
    assert [one.code for one in refused_with if isinstance(one, CallOutcome)] == ["extension_start_failed"]


# --- time ---------------------------------------------------------------------------------------------------


async def test_a_worker_that_has_been_idle_is_drained_and_a_spare_stands_in_its_place(clock: Any) -> None:
    """Section 5: `idle_ms`."""
    async with stage(workers=4, spares=1, idle_ms=10_000) as one:
        await together(*(one.call(0.1) for _ in range(4)))
        await one.settle()
        assert one.pool.health().free == 5
        await trio.sleep(11)
        assert one.pool.health().free == 1
        assert sum(worker.drained for worker in one.shop.made) == 4
        await trio.sleep(100)
        assert one.pool.health().started == len(one.shop.made), (
            "spares, which were never called, are not idle"
        )
        assert one.pool.health().free == 1


async def test_a_worker_that_is_called_now_and_then_stays(clock: Any) -> None:
    async with stage(workers=1, spares=0, idle_ms=10_000) as one:
        for _ in range(20):
            await one.call()
            await trio.sleep(9)
        assert len(one.shop.made) == 1


async def test_a_worker_that_keeps_busy_without_a_call_is_replaced(clock: Any) -> None:
    """EXT-25: a thread that was left behind."""
    async with stage(spares=2) as one:
        await one.settle()
        one.shop.made[0].burning = 0.9
        one.shop.made[1].burning = 0.2
        for _ in range(4):
            one.pool.look_at_idle()
            await trio.sleep(1)
        assert one.metrics.kills == {"restless": 1}
        assert one.shop.made[0] not in one.shop.alive
        assert one.pool.health().free == 2


# --- memory -------------------------------------------------------------------------------------------------


async def test_no_worker_is_started_over_the_memory_ceiling(clock: Any) -> None:
    """EXT-37."""
    async with stage(MemoryCeiling(40 << 20), workers=8, spares=2, queue_ms=500) as one:
        outcomes = await together(*(one.call(1.0) for _ in range(8)))
        assert one.shop.most_alive <= 5
        assert sum(outcome.code is None for outcome in outcomes) >= 4
        assert {outcome.code for outcome in outcomes} == {None, "extension_busy"}


async def test_who_has_idle_workers_gives_them_up_for_who_has_calls(clock: Any) -> None:
    """EXT-37."""
    memory = MemoryCeiling(40 << 20)
    async with stage(memory, workers=4, spares=4) as rich, stage(memory, workers=2, spares=0) as poor:
        await rich.settle()
        assert rich.pool.health().free == 4
        assert (await poor.call()).code is None
        assert memory.used <= 40 << 20
        assert set(rich.metrics.kills) == {"memory"}


async def test_memory_that_is_gone_is_not_counted(clock: Any) -> None:
    memory = MemoryCeiling(1 << 30)
    async with stage(memory, workers=4, spares=1) as one:
        await together(*(one.call(0.1, end="timeout") for _ in range(12)))
        await one.settle()
        assert memory.used == one.pool.health().free * (8 << 20)
    assert memory.used == 0


# --- ends ---------------------------------------------------------------------------------------------------


async def test_closed_it_cancels_what_is_open_refuses_what_waits_and_leaves_nothing(clock: Any) -> None:
    """EXT-19."""
    async with trio.open_nursery() as nursery:
        one = Stage(nursery, workers=1, spares=1)
        await nursery.start(one.pool.run)
        nursery.start_soon(_close_later, one)
        outcomes = await together(one.call(100), one.call())
        assert [outcome.code for outcome in outcomes] == ["extension_cancelled"] * 2
    assert one.shop.alive == []
    assert one.shop.order == [1]
    assert (await one.call()).code == "extension_cancelled", "and takes no other"


async def _close_later(one: Stage) -> None:
    await one.settle()
    one.pool.close("the node is leaving")


async def test_cancelled_it_leaves_nothing(clock: Any) -> None:
    async with trio.open_nursery() as nursery:
        shop = Workshop(nursery)
        pool = Pool(shop.start, refused, options=PoolOptions(spares=3))
        with trio.move_on_after(0.5):
            await pool.run()
        assert shop.alive == []
        assert len(shop.made) == 3


async def test_superseded_it_finishes_what_is_open_and_sends_on_what_waits(clock: Any) -> None:
    """EXT-39."""
    async with trio.open_nursery() as nursery:
        one = Stage(nursery, workers=1, spares=1)
        await nursery.start(one.pool.run)
        answers: list[CallOutcome | Moved] = []

        async def ask(seconds: float) -> None:
            answers.append(await one.ask(seconds))

        nursery.start_soon(ask, 5.0)
        await one.settle()
        nursery.start_soon(ask, 0.1)
        await one.settle()
        one.pool.supersede()
        await one.settle()
        assert [isinstance(one, Moved) and (one.again, one.fresh) for one in answers] == [(False, False)]
        await trio.sleep(10)
        assert isinstance(answers[1], CallOutcome)
        assert answers[1].code is None
        assert one.shop.alive == []
        assert all(worker.drained for worker in one.shop.made)


async def test_a_run_that_is_pinned_is_served_by_the_old_generation_to_its_end(clock: Any) -> None:
    """EXT-39."""
    async with trio.open_nursery() as nursery:
        one = Stage(nursery, workers=2, spares=1)
        await nursery.start(one.pool.run)
        one.pool.pin()
        await one.call(pinned=True)
        one.pool.supersede()
        await one.settle()
        assert (await one.call(pinned=True)).code is None
        assert isinstance(await one.ask(pinned=False, seconds=0.1), CallOutcome | Moved)
        one.pool.unpin()
        await one.settle()
        assert one.shop.alive == []


async def test_ready_means_that_a_worker_is(clock: Any) -> None:
    async with stage(spares=0) as one:
        await one.pool.ready()
        assert one.pool.health().free == 1
        await one.pool.ready()
        assert len(one.shop.made) == 1


async def test_what_is_never_ready_says_why(clock: Any) -> None:
    async with stage(spares=0) as one:
        one.shop.failing = "extension_unprotected"
        with pytest.raises(WorkerStartError, match="extension_unprotected"):
            await one.pool.ready()


# --- the arithmetic -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("staff", "started"),
    [
        (Staff(0, 0, 0, 0, 0, 0), 1),
        (Staff(0, 0, 0, 1, 0, 0), 0),
        (Staff(0, 0, 0, 0, 0, 10), 5),
        (Staff(4, 0, 0, 0, 0, 10), 1),
        (Staff(4, 1, 0, 0, 0, 10), 0),
        (Staff(2, 0, 0, 2, 0, 9), 1),
        (Staff(1, 0, 4, 0, 0, 3), 0),
        (Staff(0, 0, 0, 0, 10, 4), 0),
        (Staff(0, 0, 0, 0, 8, 4), 2),
    ],
)
def test_as_many_are_started_as_are_missing(staff: Staff, started: int) -> None:
    assert to_start(staff, workers=4, spares=1) == started


def test_pauses_double_to_their_longest_and_a_served_call_ends_them() -> None:
    pauses = StartPauses()
    found = []
    for _ in range(12):
        pauses.failed(100.0)
        found.append(pauses.until - 100.0)
    assert found[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert found[-1] == 30.0
    pauses.failed(100.0, lived=11.0)
    assert pauses.until - 100.0 == pytest.approx(0.1), "one that lived for a while is a first one again"
    pauses.succeeded()
    assert pauses.until == 0.0
