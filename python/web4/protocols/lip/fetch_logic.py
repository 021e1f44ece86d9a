"""The decisions about fetches on their lane. Pure (ACT-1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from web4.foundation.logic import Decision
from web4.protocols.lip.fetch_events import (
    AnswerConcluded,
    AnswerRequested,
    FetchConcluded,
    FetchOutcome,
    FetchRequested,
)

MAX_OPEN: Final = 256
"""Fetches of one lane that are not concluded."""
MAX_OPEN_PER_PEER: Final = 8
"""Of them, those that one peer asked for, and answers to it that are not queued."""
RECENT: Final = 256
"""Concluded fetches that a state remembers: asking for one of them again makes no second one."""


class RequestFetch(msgspec.Struct, frozen=True, kw_only=True):
    """Fetch. `at` is Unix milliseconds."""

    request: FetchRequested
    at: int
    principal: str | None = None


class ConcludeFetch(msgspec.Struct, frozen=True, kw_only=True):
    """A fetch has ended. Only the lane's own effects give it."""

    concluded: FetchConcluded
    at: int


class ConcludeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer is queued. Only the lane's own effects give it."""

    concluded: AnswerConcluded
    at: int


FetchCommand = RequestFetch | ConcludeFetch | ConcludeAnswer
FETCH_COMMANDS: Final = (RequestFetch, ConcludeFetch, ConcludeAnswer)
FetchEvent = FetchRequested | FetchConcluded | AnswerRequested | AnswerConcluded
FetchReply = Literal["requested", "open", "concluded", "full", "not_open"]


class FetchEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a fetch ended, in brief."""

    fetch_id: str
    outcome: FetchOutcome
    code: str | None


class FetchState(msgspec.Struct, frozen=True, kw_only=True):
    """What a fetching lane knows.

    Args:
        open: The fetches under way, as they were requested, by their ids.
        answering: Whom answers that are not queued are for, by their ids.
        recent: The last that were concluded, oldest first.
        outcomes: How many ended how.
    """

    open: dict[str, FetchRequested] = {}
    answering: dict[str, str] = {}
    recent: tuple[FetchEnd, ...] = ()
    outcomes: dict[str, int] = {}


@dataclass(frozen=True)
class FetchLogic:
    """See `FetchLane`. A fetch id is used once: a LIP_FETCH that is handled twice is fetched once (ROUTE-4)."""

    initial: FetchState = field(default_factory=FetchState)

    def decide(self, state: FetchState, command: FetchCommand) -> Decision[FetchEvent, FetchReply]:
        """See `LaneLogic.decide`."""
        match command:
            case RequestFetch():
                return self._request(state, command.request)
            case ConcludeFetch() if command.concluded.fetch_id in state.open:
                asker = state.open[command.concluded.fetch_id].asker
                if asker is None:
                    return Decision((command.concluded,), "concluded")
                answer = AnswerRequested(
                    answer_id=f"{command.concluded.fetch_id}:answer", asker=asker, concluded=command.concluded
                )
                return Decision((command.concluded, answer), "concluded")
            case ConcludeAnswer() if command.concluded.answer_id in state.answering:
                return Decision((command.concluded,), "concluded")
            case _:
                return Decision((), "not_open")

    def _request(self, state: FetchState, request: FetchRequested) -> Decision[FetchEvent, FetchReply]:
        if request.fetch_id in state.open:
            return Decision((), "open")
        if f"{request.fetch_id}:answer" in state.answering:
            return Decision((), "concluded")
        if any(one.fetch_id == request.fetch_id for one in state.recent):
            return Decision((), "concluded")
        if len(state.open) >= MAX_OPEN:
            return Decision((), "full")
        if request.asker is not None:
            peer = request.asker.peer
            asked = sum(one.asker is not None and one.asker.peer == peer for one in state.open.values())
            if asked + list(state.answering.values()).count(peer) >= MAX_OPEN_PER_PEER:
                return Decision((), "full")
        return Decision((request,), "requested")

    def apply(self, state: FetchState, event: FetchEvent) -> FetchState:
        """See `LaneLogic.apply`."""
        replace = msgspec.structs.replace
        match event:
            case FetchRequested():
                return replace(state, open={**state.open, event.fetch_id: event})
            case FetchConcluded():
                end = FetchEnd(fetch_id=event.fetch_id, outcome=event.outcome, code=event.code)
                count = state.outcomes.get(event.outcome, 0) + 1
                return replace(
                    state,
                    open={one: asked for one, asked in state.open.items() if one != event.fetch_id},
                    recent=(*state.recent, end)[-RECENT:],
                    outcomes={**state.outcomes, event.outcome: count},
                )
            case AnswerRequested():
                return replace(state, answering={**state.answering, event.answer_id: event.asker.peer})
            case AnswerConcluded():
                left = {one: peer for one, peer in state.answering.items() if one != event.answer_id}
                return replace(state, answering=left)
