"""LIP, learning from the internet, as a runtime over lane `knowledge` (sections 12 and 13, WEB-6)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

import trio
from msgspec import UNSET

from web4.actors.composite import Part
from web4.actors.errors import ActorError
from web4.foundation.clock import SystemClock
from web4.foundation.events import IsolatedEmitter, no_events
from web4.foundation.ids import SystemIds
from web4.journal.errors import JournalError
from web4.journal.lane import KNOWLEDGE
from web4.protocols.lip.answering import (
    Answering,
    FindClaims,
    TierOf,
    report_concluded,
    source_of,
    unknown_tier,
    what_was_seen,
)
from web4.protocols.lip.errors import FetchError, FetchFailed, error_of
from web4.protocols.lip.fetch_events import Asker, FetchConcluded, FetchRequested
from web4.protocols.lip.fetch_lane import FetchLane
from web4.protocols.lip.fetch_logic import FETCH_COMMANDS, RequestFetch
from web4.protocols.lip.fetching.constraints import parse_constraints
from web4.protocols.lip.fetching.uris import parse_uri
from web4.protocols.lip.kept import export_warc, recent_records, records_of
from web4.protocols.lip.ledger_rechecks import LedgerRechecks
from web4.protocols.lip.rechecking import Rechecking
from web4.protocols.messages.cip import Reply
from web4.protocols.messages.lip import LipEvidence, LipFetch
from web4.protocols.router.results import HandlerResult, Output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from web4.actors import LaneActors
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource
    from web4.journal.journal import Journal
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.lip.fetch_lane import Fetches
    from web4.protocols.lip.fetching.record import FetchRecord
    from web4.protocols.lip.ledger_rechecks import WebLedger
    from web4.protocols.lip.untrusted import UntrustedText
    from web4.protocols.messages.lip import WebClaim
    from web4.protocols.ports import SendMessage
    from web4.protocols.router.router import ProtocolRouter

_LOOK_SECONDS: Final = 1.0
"""How often whoever waits looks whether the lane still lives."""
RECHECK_SECONDS: Final = 60.0
"""How often it is looked for claims whose day is over."""


class LipRuntime:
    """Fetches for this node and for trusted peers, on lane `knowledge`, and keeps the evidence.

    Its `definition` is a part of the lane; then `bind`, then `run` beside everything else.

    Args:
        journal: Where the lane is.
        fetcher: A `Fetcher`.
        send: To peers.
        tier_of: The tier of a URI's source, as the ledger computes it (LIP-2).
        find_claims: Reads claims out of a text; by default only what the fetch itself proves.
        ledger: For LIP-6: a `KnowledgeRuntime`; None to make no re-checks.
        clock: The time.
        ids: Names fetches and answers.
        emit: Told `fetch_requested` and `fetch_concluded`.
    """

    def __init__(
        self,
        journal: Journal,
        fetcher: Fetches,
        send: SendMessage,
        *,
        tier_of: TierOf = unknown_tier,
        find_claims: FindClaims = what_was_seen,
        ledger: WebLedger | None = None,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        emit: Emitter = no_events,
    ) -> None:
        self._journal = journal
        self._send = send
        self._tier_of = tier_of
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._emit = IsolatedEmitter(emit)
        self._actors: LaneActors | None = None
        answering = Answering(
            journal=journal, send=send, tier_of=tier_of, find_claims=find_claims, emit=self._emit
        )
        self.definition = FetchLane(journal=journal, fetcher=fetcher, answer=answering, emit=self._emit)
        """What its part of lane `knowledge` consists of; its effects begin with `fetch:`."""
        self.part = Part("fetch", self.definition, FETCH_COMMANDS)
        """The definition as a part of a lane with others (`composite_lane`)."""
        self._rechecking = (
            None
            if ledger is None
            else Rechecking(LedgerRechecks(ledger, self.evidence), self._recheck, journal, self._clock, {})
        )

    def bind(self, actors: LaneActors) -> None:
        """Give it the lane actors that run its definition. Once, before anything else."""
        self._actors = actors

    # --- fetching ---------------------------------------------------------------------------------------

    async def fetch(
        self, uri: str, *, constraints: Sequence[str] = (), fetch_id: str | None = None
    ) -> FetchRecord:
        """Fetch a URI; its record, once that is durable (FETCH-1, FETCH-10).

        Cancellation: the fetch goes on, and is concluded on the lane; at most `total_seconds` of it.

        Args:
            uri: Absolute, http or https.
            constraints: See FETCH-2.
            fetch_id: One of the caller's making makes it happen once: asked for again, this tells how it ended.

        Raises:
            FetchError: How it failed.
            ActorError, JournalError: The lane does not take it.
        """
        name = f"fetch:{fetch_id or self._ids.uuid4()}"
        return await self._fetch(FetchRequested(fetch_id=name, uri=uri, constraints=tuple(constraints)))

    async def _recheck(self, fetch_id: str, uri: str, claim_key: str) -> FetchRecord:
        return await self._fetch(FetchRequested(fetch_id=fetch_id, uri=uri, constraints=(), claim=claim_key))

    async def _fetch(self, request: FetchRequested) -> FetchRecord:
        after = (await self._journal.head(KNOWLEDGE)).seq
        command = RequestFetch(request=request, at=self._clock.wall_ms())
        reply = await self._lanes().lane(KNOWLEDGE).ask(command)
        if reply == "full":
            raise FetchFailed("too many fetches are open", code="fetcher_busy", retry_after_ms=1_000)
        if reply != "requested":
            after = await self._before(request.fetch_id)
        concluded = await self._concluded(request.fetch_id, after)
        if reply == "requested":
            report_concluded(self._emit, concluded)
        if concluded.record is None:
            raise error_of(concluded.code or "interrupted", concluded.reason or "", concluded.field)
        return concluded.record

    async def text(self, record: FetchRecord) -> UntrustedText:
        """The text that was read from a body: data, whatever it says (LIP-7).

        Raises:
            BlobNotFoundError: It was collected or erased.
        """
        return record.untrusted((await self._journal.get_blob(record.text)).decode())

    # --- for peers --------------------------------------------------------------------------------------

    async def handle_fetch(self, delivery: Delivery) -> HandlerResult:
        """Take on a peer's LIP_FETCH: it is durable when this returns, and answered when it has ended.

        Handled twice, it is fetched once (ROUTE-4). The peer's further messages do not wait for it.
        """
        payload = delivery.message.payload
        if not isinstance(payload, LipFetch) or delivery.trust != "trusted":
            return HandlerResult("refused")  # TRUST-6 says so before, for whoever comes through the gate
        if payload.query[:8].lower().partition("://")[0] not in {"http", "https"}:
            return _refused(delivery, FetchFailed("this node has no search tool", code="no_search_tool"))
        try:  # before it takes room on the lane; the fetcher checks both again
            parse_uri(payload.query)
            parse_constraints(payload.constraints)
        except FetchError as error:
            return _refused(delivery, error)
        asker = Asker(
            peer=delivery.peer,
            msg_id=delivery.msg_id,
            corr_id=delivery.corr_id,
            reply_id=self._ids.uuid4(),
            evidence_id=self._ids.uuid4(),
        )
        request = FetchRequested(
            fetch_id=f"fetch:{delivery.peer}:{delivery.msg_id}",
            uri=payload.query,
            constraints=payload.constraints,
            asker=asker,
        )
        reply = (
            await self._lanes()
            .lane(KNOWLEDGE)
            .ask(RequestFetch(request=request, at=self._clock.wall_ms(), principal=delivery.peer))
        )
        if reply != "full":
            return HandlerResult()
        busy = FetchFailed("too many fetches are open", code="fetcher_busy", retry_after_ms=30_000)
        return HandlerResult("deferred", (_reply(delivery, "deferred", busy),), error=busy)

    def register(self, router: ProtocolRouter) -> None:
        """Have the router bring every LIP_FETCH that TRUST-6 lets through."""
        router.register("lip", "LIP_FETCH", self.handle_fetch, min_trust="trusted", idempotent=True)

    async def send_evidence(
        self,
        peer: str,
        claims: Sequence[WebClaim],
        records: Sequence[FetchRecord],
        confidence: float,
        notes: str = "",
    ) -> str:
        """Tell a peer claims and on which fetches of this node they rest; the message's id.

        Raises:
            ValueError: There is no claim or no record.
            Web4Error: It cannot be sent: see `CipRuntime.send`.
        """
        if not claims or not records:
            raise ValueError("evidence is at least one claim and one record")
        evidence = LipEvidence(
            claims=tuple(claims),
            evidence=tuple(one.provenance() for one in records),
            confidence=confidence,
            extraction_notes=notes,
        )
        return await self._send(peer, evidence, about=source_of(records[0], self._tier_of))

    # --- what is kept -----------------------------------------------------------------------------------

    async def evidence(self, digest: str) -> list[FetchRecord]:
        """The records of all fetches that gave a body, by its BLAKE3 in hex; see `kept.records_of`."""
        return await records_of(self._journal, digest)

    async def recent(self, limit: int = 50) -> list[FetchRecord]:
        """The records of the last fetches that succeeded, the newest first."""
        return await recent_records(self._journal, limit)

    async def export(self, records: Sequence[FetchRecord], file: BinaryIO) -> None:
        """Write fetches as a WARC file (FETCH-10); see `kept.export_warc`."""
        await export_warc(self._journal, records, file)

    # --- beside -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Make re-checks when they are due (LIP-6), for ever."""
        while True:
            if self._rechecking is not None:
                # What the journal does not take is told by the next look.
                with suppress(JournalError, ActorError):
                    await self._rechecking.once()
            await trio.sleep(RECHECK_SECONDS)

    def _lanes(self) -> LaneActors:
        if self._actors is None:
            raise RuntimeError("bind() comes first")
        return self._actors

    async def _before(self, fetch_id: str) -> int:
        """The number of the record before the first that tells of a fetch.

        Raises:
            FetchFailed: `interrupted`: the lane was compacted since.
        """
        for one in await self._journal.backend.find(("effect", fetch_id), after=0):
            if one.lane == KNOWLEDGE:
                return one.seq - 1
        raise FetchFailed("what came of it is not kept any more", code="interrupted")

    async def _concluded(self, fetch_id: str, after: int) -> FetchConcluded:
        follower = self._journal.follow(KNOWLEDGE, after=after)
        try:
            while True:
                record = None
                with trio.move_on_after(_LOOK_SECONDS):
                    record = await anext(follower)
                if record is None:
                    await self._lanes().lane(KNOWLEDGE).state()  # raises when the lane takes nothing any more
                elif record.type == "lip.fetch_concluded" and record.payload is not None:
                    event: FetchConcluded = self._journal.registry.decode(record)
                    if event.fetch_id == fetch_id:
                        return event
        finally:
            follower.close()


def _refused(delivery: Delivery, error: FetchError) -> HandlerResult:
    return HandlerResult("refused", (_reply(delivery, "refused", error),), error=error)


def _reply(delivery: Delivery, status: Literal["refused", "deferred"], error: FetchError) -> Output:
    """What the peer is told of a fetch that was not begun."""
    reply = Reply(
        in_reply_to=delivery.msg_id,
        status=status,
        reason=str(error.code),
        retry_after_ms=UNSET if error.retry_after_ms is None else error.retry_after_ms,
    )
    return Output(delivery.peer, reply)
