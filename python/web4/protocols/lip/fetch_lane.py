"""Fetches as effects of a lane: requested and concluded by events (FETCH-1, ACT-3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import trio

from web4.actors.definition import LaneDefinition, Origin
from web4.journal.errors import JournalUnavailable
from web4.protocols.lip.errors import AddressRefused, ConstraintRefused, FetchError, RobotsRefused
from web4.protocols.lip.fetch_events import (
    FETCH_EVENTS,
    AnswerConcluded,
    AnswerRequested,
    FetchConcluded,
    FetchRequested,
)
from web4.protocols.lip.fetch_logic import (
    ConcludeAnswer,
    ConcludeFetch,
    FetchCommand,
    FetchEvent,
    FetchLogic,
    FetchReply,
    FetchState,
    RequestFetch,
)
from web4.protocols.lip.fetching.record import Trail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.actors.definition import Effect
    from web4.actors.definition import Outcome as Ended
    from web4.foundation.events import Emitter
    from web4.journal.event_types import EventType
    from web4.journal.journal import Journal
    from web4.protocols.lip.fetching.record import Fetched

_REFUSALS: Final = (AddressRefused, RobotsRefused, ConstraintRefused)
_PASSING: Final = frozenset({"busy", "suspended", "outcome_unknown"})
_AGAIN_SECONDS: Final = 0.1
_AGAIN_MOST_SECONDS: Final = 5.0


class Fetches(Protocol):
    """What performs a fetch: a `Fetcher`."""

    async def fetch(
        self, uri: str, constraints: Sequence[str] = (), *, fetch_id: str = "", trail: Trail | None = None
    ) -> Fetched:
        """See `Fetcher.fetch`."""
        ...


class Answers(Protocol):
    """What tells a peer how its fetch ended."""

    async def __call__(self, request: AnswerRequested) -> None:
        """Queue the answers, durably. Again after a crash, with the same ids.

        Raises:
            Exception: They will never be queued.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class FetchLane(LaneDefinition[FetchState, FetchCommand, FetchEvent, FetchReply]):
    """The fetches of a lane: by itself, or a part of lane `knowledge`. Its effects begin with `fetch:`.

    Args:
        journal: Where the lane is: bodies are its blobs.
        fetcher: Fetches.
        answer: Tells peers.
        emit: Told `fetch_requested`.
    """

    logic: Any = field(default_factory=FetchLogic)
    state: Any = FetchState
    events: tuple[EventType, ...] = FETCH_EVENTS
    journal: Journal
    fetcher: Fetches
    answer: Answers
    emit: Emitter

    def origin(self, command: FetchCommand) -> Origin:
        """See `LaneDefinition.origin`."""
        return Origin(command.at, principal=command.principal if isinstance(command, RequestFetch) else None)

    async def perform(self, request: FetchEvent) -> FetchCommand:
        """Fetch, or answer. What goes wrong with a fetch is its conclusion, not an error of the lane."""
        if isinstance(request, AnswerRequested):
            await self.answer(request)
            concluded = AnswerConcluded(answer_id=request.answer_id, code=None)
            return ConcludeAnswer(concluded=concluded, at=self.journal.clock.wall_ms())
        assert isinstance(request, FetchRequested)
        self.emit(
            "fetch_requested",
            lane="knowledge",
            peer=None if request.asker is None else request.asker.peer,
            msg_id=None if request.asker is None else request.asker.msg_id,
            fetch_id=request.fetch_id,
            constraints=len(request.constraints),
        )
        trail = Trail()
        try:
            fetched = await self.fetcher.fetch(
                request.uri, request.constraints, fetch_id=request.fetch_id, trail=trail
            )
        except FetchError as error:
            ended = _failed(request, error, trail)
        else:
            ended = _succeeded(request, await self._kept(fetched))
        return ConcludeFetch(concluded=ended, at=self.journal.clock.wall_ms())

    async def _kept(self, fetched: Fetched) -> Any:
        """The record with its contents in blobs, durable before the event that names them (JRN-8)."""
        return msgspec.structs.replace(
            fetched.record,
            body=await self._put(fetched.body),
            text=await self._put(fetched.text.text.encode("utf-8", "replace")),
            head=await self._put(fetched.head),
        )

    async def _put(self, data: bytes) -> str:
        pause = _AGAIN_SECONDS
        while True:
            try:
                return await self.journal.put_blob(data)
            except JournalUnavailable as error:
                if error.code not in _PASSING:
                    raise
            await trio.sleep(pause)
            pause = min(2 * pause, _AGAIN_MOST_SECONDS)

    def conclude(self, effect: Effect, outcome: Ended, reason: str, at: int) -> FetchCommand:
        """An effect that was cut off, or failed in a way that no fetch does."""
        if effect.id.endswith(":answer"):
            code = f"{outcome}:{reason}"[:100]
            return ConcludeAnswer(concluded=AnswerConcluded(answer_id=effect.id, code=code), at=at)
        claim = effect.request.claim if isinstance(effect.request, FetchRequested) else None
        concluded = FetchConcluded(
            fetch_id=effect.id,
            outcome="failed",
            code="interrupted",
            reason=f"it was cut off ({outcome}: {reason})"[:500],
            field=None,
            record=None,
            hops=(),
            exceptions=(),
            body_blake3=None,
            claim=claim,
        )
        return ConcludeFetch(concluded=concluded, at=at)


def _succeeded(request: FetchRequested, record: Any) -> FetchConcluded:
    return FetchConcluded(
        fetch_id=request.fetch_id,
        outcome="ok",
        code=None,
        reason=None,
        field=None,
        record=record,
        hops=(),
        exceptions=record.exceptions,
        body_blake3=record.body_blake3,
        claim=request.claim,
    )


def _failed(request: FetchRequested, error: FetchError, trail: Trail) -> FetchConcluded:
    return FetchConcluded(
        fetch_id=request.fetch_id,
        outcome="refused" if isinstance(error, _REFUSALS) else "failed",
        code=error.code,
        reason=str(error).removeprefix(f"{error.code}: ")[:500],
        field=error.field,
        record=None,
        hops=tuple(trail.hops),
        exceptions=tuple(sorted(trail.exceptions)),
        body_blake3=None,
        claim=request.claim,
    )
