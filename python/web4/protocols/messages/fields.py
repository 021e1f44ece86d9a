r"""The envelope fields and value types that CIP, HCP and LIP share (section 3 of the specification).

An optional field is `UNSET` when it is absent, never None: a JSON null is a wrong type and refused (ENV-1).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from web4.foundation.codec import AgentId, Base64Of32, Base64Of64, Fingerprint, HexDigest, Message, Timestamp

LARGEST_INTEGER = 2**53 - 1
"""No integral value in an envelope goes beyond this (SIG-1)."""

SenderView = Literal["untrusted", "probing", "trusted", "blacklisted"]
ReceiverView = Literal["untrusted", "probing", "trusted", "blacklisted", "unknown"]
Presence = Literal["focused", "diffuse", "overloaded", "engaged"]
Percent = Annotated[int, Meta(ge=0, le=100)]
Confidence = Annotated[float, Meta(ge=0, le=1)]
Milliseconds = Annotated[int, Meta(ge=0, le=LARGEST_INTEGER, description="A duration in milliseconds.")]
JsonObject = dict[str, Any]
CodeWord = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[a-z][a-z0-9_]*$(?!\n)",
        description="A stable lowercase code (ERR-1).",
    ),
]
Uuid = Annotated[
    str,
    Meta(
        min_length=36,
        max_length=36,
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$(?!\n)",
        description="A UUID of any version, lowercase.",
    ),
]


class Party(Message, frozen=True, kw_only=True):
    """A node: the fingerprint counts, the name has no authority (ID-3)."""

    agent_id: AgentId
    fingerprint: Fingerprint


class AgentSender(Party, frozen=True, kw_only=True):
    """The sender of a CIP envelope."""

    pubkey: Base64Of32 | UnsetType = UNSET
    capabilities: tuple[str, ...] | UnsetType = UNSET


class IntroducedSender(AgentSender, frozen=True, kw_only=True):
    """The sender of a HELLO: its public key is required."""

    pubkey: Base64Of32


class TrustClaim(Message, frozen=True, kw_only=True):
    """What the sender says about trust. Its own words: they never raise any trust here (ENV-2)."""

    sender_view: SenderView
    receiver_view: ReceiverView


class StateClaim(Message, frozen=True, kw_only=True):
    """What the sender says about itself beside the message (ENV-2)."""

    presence: Presence
    lri: Percent
    kernel_signals: tuple[str, ...]
    intent: str


class Sign(Message, frozen=True, kw_only=True):
    """The signature over the envelope without this field (SIG-2)."""

    algo: Literal["ed25519"]
    signature: Base64Of64


class Provenance(Message, frozen=True, kw_only=True):
    """Where something was fetched, and what was there (LIP-1)."""

    uri: str
    final_uri: str
    retrieved_at: Timestamp
    status: Annotated[int, Meta(ge=100, le=599)]
    content_type: str
    body_blake3: HexDigest
    body_bytes: Annotated[int, Meta(ge=0, le=LARGEST_INTEGER)]
    excerpt: str | UnsetType = UNSET
