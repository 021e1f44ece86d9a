"""What causal memory records on lane `knowledge` (MEM-2, MEM-3)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from web4.journal.event_types import EventType
from web4.protocols.knowledge.memory.entries import (
    MOST_LINKS,
    Experience,
    ForeignExperience,
    Kind,
    Name,
    RememberedClaim,
    Weight,
)


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all events of this room are."""


_Names = Annotated[tuple[Name, ...], Meta(max_length=MOST_LINKS + 1)]


class ClaimRemembered(_Event, frozen=True, kw_only=True):
    """An accepted claim entered memory, or came back to it.

    Args:
        key: Of the claim.
        claim: What is remembered.
        causes: What it was linked to as its causes.
        unlinked: What it names, too, but was not linked to, since that would have closed a cycle, or cost too much to
            tell; the subject of its triple, if that says such an edge, or one that enough claims say.
        weight: Of the links.
        decision_id: The decision that accepted it.
    """

    key: Name
    claim: RememberedClaim
    causes: _Names = ()
    unlinked: _Names = ()
    weight: Weight = 1.0
    decision_id: str | None = None


class ClaimFlagged(_Event, frozen=True, kw_only=True):
    """The claim does not count any more; None as the reason: it does again (KNOW-7)."""

    key: Name
    reason: Annotated[str, Meta(max_length=64)] | None
    at_ms: int
    decision_id: str | None = None


class ContradictionSeen(_Event, frozen=True, kw_only=True):
    """`source` and `target` cannot both hold."""

    source: Name
    target: Name
    at_ms: int
    decision_id: str | None = None


class ExperienceRecorded(_Event, frozen=True, kw_only=True):
    """Something this node did or saw. `causes`, `unlinked`: as in `ClaimRemembered`."""

    record_id: Name
    experience: Experience
    causes: _Names = ()
    unlinked: _Names = ()
    decision_id: str | None = None


class EdgeSeen(_Event, frozen=True, kw_only=True):
    """`cause` was seen to lead to `effect`."""

    cause: Name
    effect: Name
    weight: Weight
    at_ms: int
    decision_id: str | None = None


class ExperienceShared(_Event, frozen=True, kw_only=True):
    """A peer's experience was stored. `linked`: whether its choice leads to its outcome, as others see it."""

    msg_id: Name
    experience: ForeignExperience
    linked: bool
    decision_id: str
    """The peer's."""


class Forgotten(_Event, frozen=True, kw_only=True):
    """Something fell out to make room.

    Args:
        what: A kind of record, or `edge`, `foreign_edge`, `contradiction`.
        name: Of the record; the cause of an edge; the source of a contradiction.
        other: The effect of an edge; the target of a contradiction.
        at_ms: When.
    """

    what: Kind | Literal["edge", "foreign_edge", "contradiction"]
    name: Name
    other: Name | None = None
    at_ms: int


MemoryEvent = (
    ClaimRemembered
    | ClaimFlagged
    | ContradictionSeen
    | ExperienceRecorded
    | EdgeSeen
    | ExperienceShared
    | Forgotten
)

MEMORY_EVENTS: Final = (
    EventType(
        name="memory.claim_remembered",
        struct=ClaimRemembered,
        classes={
            **dict.fromkeys(("key", "weight", "decision_id"), "structural"),
            # The claim's texts, and ids in the words of peers.
            **dict.fromkeys(("claim", "causes", "unlinked"), "retainable"),
        },
        refs={"claim": "key", "decision": "decision_id"},
    ),
    EventType(
        name="memory.claim_flagged",
        struct=ClaimFlagged,
        classes=dict.fromkeys(("key", "reason", "at_ms", "decision_id"), "structural"),
        refs={"claim": "key", "decision": "decision_id"},
    ),
    EventType(
        name="memory.contradiction_seen",
        struct=ContradictionSeen,
        classes=dict.fromkeys(("source", "target", "at_ms", "decision_id"), "structural"),
        refs={"decision": "decision_id"},
    ),
    EventType(
        name="memory.experience_recorded",
        struct=ExperienceRecorded,
        classes={
            **dict.fromkeys(("record_id", "decision_id"), "structural"),
            **dict.fromkeys(("experience", "causes", "unlinked"), "retainable"),
        },
        refs={"memory": "record_id", "decision": "decision_id"},
    ),
    EventType(
        name="memory.edge_seen",
        struct=EdgeSeen,
        classes={
            **dict.fromkeys(("weight", "at_ms", "decision_id"), "structural"),
            **dict.fromkeys(("cause", "effect"), "retainable"),
        },
        refs={"decision": "decision_id"},
    ),
    EventType(
        name="memory.experience_shared",
        struct=ExperienceShared,
        classes={
            **dict.fromkeys(("msg_id", "linked", "decision_id"), "structural"),
            "experience": "retainable",
        },
        refs={"memory": "msg_id", "decision": "decision_id"},
    ),
    EventType(
        name="memory.forgotten",
        struct=Forgotten,
        # Names, too: they are as memory has them, redacted or not, and what is not found by them would never fall out.
        classes=dict.fromkeys(("what", "name", "other", "at_ms"), "structural"),
    ),
)
"""The event types of causal memory: part of lane `knowledge`'s."""
