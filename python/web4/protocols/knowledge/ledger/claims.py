"""What the ledger holds of a claim: who proposed it, who voted, and what became of it (KNOW-1, KNOW-2)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from web4.protocols.knowledge.memory.entries import StoredTriple

ClaimStatus = Literal["pending", "disputed", "accepted", "rejected"]
VoteKind = Literal["confirm", "reject", "challenge"]
Route = Literal["cip", "lip"]
"""By which protocol something was said: facts are counted by KNOW-5, web claims by LIP-3."""
Mode = Literal["strict", "relaxed"]
Rule = Literal["a", "b", "c", "d", "e", "f", "g", "h", "kept", "unresolved", "evicted"]
"""What decided: a letter of KNOW-6, or of KNOW-7 that the claim was accepted and nothing speaks against it (`kept`) or
that a dispute took too long (`unresolved`), or the bound of KNOW-10 (`evicted`)."""
Basis = Literal["confirmers", "tier", "support", "human"]
"""What an acceptance rests on: independent confirmers, the source's tier, supporting claims, or a human."""

REOPENED_BY_PROPOSAL: Final = frozenset({"expired", "evicted", "unresolved", "untrusted_source"})
"""Why a claim was rejected that may be proposed again (KNOW-7)."""

MOST_NOTES: Final = 16
"""Notes of peers without weight that a claim keeps."""


class _Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all that is stored is."""


class Page(_Entry, frozen=True, kw_only=True):
    """Where something was fetched, so that it can be fetched again (LIP-6)."""

    uri: str
    body: str
    retrieved_at: str


class Cited(_Entry, frozen=True, kw_only=True):
    """What a proposal or a vote rests on, as far as counting needs it (KNOW-3).

    Args:
        pieces: How many pieces of evidence were cited.
        domains: Registrable domains of what was fetched, sorted.
        bodies: BLAKE3 of what was fetched, sorted.
        pages: The first of the pages; they count nothing.
    """

    pieces: int = 0
    domains: tuple[str, ...] = ()
    bodies: tuple[str, ...] = ()
    pages: tuple[Page, ...] = ()


NOTHING_CITED: Final = Cited()


class Proposal(_Entry, frozen=True, kw_only=True):
    """That a peer, or this node, proposed the claim.

    Args:
        peer: Fingerprint.
        msg_id: Of its FACT_PROPOSE or LIP_EVIDENCE.
        route: By which protocol.
        at_ms: When it came here.
        confidence: The proposer's.
        complete: Whether trace and provenance are complete (KNOW-5).
        cited: Its sources.
        links: Claims and decisions that it says it follows from.
        decision_id: The proposer's own (`dmp_trace`).
        digest: BLAKE3 of the envelope; empty for this node's own.
        contradicted: The accepted claim that it contradicted when it came (TRUST-4).
        triple: What this proposer gives as the triple: nobody answers for another's.
        less: The `msg_id` of what it said before, when that was less complete: votes may name it, too.
    """

    peer: str
    msg_id: str
    route: Route
    at_ms: int
    confidence: float = 1.0
    complete: bool = False
    cited: Cited = NOTHING_CITED
    links: tuple[str, ...] = ()
    decision_id: str | None = None
    digest: str = ""
    contradicted: str | None = None
    triple: StoredTriple | None = None
    less: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """By which `msg_id`s votes may name the claim because of it."""
        return (self.msg_id,) if self.less is None else (self.msg_id, self.less)


class Vote(_Entry, frozen=True, kw_only=True):
    """What a peer, or this node, says of a claim. Of one peer the one with the greatest `stamp` stands (KNOW-2).

    Args:
        peer: Fingerprint.
        kind: What it says.
        route: By which protocol.
        msg_id: Of the message.
        sent_ms: The message's timestamp.
        at_ms: When it came here.
        cited: Its evidence.
        reason: Of a challenge or rejection, in brief.
        confidence: The voter's.
        digest: BLAKE3 of the envelope; empty for this node's own.
    """

    peer: str
    kind: VoteKind
    route: Route
    msg_id: str
    sent_ms: int
    at_ms: int
    cited: Cited = NOTHING_CITED
    reason: str = ""
    confidence: float = 1.0
    digest: str = ""

    @property
    def stamp(self) -> tuple[int, str]:
        """By what votes of one peer are ordered."""
        return self.sent_ms, self.msg_id


class HumanWord(_Entry, frozen=True, kw_only=True):
    """What a human of this node decided about a claim."""

    decision: Literal["accept", "reject"]
    human: str
    reason: str
    at_ms: int


class Claim(_Entry, frozen=True, kw_only=True):
    """One entry of the ledger: all messages and proposers of one key share it (KNOW-1).

    Args:
        key: KNOW-1.
        domain: Lowercased.
        statement: As it was first proposed.
        triple: In normal form, if a proposer gave one.
        proposals: In order of arrival; the first is the first proposer's (KNOW-9).
        votes: The one that stands of each peer.
        status: What this node makes of it.
        reason: Of a rejection, a dispute, or of waiting for the load to fall (`load`).
        rule: What decided that.
        since_ms: Since when it has this status.
        opened_ms: When it was proposed, or proposed again.
        was_accepted: Whether it ever was: from then on only (a), (c) and (d) apply (KNOW-7).
        basis: What its last acceptance rests on.
        mode: Under which mode it was accepted.
        confirmers: Who was counted then.
        credited: The sources whose record it is part of.
        verified: Whether its first proposer had `knowledge_verified` for it.
        human: What a human decided.
        doubted_by: Trusted peers whose challenge was `unverifiable` for its proposers: each counts once.
        notes: Peers whose challenge had no weight when it came, with its `msg_id` (TRUST-6).
        sent_to: Peers that had it from this node, sorted (TRUST-5).
        changes: How often its status or reason changed.
        decision_id: Of the last change (MEM-1).
        order: Its place in the order of arrival.
    """

    key: str
    domain: str
    statement: str
    triple: StoredTriple | None = None
    proposals: tuple[Proposal, ...] = ()
    votes: dict[str, Vote] = {}
    status: ClaimStatus = "pending"
    reason: str = ""
    rule: Rule = "h"
    since_ms: int = 0
    opened_ms: int = 0
    was_accepted: bool = False
    basis: Basis | None = None
    mode: Mode | None = None
    confirmers: tuple[str, ...] = ()
    credited: tuple[str, ...] = ()
    verified: bool = False
    human: HumanWord | None = None
    doubted_by: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    sent_to: tuple[str, ...] = ()
    changes: int = 0
    decision_id: str | None = None
    order: int = 0

    @property
    def open(self) -> bool:
        """Whether it is undecided and counts for the bounds of KNOW-10."""
        return not self.was_accepted and self.status in {"pending", "disputed"}

    @property
    def closed(self) -> bool:
        """Whether only a new proposal, or a human, can bring it back."""
        return self.status == "rejected" and self.reason in REOPENED_BY_PROPOSAL

    @property
    def proposers(self) -> frozenset[str]:
        """Who proposed it."""
        return frozenset([one.peer for one in self.proposals])

    @property
    def slot(self) -> tuple[str, str, str] | None:
        """What its triple gives an object of, if it has a triple: there may be one only (MEM-4)."""
        triple = self.triple
        return None if triple is None else (self.domain, triple.subject, triple.predicate)

    def with_(self, **changes: Any) -> Claim:
        """The claim with these fields changed."""
        return msgspec.structs.replace(self, **changes)
