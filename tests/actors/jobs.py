"""A lane for tests: a tally, and jobs that run through effects."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from web4.actors.definition import Effect, LaneDefinition, Origin, Outcome
from web4.foundation.logic import Decision
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.event_types import EventRegistry, EventType
from web4.journal.lane import Lane
from web4.journal.opening import open_journal
from web4.testing.clocks import TrioClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from web4.journal.journal import Journal

LANE = Lane("session", "one")
START = 1_800_000_000_000


# --- events -------------------------------------------------------------------------------------------------


class Noted(msgspec.Struct, frozen=True):
    amount: int
    memo: str = ""


class Begun(msgspec.Struct, frozen=True):
    job: str


class Started(msgspec.Struct, frozen=True):
    job: str


class Requested(msgspec.Struct, frozen=True):
    effect_id: str
    job: str | None
    idempotent: bool
    text: str


class CutOff(msgspec.Struct, frozen=True):
    effect_id: str


class Concluded(msgspec.Struct, frozen=True):
    effect_id: str
    outcome: Outcome
    text: str


class Ended(msgspec.Struct, frozen=True):
    job: str
    outcome: str


JobEvent = Noted | Begun | Started | Requested | CutOff | Concluded | Ended


def _type(name: str, struct: type[msgspec.Struct], **kind: Any) -> EventType:
    classes = dict.fromkeys(struct.__struct_encode_fields__, "retainable")
    return EventType(name=name, struct=struct, classes=classes, **kind)  # type: ignore[arg-type]


EVENTS = (
    _type("job.noted", Noted),
    _type("job.begun", Begun, phase="begin", subject="job"),
    _type("job.started", Started, phase="start", subject="job"),
    _type(
        "job.requested",
        Requested,
        phase="request",
        subject="effect_id",
        command="job",
        idempotent="idempotent",
    ),
    _type("job.cut_off", CutOff),
    _type("job.concluded", Concluded, phase="conclusion", subject="effect_id"),
    _type("job.ended", Ended, phase="end", subject="job"),
)


# --- commands -----------------------------------------------------------------------------------------------


class Note(msgspec.Struct, frozen=True):
    amount: int
    at: int = START
    memo: str = ""


class Look(msgspec.Struct, frozen=True):
    at: int = START


class Begin(msgspec.Struct, frozen=True):
    """Accept a job; with `start` start it, with `effects` (id, idempotent) request them."""

    job: str
    start: bool = False
    effects: tuple[tuple[str, bool], ...] = ()
    at: int = START


class Start(msgspec.Struct, frozen=True):
    """Start an accepted job: an effect does it."""

    job: str
    at: int = START


class Request(msgspec.Struct, frozen=True):
    effect_id: str
    text: str = ""
    idempotent: bool = False
    job: str | None = None
    at: int = START


class Cancel(msgspec.Struct, frozen=True):
    effect_id: str
    at: int = START


class Conclude(msgspec.Struct, frozen=True):
    effect_id: str
    outcome: Outcome
    text: str = ""
    at: int = START


class Fail(msgspec.Struct, frozen=True):
    job: str
    reason: str
    at: int = START


class Crash(msgspec.Struct, frozen=True):
    """A command that the logic dies of: what must not happen, and happens."""

    where: Literal["decide", "apply"] = "decide"
    at: int = START


JobCommand = Note | Look | Begin | Start | Request | Cancel | Conclude | Fail | Crash


@dataclass(frozen=True)
class JobState:
    total: int = 0
    notes: int = 0
    jobs: dict[str, str] = field(default_factory=dict)
    effects: dict[str, str] = field(default_factory=dict)


class BrokenLogicError(Exception):
    """What a broken logic raises."""


@dataclass(frozen=True)
class JobLogic:
    initial: JobState = field(default_factory=JobState)

    def decide(self, state: JobState, command: JobCommand) -> Decision[JobEvent, Any]:
        match command:
            case Note():
                events: tuple[JobEvent, ...] = (Noted(command.amount, command.memo),)
                return Decision(events, state.total + command.amount)
            case Look():
                return Decision((), state.total)
            case Begin():
                begun: list[JobEvent] = [Begun(command.job)]
                if command.start:
                    begun.append(Started(command.job))
                begun += [Requested(one, command.job, again, one) for one, again in command.effects]
                return Decision(tuple(begun), None)
            case Start():
                work = Requested(f"of {command.job}", command.job, True, command.job)
                return Decision((Started(command.job), work), None)
            case Request():
                one = Requested(command.effect_id, command.job, command.idempotent, command.text)
                return Decision((one,), None)
            case Cancel():
                return Decision((CutOff(command.effect_id),), None)
            case Conclude():
                return self._concluded(state, command)
            case Fail():
                return Decision((Ended(command.job, command.reason),), None)
            case Crash():
                if command.where == "decide":
                    raise BrokenLogicError
                return Decision((Noted(-1),), None)

    def _concluded(self, state: JobState, command: Conclude) -> Decision[JobEvent, Any]:
        events: list[JobEvent] = [Concluded(command.effect_id, command.outcome, command.text)]
        job = state.effects.get(command.effect_id, "")
        others = [one for one, of in state.effects.items() if of == job and one != command.effect_id]
        if job and not others and command.outcome != "abandoned":
            events.append(Ended(job, command.outcome))
        return Decision(tuple(events), None)

    def apply(self, state: JobState, event: JobEvent) -> JobState:
        match event:
            case Noted():
                if event.amount < 0:
                    raise BrokenLogicError
                return JobState(state.total + event.amount, state.notes + 1, state.jobs, state.effects)
            case Begun() | Started():
                phase = "begun" if isinstance(event, Begun) else "started"
                jobs = {**state.jobs, event.job: phase}
                return JobState(state.total, state.notes, jobs, state.effects)
            case Requested():
                effects = {**state.effects, event.effect_id: event.job or ""}
                return JobState(state.total, state.notes, state.jobs, effects)
            case CutOff():
                return state
            case Concluded():
                effects = {one: job for one, job in state.effects.items() if one != event.effect_id}
                return JobState(state.total, state.notes, state.jobs, effects)
            case Ended():
                jobs = {**state.jobs, event.job: event.outcome}
                return JobState(state.total, state.notes, jobs, state.effects)


@dataclass(frozen=True, kw_only=True)
class JobLane(LaneDefinition[JobState, JobCommand, JobEvent, Any]):
    """Args: `work` performs a request; `killed` collects what was killed, `asked` what was performed."""

    logic: Any = field(default_factory=JobLogic)
    state: Any = JobState
    events: tuple[EventType, ...] = EVENTS
    work: Callable[[Requested], Awaitable[JobCommand]] | None = None
    killed: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def origin(self, command: JobCommand) -> Origin:
        return Origin(command.at)

    async def perform(self, request: JobEvent) -> JobCommand:
        assert isinstance(request, Requested)
        self.asked.append(request.effect_id)
        if self.work is None:
            return Conclude(request.effect_id, "ok", request.text)
        return await self.work(request)

    def conclude(self, effect: Effect, outcome: Outcome, reason: str, at: int) -> JobCommand:
        return Conclude(effect.id, outcome, reason, at)

    def cancels(self, event: JobEvent) -> Iterable[str]:
        return (event.effect_id,) if isinstance(event, CutOff) else ()

    def stops(self, state: JobState, command: JobCommand) -> Iterable[str]:
        return (command.effect_id,) if isinstance(command, Cancel) else ()

    def kill(self, effect: Effect) -> None:
        self.killed.append(effect.id)

    def fail(self, command: str, begin: JobEvent | None, reason: str, at: int) -> JobCommand:
        return Fail(command, reason, at)

    def resume(self, command: str, begin: JobEvent, at: int) -> JobCommand:
        return Start(command, at)


class Said:
    """An emitter that remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, type: str, /, **fields: Any) -> None:  # noqa: A002 - the name of the field it fills
        self.events.append((type, fields))

    def of(self, type: str) -> list[dict[str, Any]]:  # noqa: A002 - the name of the field it fills
        return [fields for one, fields in self.events if one == type]


@asynccontextmanager
async def opened(
    store: MemoryStore | None = None,
    *,
    events: Iterable[EventType] = EVENTS,
    faults: Any = None,
    emit: Any = None,
) -> AsyncIterator[Journal]:
    """A journal in memory that knows the lane's events, and follows Trio's clock."""
    async with (
        open_memory(store, faults=faults) as backend,
        open_journal(
            backend, registry=EventRegistry(events), clock=TrioClock(), emit=emit or Said()
        ) as journal,
    ):
        yield journal
