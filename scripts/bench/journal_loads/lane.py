"""The lane of the journal's benchmark: a tally of notes, and effects that never end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from scripts.bench.journal_task import PAYLOAD
from web4.actors import LaneDefinition
from web4.foundation.logic import Decision
from web4.journal.event_types import EventRegistry, EventType
from web4.journal.lane import Lane

if TYPE_CHECKING:
    from web4.actors import Effect, Outcome


class Noted(msgspec.Struct, frozen=True):
    """An amount, with a text that makes it as large as it has to be."""

    amount: int
    memo: str


class Asked(msgspec.Struct, frozen=True):
    """An effect was requested."""

    effect_id: str
    idempotent: bool


class Answered(msgspec.Struct, frozen=True):
    """An effect was concluded."""

    effect_id: str
    outcome: str


def _type(name: str, struct: type[msgspec.Struct], **more: Any) -> EventType:
    classes = dict.fromkeys(struct.__struct_encode_fields__, "retainable")
    return EventType(name=name, struct=struct, classes=classes, **more)  # type: ignore[arg-type]  # a literal


EVENTS = (
    _type("bench.noted", Noted),
    _type("bench.asked", Asked, phase="request", subject="effect_id", idempotent="idempotent"),
    _type("bench.answered", Answered, phase="conclusion", subject="effect_id"),
)


class Note(msgspec.Struct, frozen=True):
    """Note an amount."""

    amount: int
    memo: str
    at: int


class Ask(msgspec.Struct, frozen=True):
    """Request an effect."""

    effect_id: str
    idempotent: bool
    at: int


class Answer(msgspec.Struct, frozen=True):
    """Conclude an effect."""

    effect_id: str
    outcome: str
    at: int


class Tally(msgspec.Struct, frozen=True):
    """What the lane comes to."""

    total: int = 0
    notes: int = 0
    answered: int = 0


class TallyLogic:
    """Adds up."""

    initial = Tally()

    def decide(self, state: Tally, command: Note | Ask | Answer) -> Decision[Any, int]:
        """See `LaneLogic`."""
        event: Noted | Asked | Answered
        match command:
            case Note():
                event = Noted(command.amount, command.memo)
            case Ask():
                event = Asked(command.effect_id, command.idempotent)
            case Answer():
                event = Answered(command.effect_id, command.outcome)
        return Decision((event,), state.total)

    def apply(self, state: Tally, event: Noted | Asked | Answered) -> Tally:
        """See `LaneLogic`."""
        if isinstance(event, Noted):
            return Tally(state.total + event.amount, state.notes + 1, state.answered)
        if isinstance(event, Answered):
            return Tally(state.total, state.notes, state.answered + 1)
        return state


@dataclass(frozen=True, kw_only=True)
class TallyLane(LaneDefinition[Tally, Any, Any, int]):
    """Tallies; their effects never end by themselves."""

    logic: Any = field(default_factory=TallyLogic)
    state: Any = Tally
    events: tuple[EventType, ...] = EVENTS

    async def perform(self, request: Any) -> Any:
        """Never end."""
        await trio.sleep_forever()

    def conclude(self, effect: Effect, outcome: Outcome, reason: str, at: int) -> Answer:
        """See `LaneDefinition`."""
        return Answer(effect.id, outcome, at)


def registry() -> EventRegistry:
    """The benchmark's event types."""
    return EventRegistry(EVENTS)


def lane_of(number: int) -> Lane:
    """One of as many lanes as are wanted."""
    return Lane("session", f"bench-{number}")


def memo(payload: int = PAYLOAD) -> str:
    """The text with which the payload of a `Noted` of amount 1 is that long."""
    return "x" * (payload - len(b'{"amount":1,"memo":""}'))


def wall_ms() -> int:
    """The time that a command brings in."""
    return time.time_ns() // 1_000_000
