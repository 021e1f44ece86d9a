"""Effects: started once durable, concluded once, cut off, abandoned, late (ACT-3, JRN-13e)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio
import trio.testing

from tests.actors.jobs import (
    LANE,
    START,
    Begin,
    BrokenLogicError,
    Cancel,
    Conclude,
    Crash,
    JobLane,
    Look,
    Note,
    Request,
    Said,
    opened,
)
from web4.actors import open_lane_actors
from web4.journal.backends.memory import Fault, ScriptedFaults

if TYPE_CHECKING:
    from web4.actors import Effect
    from web4.journal.journal import Journal


async def conclusions(journal: Journal) -> list[tuple[str, str, str]]:
    """Id, outcome and text of each conclusion in the lane."""
    records = [record for record in await journal.read(LANE) if record.type == "job.concluded"]
    said = [msgspec.json.decode(record.payload or b"") for record in records]
    return [(one["effect_id"], one["outcome"], one["text"]) for one in said]


async def test_effects_do_not_block(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-3b: with a 10 s effect running, a control command is decided in under 50 ms."""

    async def work(request: Any) -> Any:
        await trio.sleep(10)
        return Conclude(request.effect_id, "ok")

    async with opened() as journal, open_lane_actors(journal, {"session": JobLane(work=work)}) as actors:
        ref = actors.lane(LANE)
        await ref.ask(Request("x"))
        began = trio.current_time()
        assert await ref.ask(Note(1), control=True) == 1
        assert trio.current_time() - began < 0.05
        assert await conclusions(journal) == []
        await trio.sleep(11)
        assert await conclusions(journal) == [("x", "ok", "")]


async def test_no_effect_before_its_request_is_durable() -> None:
    """No effect starts before the event that announces it is durable."""
    release = trio.Event()
    faults = ScriptedFaults({"commit": [Fault(until=release)]})
    lane = JobLane()
    async with opened(faults=faults) as journal, open_lane_actors(journal, {"session": lane}) as actors:
        actors.lane(LANE).tell(Request("x"))
        await trio.testing.wait_all_tasks_blocked()
        assert lane.asked == []
        release.set()
        await trio.testing.wait_all_tasks_blocked()
        assert lane.asked == ["x"]
        assert await conclusions(journal) == [("x", "ok", "")]


async def test_failed_effect_is_concluded_as_an_error() -> None:
    """ACT-3a: what `perform` raises is an `error`; the actor goes on."""

    async def work(request: Any) -> Any:
        raise ZeroDivisionError

    said = Said()
    async with (
        opened(emit=said) as journal,
        open_lane_actors(journal, {"session": JobLane(work=work)}) as actors,
    ):
        await actors.lane(LANE).ask(Begin("a", start=True, effects=(("x", False),)))
        await trio.testing.wait_all_tasks_blocked()
        assert await conclusions(journal) == [("x", "error", "ZeroDivisionError")]
        assert (await actors.lane(LANE).state()).jobs == {"a": "error"}
        assert actors.metrics.crashes == 0
    assert said.of("effect_failed")[0]["reason"] == "ZeroDivisionError"


async def test_answer_that_the_journal_does_not_take_is_an_error() -> None:
    """JRN-4e: an effect whose answer is too large does not stay open for ever."""

    async def work(request: Any) -> Any:
        return Conclude(request.effect_id, "ok", "x" * 300_000)

    async with opened() as journal, open_lane_actors(journal, {"session": JobLane(work=work)}) as actors:
        await actors.lane(LANE).ask(Request("x"))
        await trio.testing.wait_all_tasks_blocked()
        assert await conclusions(journal) == [("x", "error", "payload_too_large")]
        assert await journal.open_work() == []


async def test_answer_that_concludes_nothing_is_an_error() -> None:
    """ACT-3c: every request gets its conclusion, whatever `perform` comes back with."""

    async def work(request: Any) -> Any:
        return Note(1)

    async with opened() as journal, open_lane_actors(journal, {"session": JobLane(work=work)}) as actors:
        await actors.lane(LANE).ask(Request("x"))
        await trio.testing.wait_all_tasks_blocked()
        assert await conclusions(journal) == [("x", "error", "not_concluded")]
        assert (await actors.lane(LANE).state()).total == 1


async def test_cancelled_effect_is_concluded_as_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-3b: a durable event cuts the effect off; it ends within its grace."""

    async def work(request: Any) -> Any:
        await trio.sleep_forever()

    lane = JobLane(work=work)
    async with opened() as journal, open_lane_actors(journal, {"session": lane}) as actors:
        await actors.lane(LANE).ask(Request("x"))
        await actors.lane(LANE).ask(Cancel("x"), control=True)
        await trio.testing.wait_all_tasks_blocked()
        assert await conclusions(journal) == [("x", "cancelled", "cancelled")]
        assert lane.killed == []
        await trio.sleep(20)
        assert actors.metrics.abandoned == 0


async def test_effect_that_outlives_its_grace_is_abandoned_and_late(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """ACT-3b, JRN-13e: after 5 s it is abandoned and its worker killed; the late answer alters nothing."""

    async def work(request: Any) -> Any:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)
        return Conclude(request.effect_id, "ok")

    lane = JobLane(work=work)
    async with opened() as journal, open_lane_actors(journal, {"session": lane}) as actors:
        ref = actors.lane(LANE)
        await ref.ask(Begin("a", start=True, effects=(("x", False),)))
        await ref.ask(Cancel("x"), control=True)
        await trio.sleep(4.9)
        assert (lane.killed, await conclusions(journal)) == ([], [])
        await trio.sleep(0.2)
        assert (lane.killed, await conclusions(journal)) == (["x"], [("x", "abandoned", "cancelled")])
        state = await ref.state()
        await trio.sleep(40)
        assert await ref.state() == state
        assert await conclusions(journal) == [("x", "abandoned", "cancelled")]
        last = (await journal.read(LANE))[-1]
        assert (last.type, last.payload) == ("effect.late", b'{"answer":"Conclude","effect_id":"x"}')
        assert last.refs == (("effect", "x"),)
        assert actors.metrics.late == 1
        assert await ref.ask(Look()) == 0


async def test_effect_concluded_otherwise_is_ended(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-3c: a conclusion that another command brings counts; the effect is cancelled, its own answer late."""
    ended: list[str] = []

    async def work(request: Any) -> Any:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            ended.append(request.effect_id)
            if request.text == "answers all the same":
                return Conclude(request.effect_id, "ok")
            raise

    async with opened() as journal, open_lane_actors(journal, {"session": JobLane(work=work)}) as actors:
        ref = actors.lane(LANE)
        await ref.ask(Request("x"))
        await ref.ask(Request("y", "answers all the same"))
        for effect_id in ("x", "y"):
            await ref.ask(Conclude(effect_id, "timed_out"))
        await trio.sleep(1)
        assert sorted(ended) == ["x", "y"]
        assert await conclusions(journal) == [("x", "timed_out", ""), ("y", "timed_out", "")]
        late = [record.refs for record in await journal.read(LANE) if record.type == "effect.late"]
        assert late == [(("effect", "y"),)]


async def test_exactly_one_conclusion_whoever_is_first(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-3c: many effects, each answered and cut off at about the same time: one conclusion for each request."""

    async def work(request: Any) -> Any:
        await trio.sleep(1)
        return Conclude(request.effect_id, "ok")

    async with opened() as journal, open_lane_actors(journal, {"session": JobLane(work=work)}) as actors:
        ref = actors.lane(LANE)
        names = [f"e{number}" for number in range(100)]
        for name in names:
            await ref.ask(Request(name))
        await trio.sleep(1)
        for name in names:
            ref.tell(Cancel(name), control=True)
        await trio.sleep(10)
        concluded = await conclusions(journal)
        assert sorted(one for one, _, _ in concluded) == sorted(names)
        assert await journal.open_work() == []


async def test_effects_survive_a_restart_of_their_actor(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-5a: a crash of the logic neither loses nor repeats an effect that runs."""
    started: list[str] = []

    async def work(request: Any) -> Any:
        started.append(request.effect_id)
        await trio.sleep(1)
        return Conclude(request.effect_id, "ok")

    async with opened() as journal, open_lane_actors(journal, {"session": JobLane(work=work)}) as actors:
        ref = actors.lane(LANE)
        await ref.ask(Request("x"))
        ref.tell(Crash())
        await trio.sleep(5)
        assert (started, actors.metrics.crashes) == (["x"], 2)
        assert await conclusions(journal) == [("x", "ok", "")]


async def test_time_of_an_answer_is_clamped() -> None:
    """JRN-2: an answer that brings an earlier time is recorded with the lane's."""

    async def work(request: Any) -> Any:
        return Conclude(request.effect_id, "ok", at=START - 1_000)

    async with opened() as journal, open_lane_actors(journal, {"session": JobLane(work=work)}) as actors:
        await actors.lane(LANE).ask(Request("x", at=START + 5))
        await trio.testing.wait_all_tasks_blocked()
        assert [record.at for record in await journal.read(LANE)] == [START + 5] * 2


async def test_worker_that_cannot_be_killed_disturbs_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-3b: a `kill` that raises is reported; the effect is abandoned, the lane goes on."""

    class Stubborn(JobLane):
        def kill(self, effect: Effect) -> None:
            raise OSError("no such process")

    async def work(request: Any) -> Any:
        with trio.CancelScope(shield=True):
            await trio.sleep(7)

    said = Said()
    async with (
        opened(emit=said) as journal,
        open_lane_actors(journal, {"session": Stubborn(work=work)}) as actors,
    ):
        await actors.lane(LANE).ask(Request("x"))
        await actors.lane(LANE).ask(Cancel("x"))
        await trio.sleep(6)
        assert await conclusions(journal) == [("x", "abandoned", "cancelled")]
        assert await actors.lane(LANE).ask(Note(1)) == 1
    assert [one["reason"] for one in said.of("effect_failed")] == ["OSError"]


async def test_request_during_shutdown_is_concluded_or_left(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-5f: what is requested when the actor leaves does not start: it may be repeated later, or is cancelled."""

    async def work(request: Any) -> Any:
        if request.effect_id != "x":
            raise AssertionError
        await trio.sleep_forever()

    release = trio.Event()
    faults = ScriptedFaults()
    lane = JobLane(work=work)
    async with opened(faults=faults) as journal, trio.open_nursery() as nursery:
        async with open_lane_actors(journal, {"session": lane}) as actors:
            ref = actors.lane(LANE)
            await ref.ask(Request("x"))
            faults.plan("commit", Fault(until=release))
            ref.tell(Request("once"))
            ref.tell(Request("again", idempotent=True))

            async def later() -> None:
                await trio.sleep(20)
                release.set()

            nursery.start_soon(later)
            await trio.lowlevel.checkpoint()
        assert lane.asked == ["x"]
        assert sorted(await conclusions(journal)) == [
            ("once", "cancelled", "shutdown"),
            ("x", "cancelled", "shutdown"),
        ]
        assert [work.subject for work in await journal.open_work()] == ["again"]


async def test_the_id_of_an_effect_that_was_abandoned(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-3a, c: an id is unique. Used again while its first run goes on, it is concluded, not left open for ever."""

    async def work(request: Any) -> Any:
        with trio.CancelScope(shield=True):
            await trio.sleep(1_000)
        return Conclude(request.effect_id, "ok")

    async with opened() as journal, open_lane_actors(journal, {"session": JobLane(work=work)}) as actors:
        ref = actors.lane(LANE)
        for command in (Request("x"), Cancel("x"), Request("x")):
            await ref.ask(command)
            await trio.sleep(10)
        assert await conclusions(journal) == [("x", "abandoned", "cancelled"), ("x", "error", "busy")]


async def failing_cleanup(request: Any) -> Any:
    """An effect whose own tasks fail when they are cancelled."""

    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise BrokenLogicError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        nursery.start_soon(trio.sleep_forever)


async def test_an_effect_that_fails_while_it_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-3b, DESIGN: a group of cancellations and errors ends the effect, and neither the lane nor the node."""
    async with (
        opened() as journal,
        open_lane_actors(journal, {"session": JobLane(work=failing_cleanup)}) as actors,
    ):
        ref = actors.lane(LANE)
        await ref.ask(Request("x"))
        await trio.sleep(1)
        await ref.ask(Cancel("x"))
        await trio.sleep(1)
        assert await conclusions(journal) == [("x", "error", "ExceptionGroup")]
        assert await ref.ask(Note(1)) == 1


async def test_an_effect_that_fails_at_the_stop(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-5f: also one that is cancelled with its actor."""
    said = Said()
    async with opened(emit=said) as journal, trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[Any]) -> None:
            async with open_lane_actors(journal, {"session": JobLane(work=failing_cleanup)}) as actors:
                task_status.started(actors)
                await trio.sleep_forever()

        actors = await nursery.start(serve)
        await actors.lane(LANE).ask(Request("x"))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [one["reason"] for one in said.of("effect_failed")] == ["BaseExceptionGroup"]
