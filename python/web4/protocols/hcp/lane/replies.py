"""What the lane of a human answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from web4.foundation.logic import Decision
from web4.protocols.hcp.gate import Verdict
from web4.protocols.hcp.lane.applying import applied
from web4.protocols.hcp.lane.events import HumanEvent

if TYPE_CHECKING:
    from web4.protocols.hcp.lane.states import LaneState

Status = Literal[
    "done",
    "known",
    "go",
    "requested",
    "waits",
    "asked",
    "stopped",
    "line_full",
    "ended",
    "unknown_human",
    "unknown_check_in",
    "door_required",
    "too_many_humans",
]
"""`go`: what came in may be handled at once. `requested`: what goes out is on its way. The rest says itself."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a command.

    Args:
        status: See `Status`.
        verdict: Of the gate, where it was asked.
        check_in_id: Of the question that was asked.
        how: Of `ended`: how a message ended before.
        events: What became durable with this answer.
        next_ms: When the lane wants to be asked to look again (`Tick`).
    """

    status: Status
    verdict: Verdict | None = None
    check_in_id: str | None = None
    how: str | None = None
    events: tuple[HumanEvent, ...] = ()
    next_ms: int | None = None


Decided: TypeAlias = Decision[HumanEvent, Reply]


def decided(state: LaneState, events: tuple[HumanEvent, ...], reply: Reply) -> Decided:
    """The decision, with what the reply says of all of it."""
    for event in events:
        state = applied(state, event)
    next_ms = None if state.local is None else state.local.next_ms
    return Decision(events, msgspec.structs.replace(reply, events=events, next_ms=next_ms))
