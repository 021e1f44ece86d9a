"""What the ledger records on lane `knowledge`. Every change of a claim is an event (KNOW-9)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from web4.journal.event_types import EventType
from web4.protocols.knowledge.ledger.claims import (
    Basis,
    ClaimStatus,
    HumanWord,
    Mode,
    Proposal,
    Rule,
    Vote,
)
from web4.protocols.knowledge.ledger.counting import PeerSeen
from web4.protocols.knowledge.ledger.evaluation import Load
from web4.protocols.knowledge.memory.entries import StoredTriple
from web4.protocols.knowledge.sources.tiers import Tier, TierRule
from web4.trust import TrustCommand

EFFECTS: Final = "knowledge:"
"""What the ids of effects begin with: on a lane of several parts an erased request is known by that alone."""


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all events of this room are. `at_ms` is Unix milliseconds."""


class ClaimProposed(_Event, frozen=True, kw_only=True):
    """A claim was proposed: for the first time, by one more peer, or again (KNOW-7).

    Args:
        key: KNOW-1.
        domain: Lowercased; only with the first proposal, as the statement is.
        statement: As it was proposed.
        triple: In normal form; of the first proposal that has one.
        proposal: By whom, and on what.
        opens: Whether the claim is open again, or for the first time.
        decision_id: The proposer's own (`dmp_trace`), so that history joins what belongs to it (MEM-1).
    """

    key: str
    proposal: Proposal
    opens: bool = False
    decision_id: str | None = None
    domain: str = ""
    statement: str = ""
    triple: StoredTriple | None = None


class ClaimVoted(_Event, frozen=True, kw_only=True):
    """A peer's vote stands from now on (KNOW-2); if the claim has no room, instead of another's that has no weight."""

    key: str
    vote: Vote
    instead_of: str | None = None


class VoteParked(_Event, frozen=True, kw_only=True):
    """A vote waits for a claim that is not here (KNOW-2)."""

    ref: str
    peer: str
    vote: Vote


class VoteUnparked(_Event, frozen=True, kw_only=True):
    """A parked vote waits no longer: its claim `arrived`, its time is over (`expired`), or others need the room."""

    ref: str
    peer: str
    reason: Literal["arrived", "expired", "evicted"]
    at_ms: int


class ChallengeNoted(_Event, frozen=True, kw_only=True):
    """A peer without weight doubts a claim: a note, and nothing else (TRUST-6)."""

    key: str
    peer: str
    msg_id: str
    reason: str
    at_ms: int


class ClaimChanged(_Event, frozen=True, kw_only=True):
    """What this node makes of a claim, from now on.

    Args:
        key: Of the claim.
        was: What it was.
        status: What it is.
        reason: Why, as a code word.
        rule: What decided: a letter of KNOW-6, or a word of KNOW-7 or KNOW-10.
        basis: Of an acceptance: what it rests on.
        mode: Of an acceptance: strict or relaxed.
        confirmers: Of an acceptance: who was counted.
        independent: Of an acceptance: how many of them are independent, counted up to what is needed.
        check: What causal memory said.
        references: By which claims and records it said so.
        credited: Of a first acceptance: the sources whose record it becomes part of.
        dependants: Claims that say they follow from it: flagged while it is not accepted any more. 64 at most.
        decision_id: Of its DecisionRecord (MEM-1).
        cause: The `msg_id`, or the id of the decision, that led to it.
        at_ms: When.
    """

    key: str
    was: ClaimStatus
    status: ClaimStatus
    rule: Rule
    reason: str = ""
    basis: Basis | None = None
    mode: Mode | None = None
    confirmers: tuple[str, ...] = ()
    independent: int = 0
    check: Literal["supports", "contradicts", "unknown"] = "unknown"
    references: tuple[str, ...] = ()
    credited: tuple[str, ...] = ()
    dependants: tuple[str, ...] = ()
    decision_id: str
    cause: str
    at_ms: int


class HumanDecided(_Event, frozen=True, kw_only=True):
    """A human of this node decided about a claim (KNOW-6, a)."""

    key: str
    word: HumanWord


class TierChanged(_Event, frozen=True, kw_only=True):
    """A source moved to another tier (LIP-2).

    Args:
        domain: Its registrable domain.
        was: The tier it had.
        tier: The tier it has.
        rule: Why.
        because: The claim that moved it, if one did.
        human: Who said so, if a human did.
        words: The human's reason.
        at_ms: When.
    """

    domain: str
    was: Tier
    tier: Tier
    rule: TierRule
    because: str | None = None
    human: str | None = None
    words: str = ""
    at_ms: int


class PeerTrustSeen(_Event, frozen=True, kw_only=True):
    """How far a peer is trusted from now on, as its own lane says (TRUST-9)."""

    peer: str
    seen: PeerSeen
    at_ms: int


class LoadChanged(_Event, frozen=True, kw_only=True):
    """How this node is; recorded when it matters to claims (KNOW-5, LIP-4)."""

    load: Load
    at_ms: int


class ClaimForgotten(_Event, frozen=True, kw_only=True):
    """A decided claim fell out, to make room for later ones."""

    key: str
    status: ClaimStatus
    at_ms: int


class ClaimSent(_Event, frozen=True, kw_only=True):
    """These peers are about to hear of a claim from this node (TRUST-5)."""

    key: str
    peers: tuple[str, ...]
    at_ms: int


class Outgoing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message to one peer."""

    peer: str
    msg_id: str


class SendRequested(_Event, frozen=True, kw_only=True):
    """This node says something to peers: its own claim, or its own vote (MESH-12).

    Args:
        effect_id: Unique in the lane.
        type: Of the message.
        payload: What is said to all of them; JSON.
        to: To whom, and under which `msg_id`.
        about: What an envelope of LIP says beside it; JSON.
        idempotent: True: a `msg_id` that is queued already is not queued again (OUT-1).
    """

    effect_id: str
    type: str
    payload: dict[str, Any]
    to: tuple[Outgoing, ...]
    about: dict[str, Any] | None = None
    idempotent: bool = True


class SendConcluded(_Event, frozen=True, kw_only=True):
    """The messages are in the outboxes; of those that are not, why."""

    effect_id: str
    sent: int
    failed: tuple[tuple[str, str], ...] = ()
    at_ms: int


class ClaimsMarked(_Event, frozen=True, kw_only=True):
    """More claims are concerned than one decision can look at: these are looked at next."""

    keys: tuple[str, ...]
    at_ms: int


class ClaimsLookedAt(_Event, frozen=True, kw_only=True):
    """So many of the marked claims were looked at, the oldest first."""

    count: int
    at_ms: int


class AlignmentSeen(_Event, frozen=True, kw_only=True):
    """A probing peer proposed what was accepted here before, and what this node never sent it (TRUST-5)."""

    peer: str
    keys: tuple[str, ...]
    at_ms: int


class ClaimDoubted(_Event, frozen=True, kw_only=True):
    """A trusted peer says that it cannot verify a claim: counted once of each (TRUST-4)."""

    key: str
    peer: str
    at_ms: int


class WebClaimRechecked(_Event, frozen=True, kw_only=True):
    """An accepted web claim was fetched again (LIP-6)."""

    key: str
    supported: bool
    at_ms: int


class TrustEffectRequested(_Event, frozen=True, kw_only=True):
    """A peer's lane is to be told what happened here: at most once per peer and cause (ROUTE-3).

    Args:
        effect_id: Unique in the lane.
        peer: Whom it concerns.
        command: What is told.
        cause: The `msg_id`, or the id of the decision, that led to it.
        decision_id: The decision that it belongs to.
        idempotent: True: the peer's lane knows the cause.
    """

    effect_id: str
    peer: str
    command: TrustCommand
    cause: str
    decision_id: str | None = None
    idempotent: bool = True


class TrustEffectConcluded(_Event, frozen=True, kw_only=True):
    """The peer's lane was told; what it made of it, or why it was not."""

    effect_id: str
    outcome: str
    at_ms: int


LedgerEvent = (
    ClaimProposed
    | ClaimVoted
    | VoteParked
    | VoteUnparked
    | ChallengeNoted
    | ClaimChanged
    | HumanDecided
    | TierChanged
    | PeerTrustSeen
    | LoadChanged
    | ClaimForgotten
    | ClaimSent
    | ClaimsMarked
    | ClaimsLookedAt
    | AlignmentSeen
    | ClaimDoubted
    | WebClaimRechecked
    | TrustEffectRequested
    | TrustEffectConcluded
    | SendRequested
    | SendConcluded
)

_WORDS: Final = frozenset(
    {
        "payload",
        "about",
        "proposal",
        "statement",
        "triple",
        "vote",
        "reason",
        "word",
        "words",
        "human",
        "command",
    }
)
"""Fields in which peers and people put things in words, or their names: retainable. The rest is structural."""

_FOUND_BY: Final = (
    ("claim", "key"),
    ("peer", "peer"),
    ("source", "domain"),
    ("decision", "decision_id"),
)
"""What history finds an event by, and in which field it stands."""


def _type(name: str, struct: type[msgspec.Struct], **more: str) -> EventType:
    """The type of an event, found by what `_FOUND_BY` says."""
    fields = struct.__struct_encode_fields__
    refs = {kind: field for kind, field in _FOUND_BY if field in fields}
    if struct is ClaimProposed:
        del refs["source"]
    return EventType(
        name=name,
        struct=struct,
        classes={one: "retainable" if one in _WORDS else "structural" for one in fields},
        refs=refs,
        **more,  # type: ignore[arg-type]
    )


LEDGER_EVENTS: Final = (
    _type("knowledge.proposed", ClaimProposed),
    _type("knowledge.voted", ClaimVoted),
    _type("knowledge.parked", VoteParked),
    _type("knowledge.unparked", VoteUnparked),
    _type("knowledge.noted", ChallengeNoted),
    _type("knowledge.changed", ClaimChanged),
    _type("knowledge.human_decided", HumanDecided),
    _type("knowledge.tier_changed", TierChanged),
    _type("knowledge.trust_seen", PeerTrustSeen),
    _type("knowledge.load_changed", LoadChanged),
    _type("knowledge.claim_forgotten", ClaimForgotten),
    _type("knowledge.sent", ClaimSent),
    _type("knowledge.marked", ClaimsMarked),
    _type("knowledge.looked_at", ClaimsLookedAt),
    _type("knowledge.aligned", AlignmentSeen),
    _type("knowledge.doubted", ClaimDoubted),
    _type("knowledge.rechecked", WebClaimRechecked),
    _type(
        "knowledge.trust_requested",
        TrustEffectRequested,
        phase="request",
        subject="effect_id",
        idempotent="idempotent",
    ),
    _type("knowledge.trust_concluded", TrustEffectConcluded, phase="conclusion", subject="effect_id"),
    _type(
        "knowledge.send_requested",
        SendRequested,
        phase="request",
        subject="effect_id",
        idempotent="idempotent",
    ),
    _type("knowledge.send_concluded", SendConcluded, phase="conclusion", subject="effect_id"),
)
"""Every event type of the ledger. Its lane adds those of causal memory and of decisions."""
