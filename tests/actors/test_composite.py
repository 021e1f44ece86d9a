"""A kind of lane made of parts: each decides and replays as if it were alone (ACT-1, JRN-7, JRN-9d, WEB-1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from tests.actors import jobs
from tests.actors.jobs import LANE, START, JobLane, JobLogic, JobState, opened
from web4 import _core
from web4.actors import LaneDefinition, open_lane_actors
from web4.actors.composite import CompositeLane, CompositeState, Part, composite_lane
from web4.actors.definition import Effect, Origin, Outcome
from web4.actors.errors import EffectError
from web4.foundation.logic import Decision, replay
from web4.journal.backends.memory import MemoryStore
from web4.journal.event_types import EventType
from web4.testing import check_lane_logic


class Rang(msgspec.Struct, frozen=True):
    bell: str


class Called(msgspec.Struct, frozen=True):
    call: str


class Answered(msgspec.Struct, frozen=True):
    call: str
    how: Outcome


class Ring(msgspec.Struct, frozen=True):
    bell: str
    at: int = START


class Call(msgspec.Struct, frozen=True):
    call: str
    at: int = START


class Answer(msgspec.Struct, frozen=True):
    call: str
    how: Outcome
    at: int = START


class Bells(msgspec.Struct, frozen=True):
    rang: dict[str, int] = {}
    calls: dict[str, str] = {}


@dataclass(frozen=True)
class BellLogic:
    initial: Bells = field(default_factory=Bells)

    def decide(self, state: Bells, command: Any) -> Decision[Any, int]:
        match command:
            case Ring():
                return Decision((Rang(command.bell),), state.rang.get(command.bell, 0) + 1)
            case Call():
                return Decision((Called(command.call),), 0)
            case _:
                return Decision((Answered(command.call, command.how),), 0)

    def apply(self, state: Bells, event: Any) -> Bells:
        if isinstance(event, Rang):
            return Bells({**state.rang, event.bell: state.rang.get(event.bell, 0) + 1}, state.calls)
        how = event.how if isinstance(event, Answered) else "open"
        return Bells(state.rang, {**state.calls, event.call: how})


def _type(name: str, struct: type[msgspec.Struct], **kind: Any) -> EventType:
    classes = dict.fromkeys(struct.__struct_encode_fields__, "structural")
    return EventType(name=name, struct=struct, classes=classes, **kind)  # type: ignore[arg-type]


BELL_EVENTS = (
    _type("bell.rang", Rang),
    _type("bell.called", Called, phase="request", subject="call"),
    _type("bell.answered", Answered, phase="conclusion", subject="call"),
)


@dataclass(frozen=True, kw_only=True)
class BellLane(LaneDefinition[Bells, Any, Any, int]):
    logic: Any = field(default_factory=BellLogic)
    state: Any = Bells
    events: tuple[EventType, ...] = BELL_EVENTS
    hang: bool = False

    async def perform(self, request: Called) -> Answer:
        if self.hang:
            await trio.sleep_forever()
        return Answer(request.call, "ok")

    def conclude(self, effect: Effect, outcome: Outcome, reason: str, at: int) -> Answer:
        return Answer(effect.id, outcome, at)


JOBS: Part[JobState] = Part(
    "jobs",
    JobLane(),
    (jobs.Note, jobs.Look, jobs.Begin, jobs.Start, jobs.Request, jobs.Cancel, jobs.Conclude, jobs.Fail),
)


def bells(**more: Any) -> Part[Bells]:
    return Part("bells", BellLane(**more), (Ring, Call, Answer))


def both(**more: Any) -> CompositeLane:
    return composite_lane(JOBS, bells(**more), sole="jobs")


COMMANDS: list[Any] = [
    jobs.Note(3),
    Ring("a"),
    jobs.Begin("j", start=True, effects=(("jobs:e", True),)),
    Call("bells:c"),
    Ring("a"),
    Answer("bells:c", "error"),
    jobs.Conclude("jobs:e", "ok"),
    jobs.Note(4),
]


def test_parts_decide_and_replay_as_if_alone() -> None:
    """ACT-1: pure, and each part's state is what it were on a lane of its own."""
    lane = both()
    state, events = check_lane_logic(lane.logic, COMMANDS)
    alone, _ = check_lane_logic(JobLogic(), [one for one in COMMANDS if type(one) in JOBS.commands])
    assert JOBS.of(state) == alone
    assert bells().of(state) == Bells({"a": 2}, {"bells:c": "error"})
    data = lane.encode(state)
    assert lane.decode(data) == state
    assert _core.canonicalize(data) == data
    assert replay(lane.logic, events) == state


def test_a_part_added_or_grown_reads_what_was_there() -> None:
    """JRN-9d: a lane of one logic, a lane with fewer parts, and an older part are carried along."""
    lane = both()
    state, _ = check_lane_logic(lane.logic, COMMANDS)
    jobs_alone = msgspec.json.decode(JOBS.definition.encode(JOBS.of(state)))
    document = jobs_alone
    for version in range(1, lane.version):
        document = lane.upcasters[version](document)
    carried = lane.decode(_core.canonicalize(msgspec.json.encode(document)))
    assert carried == CompositeState({"jobs": JOBS.of(state), "bells": Bells()})

    def renamed(document: Any) -> Any:
        return {"rang": {f"old {one}": count for one, count in document["rang"].items()}, "calls": {}}

    grown = composite_lane(JOBS, bells(version=2, upcasters={1: renamed}), sole="jobs")
    assert grown.version == lane.version + 1
    assert bells().of(grown.decode(lane.encode(state))) == Bells({"old a": 2})
    for data in (grown.encode(state), composite_lane(JOBS, bells(version=2)).encode(state)):
        with pytest.raises(ValueError, match="no way leads"):
            lane.decode(data)
    with pytest.raises(ValueError, match="unknown parts: bells"):
        composite_lane(JOBS).decode(lane.encode(state))


def test_parts_have_names_commands_and_events_of_their_own() -> None:
    for parts in (
        (JOBS, JOBS),
        (bells(), Part("more", BellLane(), ())),
        (bells(), Part("more", BellLane(events=()), (Ring,))),
    ):
        with pytest.raises(TypeError):
            composite_lane(*parts)
    with pytest.raises(TypeError):
        composite_lane(bells(), sole="jobs")
    with pytest.raises(TypeError):
        Part("Bells: two", BellLane(), ())


async def test_effects_of_parts_run_on_one_lane_and_are_settled_after_a_crash() -> None:
    """ACT-3, JRN-13: each part performs its own; of what a crash cut off each is told by its own words."""
    store = MemoryStore()
    async with (
        opened(store, events=()) as journal,
        open_lane_actors(journal, {"session": both()}) as actors,
    ):
        ref = actors.lane(LANE)
        assert await ref.ask(Ring("a")) == 1
        await ref.ask(Call("bells:c"))
        await ref.ask(jobs.Begin("j", start=True, effects=(("jobs:e", False),)))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert bells().of(await ref.state()).calls == {"bells:c": "ok"}
        assert JOBS.of(await ref.state()).jobs == {"j": "ok"}
    with trio.CancelScope() as crash:
        async with (
            opened(store, events=()) as journal,
            open_lane_actors(journal, {"session": both(hang=True)}) as actors,
        ):
            await actors.lane(LANE).ask(Call("bells:d"))
            crash.cancel()
    async with (
        opened(store, events=()) as journal,
        open_lane_actors(journal, {"session": both()}) as actors,
    ):
        assert actors.summary.state == "ready"
        state = await actors.lane(LANE).state()
        assert bells().of(state) == Bells({"a": 1}, {"bells:c": "ok", "bells:d": "abandoned"})
        assert JOBS.of(state).jobs == {"j": "ok"}


def test_an_erased_request_is_known_by_its_id() -> None:
    """JRN-16: nothing of a request is left but the id; it says whose the effect was."""
    lane = both()
    effect = Effect("bells:c", None, None, False)
    assert lane.conclude(effect, "abandoned", "crash", START) == Answer("bells:c", "abandoned")
    assert isinstance(lane.fail("jobs:j", None, "crash", START), jobs.Fail)
    with pytest.raises(EffectError):
        lane.conclude(Effect("c", None, None, False), "abandoned", "crash", START)
    alone = composite_lane(bells())
    assert alone.conclude(Effect("c", None, None, False), "error", "crash", START) == Answer("c", "error")
    assert lane.origin(Ring("a", START + 1)) == Origin(START + 1)
