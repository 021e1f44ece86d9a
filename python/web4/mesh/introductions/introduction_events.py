"""What lane `server` records of introductions: heard, given, ended, and what trust was told of them (MESH-10, 11)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from web4.journal.event_types import DataClass, EventType

Act = Literal["introduced", "introducer_lost", "forged"]
"""What the TrustFSM is told: of the subject, or, of a forged introduction, of its origin."""
Told = Literal["done", "nothing", "refused"]
EndReason = Literal["revoked", "expired", "introducer_lost", "refused"]


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all have: Unix milliseconds that came with the command, and which introduction it is about."""

    at_ms: int
    intro_id: str


class IntroductionHeard(_Event, frozen=True, kw_only=True):
    """A trusted peer introduced another.

    Args:
        origin: Who introduces.
        subject: Who is introduced.
        addresses: Where it may be found, by the origin's word.
        expires_ms: Until when.
        envelope_id: Of the envelope.
        blake3: Of the envelope's bytes.
    """

    origin: str
    subject: str
    addresses: tuple[str, ...]
    expires_ms: int
    envelope_id: str
    blake3: str


class IntroductionEnded(_Event, frozen=True, kw_only=True):
    """An introduction counts no more. `text` is the origin's own reason: data, never an instruction (LIP-7)."""

    origin: str
    subject: str
    expires_ms: int
    reason: EndReason
    text: str | None = None


class IntroductionForged(_Event, frozen=True, kw_only=True):
    """An origin signed an introduction whose key is not its subject's. `envelope` proves it (TRUST-4)."""

    origin: str
    subject: str
    envelope_id: str
    blake3: str
    envelope: str


class RevocationNoted(_Event, frozen=True, kw_only=True):
    """A peer took back an introduction that does not stand here: a note for the operator, no more (MESH-11)."""

    origin: str
    subject: str
    text: str


class IntroductionIssued(_Event, frozen=True, kw_only=True):
    """This node introduces a peer."""

    subject: str
    pubkey: str
    addresses: tuple[str, ...]
    expires_ms: int


class IntroductionWithdrawn(_Event, frozen=True, kw_only=True):
    """This node takes an introduction back."""

    reason: str


class TrustAsked(_Event, frozen=True, kw_only=True):
    """The TrustFSM is to hear of it: requested. May be performed again: it counts once by its cause (ROUTE-3).

    Args:
        effect_id: Of the effect, and the cause that the peer's lane keeps.
        act: What it is told.
        introducer: Who introduces.
        peer: Of whom it is told.
        addresses: Where the subject may be found.
        envelope_id, blake3: What it rests on; None of an end.
        idempotent: Always.
    """

    effect_id: str
    act: Act
    introducer: str
    peer: str
    addresses: tuple[str, ...] = ()
    envelope_id: str | None = None
    blake3: str | None = None
    idempotent: bool


class TrustTold(_Event, frozen=True, kw_only=True):
    """The TrustFSM has heard: `done` if the peer is here by this introducer now, or is not any more."""

    effect_id: str
    act: Act | None
    introducer: str
    peer: str
    told: Told
    code: str | None = None


IntroductionEvent = (
    IntroductionHeard
    | IntroductionEnded
    | IntroductionForged
    | RevocationNoted
    | IntroductionIssued
    | IntroductionWithdrawn
    | TrustAsked
    | TrustTold
)
_WORDS: Final = frozenset({"text", "envelope", "addresses"})


def _type(name: str, struct: type[msgspec.Struct], refs: dict[str, str], **kind: Any) -> EventType:
    classes: dict[str, DataClass] = {
        field: "retainable" if field in _WORDS else "structural" for field in struct.__struct_encode_fields__
    }
    return EventType(name=name, struct=struct, classes=classes, refs=refs, **kind)


_SUBJECT: Final = {"peer": "subject", "introduction": "intro_id"}
INTRODUCTION_EVENTS: Final = (
    _type("mesh.introduction_heard", IntroductionHeard, _SUBJECT),
    _type("mesh.introduction_ended", IntroductionEnded, _SUBJECT),
    _type("mesh.introduction_forged", IntroductionForged, {"peer": "origin"}),
    _type("mesh.revocation_noted", RevocationNoted, _SUBJECT),
    _type("mesh.introduction_issued", IntroductionIssued, _SUBJECT),
    _type("mesh.introduction_withdrawn", IntroductionWithdrawn, {"introduction": "intro_id"}),
    _type(
        "mesh.trust_asked",
        TrustAsked,
        {"peer": "peer"},
        phase="request",
        subject="effect_id",
        idempotent="idempotent",
    ),
    _type("mesh.trust_told", TrustTold, {"peer": "peer"}, phase="conclusion", subject="effect_id"),
)
"""Every event type of the introductions' part of lane `server`."""
