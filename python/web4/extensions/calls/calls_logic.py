"""The decisions of a lane that calls extensions and does nothing else. Pure (ACT-1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from web4.extensions.calls.call_events import CallConcluded, CallCut, CallRequested
from web4.extensions.outcome import Outcome
from web4.foundation.logic import Decision

RECENT: Final = 64
"""Concluded calls that a state remembers: asking for one of them again makes no second call."""


class RequestCall(msgspec.Struct, frozen=True, kw_only=True):
    """Make a call. `at` is Unix milliseconds."""

    request: CallRequested
    at: int
    principal: str | None = None


class CutCall(msgspec.Struct, frozen=True, kw_only=True):
    """End a call early."""

    call_id: str
    reason: str
    at: int
    principal: str | None = None


class ConcludeCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call has ended. Only the lane's own effects give it."""

    concluded: CallConcluded
    at: int
    principal: str | None = None


CallsCommand = RequestCall | CutCall | ConcludeCall
CallsEvent = CallRequested | CallCut | CallConcluded
CallsReply = Literal["requested", "open", "concluded", "cut", "not_open"]


class CallEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a call ended, in brief."""

    call_id: str
    outcome: Outcome
    code: str | None


class CallsState(msgspec.Struct, frozen=True, kw_only=True):
    """What a calling lane knows.

    Args:
        open: The calls that are under way: what each calls, by its id.
        recent: The last that were concluded, oldest first.
        outcomes: How many ended how.
    """

    open: dict[str, str] = {}
    recent: tuple[CallEnd, ...] = ()
    outcomes: dict[str, int] = {}


@dataclass(frozen=True)
class CallsLogic:
    """See `CallsLane`. A call id is used once: asked for again, a call is not made again."""

    initial: CallsState = field(default_factory=CallsState)

    def decide(self, state: CallsState, command: CallsCommand) -> Decision[CallsEvent, CallsReply]:
        """See `LaneLogic.decide`."""
        match command:
            case RequestCall():
                known = self._known(state, command.request.call_id)
                return Decision((), known) if known else Decision((command.request,), "requested")
            case CutCall() if command.call_id in state.open:
                return Decision((CallCut(call_id=command.call_id, reason=command.reason),), "cut")
            case ConcludeCall() if command.concluded.call_id in state.open:
                return Decision((command.concluded,), "concluded")
            case _:
                return Decision((), "not_open")

    def _known(self, state: CallsState, call_id: str) -> CallsReply | None:
        if call_id in state.open:
            return "open"
        return "concluded" if any(one.call_id == call_id for one in state.recent) else None

    def apply(self, state: CallsState, event: CallsEvent) -> CallsState:
        """See `LaneLogic.apply`."""
        match event:
            case CallRequested():
                called = f"{event.extension} {event.operation}"
                return msgspec.structs.replace(state, open={**state.open, event.call_id: called})
            case CallConcluded():
                end = CallEnd(call_id=event.call_id, outcome=event.outcome, code=event.code)
                count = state.outcomes.get(event.outcome, 0) + 1
                return CallsState(
                    open={one: called for one, called in state.open.items() if one != event.call_id},
                    recent=(*state.recent, end)[-RECENT:],
                    outcomes={**state.outcomes, event.outcome: count},
                )
            case CallCut():
                return state
