"""Where LIP-6 and the ledger meet: the ledger knows claims by what they cite, this room where that was fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from web4.foundation.clock import parse_timestamp
from web4.protocols.lip.rechecking import Recheck

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from web4.protocols.lip.fetching.record import FetchRecord
    from web4.protocols.messages.fields import Provenance

LOOKED_AT: Final = 1_024
"""Claims of the ledger that are looked at in one round."""


class WebLedger(Protocol):
    """What of a `KnowledgeRuntime` is used."""

    async def due_for_recheck(self, limit: int = 16) -> Sequence[Any]:
        """Accepted web claims whose time has come, the oldest first."""
        ...

    async def rechecked(self, key: str, *, supported: bool, evidence: Sequence[Provenance] = ()) -> Any:
        """What the page says now."""
        ...


class LedgerRechecks:
    """The `Rechecks` of a ledger. A claim is fetched where this node fetched a body that it cites, or where others did.

    Args:
        ledger: Holds the claims.
        evidence: This node's records of a body, by its BLAKE3: `LipRuntime.evidence`.
    """

    def __init__(
        self, ledger: WebLedger, evidence: Callable[[str], Awaitable[Sequence[FetchRecord]]]
    ) -> None:
        self._ledger = ledger
        self._evidence = evidence

    async def due(self, before_ms: int) -> Sequence[Recheck]:
        """See `Rechecks.due`."""
        found = []
        for claim in await self._ledger.due_for_recheck(LOOKED_AT):
            newest = await self._newest(claim)
            again = self._cited(claim) if newest is None else self._own(claim, newest)
            if again is not None and parse_timestamp(again.retrieved_at) <= before_ms:
                found.append(again)
        return found

    @staticmethod
    def _own(claim: Any, newest: FetchRecord) -> Recheck:
        return Recheck(
            claim_key=claim.key,
            statement=claim.statement,
            uri=newest.final_uri,
            retrieved_at=newest.retrieved_at,
            body_blake3=newest.body_blake3,
            excerpt=newest.excerpt,
        )

    @staticmethod
    def _cited(claim: Any) -> Recheck | None:
        """What others cite, where this node read no page itself: the newest page of a proposal or a vote for it."""
        pages = [
            page
            for one in (*claim.proposals, *claim.votes.values())
            if getattr(one, "kind", "confirm") == "confirm"
            for page in one.cited.pages
        ]
        page = max(pages, key=lambda one: (one.retrieved_at, one.uri), default=None)
        if page is None:
            return None
        return Recheck(
            claim_key=claim.key,
            statement=claim.statement,
            uri=page.uri,
            retrieved_at=page.retrieved_at,
            body_blake3=page.body,
        )

    async def rechecked(self, claim_key: str, *, supported: bool, provenance: Provenance, cause: str) -> None:
        """See `Rechecks.rechecked`. The ledger takes a claim off its list with the first answer."""
        await self._ledger.rechecked(claim_key, supported=supported, evidence=(provenance,))

    async def _newest(self, claim: Any) -> FetchRecord | None:
        """The newest own fetch of a body that a proposal or a vote for the claim cites."""
        bodies = {body for one in (*claim.proposals, *claim.votes.values()) for body in one.cited.bodies}
        records = [record for body in sorted(bodies) for record in await self._evidence(body)]
        return max(records, key=lambda one: one.retrieved_at, default=None)
