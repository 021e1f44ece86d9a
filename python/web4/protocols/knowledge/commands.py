"""What lane `knowledge` is told. Other lanes are known here by commands only; times are Unix milliseconds (WEB-2)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from web4.protocols.knowledge.ledger.claims import NOTHING_CITED, Cited, Route, VoteKind
from web4.protocols.knowledge.ledger.evaluation import Load
from web4.protocols.knowledge.ledger.events import Outgoing
from web4.protocols.knowledge.memory.commands import MemoryCommand
from web4.protocols.knowledge.memory.entries import StoredTriple
from web4.protocols.knowledge.sources.tiers import Tier
from web4.trust import TrustState


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", omit_defaults=True):
    """What all commands carry.

    Args:
        at_ms: When.
        cause: What led to it: a message, as `<sender>:<msg_id>`, or an id that is used once. Decisions are named after
            it, so no sender may use up what another one's message leads to.
    """

    at_ms: int
    cause: str


class Stated(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A statement that is proposed, and its key (KNOW-1)."""

    key: str
    domain: str
    statement: str
    triple: StoredTriple | None = None


class Propose(_Command, frozen=True, tag="propose"):
    """Claims are proposed by a FACT_PROPOSE or a LIP_EVIDENCE, or by this node itself.

    Args:
        peer: By whom: proven by its session, or this node.
        msg_id: Of the message.
        route: By which protocol.
        sent_ms: The message's timestamp.
        claims: At most `KnowledgeLimits.claims_per_command`.
        confidence: The proposer's.
        complete: Whether trace and provenance are complete (KNOW-5, 2).
        cited: What it rests on.
        links: Claims and decisions that it follows from.
        decision_id: The proposer's (`dmp_trace`).
        digest: BLAKE3 of the envelope; empty for this node's own.
    """

    peer: str
    msg_id: str
    route: Route
    sent_ms: int
    claims: tuple[Stated, ...]
    confidence: float = 1.0
    complete: bool = True
    cited: Cited = NOTHING_CITED
    links: tuple[str, ...] = ()
    decision_id: str | None = None
    digest: str = ""


class CastVote(_Command, frozen=True, tag="cast_vote"):
    """A peer, or this node, says something of claims.

    Args:
        refs: Keys of claims, or the `msg_id` of a FACT_PROPOSE. At most `KnowledgeLimits.claims_per_command`.
        peer: Who.
        kind: What it says.
        note_only: Whether it has no weight now, and never will have (TRUST-6: challenges of probing peers).

    The others are those of `Vote`.
    """

    refs: tuple[str, ...]
    peer: str
    kind: VoteKind
    route: Route
    msg_id: str
    sent_ms: int
    note_only: bool = False
    cited: Cited = NOTHING_CITED
    reason: str = ""
    confidence: float = 1.0
    digest: str = ""


class TrustSeen(_Command, frozen=True, tag="trust_seen"):
    """How far a peer is trusted, and by whom it is here: what its own lane says, durably."""

    peer: str
    state: TrustState
    introducer: str | None = None


class LoadSeen(_Command, frozen=True, tag="load_seen"):
    """How this node is (PACE-1, PACE-2)."""

    load: Load


class TierSet(_Command, frozen=True, tag="tier_set"):
    """A human of this node says how far a source is to be trusted: the one way out of `blocked` (LIP-2)."""

    domain: str
    tier: Tier
    human: str
    reason: str


class HumanDecision(_Command, frozen=True, tag="human_decision"):
    """A human of this node decides about a claim (KNOW-6, a)."""

    key: str
    decision: Literal["accept", "reject"]
    human: str
    reason: str


class Say(_Command, frozen=True, tag="say"):
    """Send a message to peers, and note of which claims they hear by it (TRUST-5).

    Args:
        keys: The claims; at most 256.
        type: Of the message.
        payload: As JSON.
        to: At most `KnowledgeLimits.peers_per_command`.
        about: What an envelope of LIP says beside it, as JSON.
    """

    keys: tuple[str, ...]
    type: str
    payload: dict[str, Any]
    to: tuple[Outgoing, ...]
    about: dict[str, Any] | None = None


class Recheck(_Command, frozen=True, tag="recheck"):
    """An accepted web claim was fetched again; whether the body supports it still (LIP-6)."""

    key: str
    supported: bool
    cited: Cited = NOTHING_CITED


class Tick(_Command, frozen=True, tag="tick"):
    """Time has passed: what is over its time ends, and what waits to be looked at is looked at."""


class ConcludeTrust(_Command, frozen=True, tag="conclude_trust"):
    """A peer's lane was told. Only the lane's own effects give it."""

    effect_id: str
    outcome: str
    decision_id: str | None = None


class ConcludeSend(_Command, frozen=True, tag="conclude_send"):
    """Messages are in their outboxes. Only the lane's own effects give it."""

    effect_id: str
    sent: int
    failed: tuple[tuple[str, str], ...] = ()


class Remember(_Command, frozen=True, tag="remember"):
    """A command of causal memory: this node's own experience, links, contradictions, what others share."""

    memory: MemoryCommand


KnowledgeCommand = (
    Propose
    | CastVote
    | TrustSeen
    | LoadSeen
    | TierSet
    | HumanDecision
    | Say
    | ConcludeSend
    | Recheck
    | Tick
    | ConcludeTrust
    | Remember
)
