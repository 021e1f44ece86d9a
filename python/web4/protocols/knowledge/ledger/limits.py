"""The bounds of the ledger and its rules' numbers (section 22). A limit that is hit is an event (LIM-1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from web4.protocols.knowledge.ledger.claims import Mode

_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeLimits:
    """See section 22. Times are milliseconds.

    Args:
        mode: Which conditions hold (KNOW-5); recorded with each acceptance.
        confirmers_needed: Independent confirmers of an acceptance: 2 or more.
        open_claims: Claims that may be open (KNOW-10).
        open_per_peer: Claims of one first proposer that may be open.
        pending_ms: How long a claim may be pending.
        disputed_ms: How long one that was never accepted may be disputed.
        parked: Votes that may wait for their claims (KNOW-2).
        parked_ms: How long.
        accepted: Claims that were accepted and are kept; the oldest is forgotten first.
        rejected: Rejected claims that are kept.
        recheck_ms: After how long an accepted web claim is fetched again (LIP-6).
        statement_bytes: Of a statement, in UTF-8.
        domain_bytes: Of the domain of a claim, in UTF-8, and of a link.
        evidence: Domains, and bodies, of one message; links of one proposal.
        votes_per_claim: Peers whose votes a claim keeps.
        proposers_per_claim: Peers that may have proposed it.
        claims_per_command: Claims that one command may be about.
        peers_per_command: Peers that one command may name.

    Raises:
        ValueError: A limit is not positive, or fewer than two confirmers are asked for.
    """

    mode: Mode = "strict"
    confirmers_needed: int = 2
    open_claims: int = 1_024
    open_per_peer: int = 256
    pending_ms: int = 24 * _HOUR_MS
    disputed_ms: int = 7 * 24 * _HOUR_MS
    parked: int = 1_024
    parked_ms: int = 24 * _HOUR_MS
    accepted: int = 100_000
    rejected: int = 10_000
    recheck_ms: int = 24 * _HOUR_MS
    statement_bytes: int = 16 * 1024
    domain_bytes: int = 256
    evidence: int = 32
    votes_per_claim: int = 1_024
    proposers_per_claim: int = 64
    claims_per_command: int = 16
    peers_per_command: int = 256

    def __post_init__(self) -> None:
        numbers = [getattr(self, name) for name in self.__slots__ if name != "mode"]
        if min(numbers) < 1:
            raise ValueError("every limit of the ledger is positive")
        if self.confirmers_needed < 2:
            raise ValueError("an acceptance needs two independent confirmers at least (KNOW-5)")
