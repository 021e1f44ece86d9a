"""Questions to the ledger that need more than one look-up."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, NamedTuple

from web4.journal.lane import KNOWLEDGE
from web4.protocols.knowledge.memory.checking import check

if TYPE_CHECKING:
    from web4.journal.journal import Journal
    from web4.protocols.knowledge.ledger.claims import Claim, ClaimStatus
    from web4.protocols.knowledge.ledger.state import LedgerState

__all__ = ["Told", "check", "claims", "why"]


class Told(NamedTuple):
    """One event of a claim's history.

    Args:
        seq: Its number on the lane.
        at_ms: When it was recorded, Unix milliseconds.
        type: Of the event.
        event: The event itself; None if its payload was erased.
    """

    seq: int
    at_ms: int
    type: str
    event: Any


def claims(
    ledger: LedgerState,
    *,
    status: ClaimStatus | None = None,
    domain: str | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[Claim]:
    """A page of claims, in the order of their keys. See `KnowledgeRuntime.claims`."""
    wanted = (
        claim
        for key, claim in ledger.claims.items()
        if (after is None or key > after)
        and (status is None or claim.status == status)
        and (domain is None or claim.domain == domain.lower())
    )
    return heapq.nsmallest(max(1, limit), wanted, key=lambda claim: claim.key)


async def why(journal: Journal, key: str, *, limit: int = 100) -> list[Told]:
    """The last events that name a claim, oldest first: proposals, votes, changes, decisions (OBS-7)."""
    backend = journal.backend
    found = {}
    for ref in (("claim", key), ("about", key)):
        for record in await backend.find(ref, limit=max(1, limit), reverse=True):
            if record.lane == KNOWLEDGE:
                found[record.seq] = record
    last = sorted(found)[-max(1, limit) :]
    return [
        Told(
            seq,
            found[seq].at,
            found[seq].type,
            None if found[seq].erased else journal.registry.decode(found[seq]),
        )
        for seq in last
    ]
