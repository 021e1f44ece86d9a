"""The mission of a node: what it is for and what must never come of it, in a signed document (DRIFT-1)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta

from web4.foundation import identity as identities
from web4.foundation.clock import format_timestamp
from web4.foundation.codec import Base64Of32, Base64Of64, Message, Timestamp
from web4.foundation.digest import canonical
from web4.foundation.errors import SignatureMismatchError
from web4.governance.errors import MissionRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from web4.foundation.identity import Identity

MOST_BYTES: Final = 65_536
"""Canonical bytes of a mission document."""
_SIGNED_AS: Final = {"protocol": "governance", "version": "1.0", "purpose": "mission"}
_Words = Annotated[str, Meta(min_length=1, max_length=512)]
_Name = Annotated[str, Meta(min_length=1, max_length=64)]


class Goal(Message, frozen=True, kw_only=True):
    """Something that the node is for.

    Args:
        name: To name it in records.
        words: What it is, in words; the scorer works with them.
        weight: Above 0, up to 1: how much work for it counts.
    """

    name: _Name
    words: _Words
    weight: Annotated[float, Meta(gt=0, le=1)] = 1.0


class ForbiddenOutcome(Message, frozen=True, kw_only=True):
    """Something that must never come of what the node does.

    Args:
        name: To name it in records.
        phrases: Each in words; one of them suffices.
    """

    name: _Name
    phrases: Annotated[tuple[_Words, ...], Meta(min_length=1, max_length=32)]


class Mission(Message, frozen=True, kw_only=True):
    """A mission document, as `read_mission` gives it: its signature verified.

    Args:
        mission: Of the form of the document.
        version: Of the mission: only a higher one takes its place.
        goals: What the node is for.
        forbidden: What must never come of it.
        issued_at: When it was signed.
        signer: The raw public key that signed it.
        signature: Over the canonical document without this field, purpose `mission` (SIG-2).
    """

    mission: Literal["1.0"]
    version: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    goals: Annotated[tuple[Goal, ...], Meta(min_length=1, max_length=64)]
    forbidden: Annotated[tuple[ForbiddenOutcome, ...], Meta(max_length=64)] = ()
    issued_at: Timestamp
    signer: Base64Of32
    signature: Base64Of64


def sign_mission(
    identity: Identity,
    *,
    version: int,
    goals: Iterable[Goal],
    forbidden: Iterable[ForbiddenOutcome] = (),
    issued_ms: int,
) -> bytes:
    """Write and sign a mission document; its canonical bytes.

    Raises:
        MissionRefused: `mission_malformed`: it would not be one.
    """
    unsigned = {
        "mission": "1.0",
        "version": version,
        "goals": tuple(goals),
        "forbidden": tuple(forbidden),
        "issued_at": format_timestamp(issued_ms),
        "signer": base64.b64encode(identity.public_key).decode(),
    }
    if not unsigned["forbidden"]:
        del unsigned["forbidden"]
    signature = identity.sign(canonical(unsigned), **_SIGNED_AS)
    data = canonical({**unsigned, "signature": base64.b64encode(signature).decode()})
    _parsed(data)
    return data


def read_mission(document: bytes, *, signers: Collection[str]) -> Mission:
    """Read and verify a mission document.

    Args:
        document: Its canonical bytes, 64 KiB at most.
        signers: The fingerprints whose missions this node heeds.

    Raises:
        MissionRefused: `mission_malformed`, `mission_signer`, or `mission_signature`.
    """
    mission = _parsed(document)
    key = base64.b64decode(mission.signer)
    if identities.fingerprint(key) not in signers:
        raise MissionRefused(
            "the mission is signed by a key that this node does not heed", code="mission_signer"
        )
    unsigned = {name: value for name, value in msgspec.json.decode(document).items() if name != "signature"}
    try:
        identities.verify(key, canonical(unsigned), base64.b64decode(mission.signature), **_SIGNED_AS)
    except SignatureMismatchError:
        raise MissionRefused("the mission's signature does not verify", code="mission_signature") from None
    return mission


def _parsed(document: bytes) -> Mission:
    if len(document) > MOST_BYTES:
        raise MissionRefused(f"a mission has at most {MOST_BYTES} bytes", code="mission_malformed")
    try:
        mission = msgspec.json.decode(document, type=Mission)
        spelled = canonical(msgspec.json.decode(document))
    except (msgspec.MsgspecError, ValueError) as error:
        field = str(error).partition(" - at `$.")[2].rstrip("`")
        raise MissionRefused("this is no mission", code="mission_malformed", field=field or None) from None
    if spelled != document:
        raise MissionRefused("the mission is not in canonical form", code="mission_malformed")
    return mission
