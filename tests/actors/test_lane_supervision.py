"""Supervision of lane actors: restarts, poisonous commands, halted lanes (ACT-5)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing

from tests.actors.jobs import (
    EVENTS,
    LANE,
    START,
    Crash,
    CutOff,
    JobLane,
    Look,
    Note,
    Noted,
    Request,
    Said,
    opened,
)
from tests.actors.test_lane_actors import gather
from web4.actors import ActorCrashError, open_lane_actors
from web4.journal.backends.memory import MemoryStore
from web4.journal.errors import LaneHalted
from web4.journal.event_types import EventType
from web4.journal.journal import NewEvent
from web4.journal.lane import Lane

OTHER = Lane("session", "other")


async def test_poisonous_command_is_concluded_and_the_rest_moves_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """ACT-5a, b: after two deaths the command gets `actor_crash`; the others are decided once, in order."""
    said = Said()
    async with (
        opened(emit=said) as journal,
        open_lane_actors(journal, {"session": JobLane()}) as actors,
    ):
        ref = actors.lane(LANE)
        began = trio.current_time()
        results = await gather(ref.ask(Note(1)), ref.ask(Crash()), ref.ask(Note(2)), ref.ask(Crash("apply")))
        assert [results[0], results[2]] == [1, 3]
        for result in (results[1], results[3]):
            assert isinstance(result, ActorCrashError)
            assert result.code == "actor_crash"
        assert actors.metrics.crashes == 4
        assert trio.current_time() - began >= 0.3
        assert len(await journal.read(LANE)) == 2
    assert [one["reason"] for one in said.of("actor_crashed")] == ["BrokenLogicError"] * 4


async def test_restarts_back_off_with_seeded_jitter(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-5a: 100 ms, doubling; the same seed gives the same pauses."""

    async def pauses() -> list[float]:
        times: list[float] = []

        class Emit(Said):
            def __call__(self, type: str, /, **fields: Any) -> None:  # noqa: A002
                if type == "actor_crashed":
                    times.append(trio.current_time())

        async with (
            opened(emit=Emit()) as journal,
            open_lane_actors(journal, {"session": JobLane()}) as actors,
        ):
            await gather(*(actors.lane(LANE).ask(Crash()) for _ in range(2)))
        return [late - early for early, late in pairwise(times)]

    first = await pauses()
    assert len(first) == 3
    for number, pause in enumerate(first):
        assert 0.1 * 2**number <= pause <= 0.126 * 2**number
    assert await pauses() == pytest.approx(first)


async def test_restart_budget(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-5c: an actor that always raises halts its lane after 5 restarts; other lanes lose no command."""
    said = Said()
    async with (
        opened(emit=said) as journal,
        open_lane_actors(journal, {"session": JobLane()}) as actors,
    ):
        replies: list[int] = []

        async def others() -> None:
            for _ in range(50):
                replies.append(await actors.lane(OTHER).ask(Note(1)))
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            ref = actors.lane(LANE)
            results = await gather(*(ref.ask(Crash()) for _ in range(8)))
        assert replies == list(range(1, 51))
        assert [type(one) for one in results] == [ActorCrashError] * 3 + [LaneHalted] * 5
        assert len(said.of("actor_crashed")) == 6
        with pytest.raises(LaneHalted) as caught:
            await ref.ask(Note(1))
        assert caught.value.code == "lane_halted"
        assert "session:one" in journal.health()["halted"]
        assert await journal.read(LANE) == []  # and readable


async def test_crashes_far_apart_do_not_halt(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-5c: only crashes within 60 s count."""
    async with opened() as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        for _ in range(10):
            with pytest.raises(ActorCrashError):
                await actors.lane(LANE).ask(Crash())
            await trio.sleep(30)
        assert await actors.lane(LANE).ask(Note(1)) == 1


async def test_conclusion_that_kills_the_actor_becomes_an_error(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """ACT-5b, ACT-3c: an answer that the logic dies of does not leave its effect open."""

    async def work(request: Any) -> Any:
        return Crash()

    async with opened() as journal, open_lane_actors(journal, {"session": JobLane(work=work)}) as actors:
        await actors.lane(LANE).ask(Request("x"))
        await trio.sleep(5)
        assert await journal.open_work() == []
        last = (await journal.read(LANE))[-1]
        assert last.payload == b'{"effect_id":"x","outcome":"error","text":"actor_crash"}'
        assert actors.metrics.crashes == 2


async def test_effect_that_nothing_concludes_halts_the_lane(autojump_clock: trio.testing.MockClock) -> None:
    """A definition that cannot conclude its effects is at fault: the lane is halted instead of losing track."""

    class Forgetful(JobLane):
        def conclude(self, *_: Any) -> Any:
            return Look()

    async def work(request: Any) -> Any:
        raise ZeroDivisionError

    async with opened() as journal, open_lane_actors(journal, {"session": Forgetful(work=work)}) as actors:
        await actors.lane(LANE).ask(Request("x"))
        await trio.sleep(1)
        with pytest.raises(LaneHalted):
            await actors.lane(LANE).ask(Note(1))


async def test_durable_event_that_cannot_be_applied_halts_at_once() -> None:
    """ACT-5e: repeating cannot help: no restart, and other lanes are served."""
    said = Said()
    async with opened(emit=said) as journal:
        await journal.append(LANE, [NewEvent(Noted(-1), START)], expected_seq=0)
        async with open_lane_actors(journal, {"session": JobLane()}) as actors:
            with pytest.raises(LaneHalted):
                await actors.lane(LANE).ask(Note(1))
            assert await actors.lane(OTHER).ask(Note(1)) == 1
        assert (said.of("actor_crashed"), len(said.of("lane_halted"))) == ([], 1)
        assert said.of("lane_halted")[0]["lane_seq"] == 1


async def test_future_event() -> None:
    """JRN-9c: an event of an unknown version or type halts its lane only, and is never skipped."""
    store = MemoryStore()
    newer = EventType(
        name="job.noted",
        struct=Noted,
        classes={"amount": "retainable", "memo": "retainable"},
        v=2,
        upcasters={1: dict},
    )
    stranger = EventType(
        name="job.unheard_of", struct=Noted, classes={"amount": "retainable", "memo": "retainable"}
    )
    lanes = [Lane("session", name) for name in ("newer", "unheard", "foreign", "fine")]
    for lane, types in zip(
        lanes, ([newer, *EVENTS[1:]], [stranger, *EVENTS[1:]], EVENTS, EVENTS), strict=True
    ):
        async with opened(store, events=types) as journal:
            payload: Any = Noted(1) if lane.id != "foreign" else CutOff("x")
            await journal.append(lane, [NewEvent(payload, START)], expected_seq=0)
    narrow = JobLane(events=tuple(one for one in EVENTS if one.name != "job.cut_off"))
    async with opened(store) as journal, open_lane_actors(journal, {"session": narrow}) as actors:
        for lane in lanes[:3]:
            with pytest.raises(LaneHalted):
                await actors.lane(lane).ask(Look())
            assert len(await journal.read(lane)) == 1
        assert await actors.lane(lanes[3]).ask(Note(1)) == 2
        assert sorted(str(lane) for lane in journal.halted) == [
            "session:foreign",
            "session:newer",
            "session:unheard",
        ]


async def test_cancellation_is_no_crash() -> None:
    """ACT-5f: stopping an actor, at any moment, is counted as no crash."""
    said = Said()
    async with opened(emit=said) as journal:
        with trio.CancelScope() as scope:
            async with open_lane_actors(journal, {"session": JobLane()}) as actors:
                actors.lane(LANE).tell(Note(1))
                await trio.lowlevel.checkpoint()
                scope.cancel()
                await trio.sleep_forever()
    assert said.of("actor_crashed") == []


async def test_cancelled_asker_leaves_its_command() -> None:
    """JRN-5e: the command is decided all the same."""
    async with opened() as journal, open_lane_actors(journal, {"session": JobLane()}) as actors:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(actors.lane(LANE).ask, Note(5))
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await actors.lane(LANE).ask(Note(1))
        assert (await actors.lane(LANE).state()).total in {1, 6}
        assert len(await journal.read(LANE)) == (await actors.lane(LANE).state()).notes
