"""Every message of LIP, learning from the internet (sections 3 and 12). What it quotes is data (LIP-7)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from web4.foundation.codec import HexDigest, Message, Timestamp, Uuid4
from web4.protocols.messages.cip import Triple
from web4.protocols.messages.fields import Confidence, Party, Provenance, Sign, Uuid

VERSION: Final = "1.0"
PROTOCOL: Final = "lip/1.0"

TrustTier = Literal["unknown", "low", "medium", "high", "blocked"]
Query = Annotated[str, Meta(min_length=1, max_length=8_192)]


class SourceRequest(Message, frozen=True, kw_only=True):
    """The source of a LIP_FETCH: nothing was retrieved yet."""

    uri: str
    trust_tier: TrustTier


class SourceClaim(Message, frozen=True, kw_only=True):
    """Where it comes from. The tier is the sender's word: the receiver computes its own (ENV-2, LIP-2)."""

    uri: str
    trust_tier: TrustTier
    retrieved_at: Timestamp


class WebClaim(Message, frozen=True, kw_only=True):
    """A statement that a source is said to support."""

    statement: str
    domain: str
    triple: Triple | UnsetType = UNSET


class ClaimConflict(Message, frozen=True, kw_only=True):
    """A claim, and what speaks against it."""

    claim_key: HexDigest
    reason: str


class LipFetch(Message, frozen=True, kw_only=True):
    """Fetch this for me, under these constraints (FETCH-2)."""

    query: Query
    constraints: tuple[str, ...]


class LipEvidence(Message, frozen=True, kw_only=True):
    """Claims, and the provenance on which they rest (LIP-1)."""

    claims: Annotated[tuple[WebClaim, ...], Meta(min_length=1)]
    evidence: tuple[Provenance, ...]
    confidence: Confidence
    extraction_notes: str


class LipConflict(Message, frozen=True, kw_only=True):
    """Claims that contradict what the sender holds."""

    conflicts: Annotated[tuple[ClaimConflict, ...], Meta(min_length=1)]
    local_refs: tuple[str, ...]
    severity: Literal["low", "medium", "high"]


class _LipVote(Message, frozen=True, kw_only=True):
    claim_keys: Annotated[tuple[HexDigest, ...], Meta(min_length=1)]
    reason: str
    evidence: tuple[Provenance, ...]
    corroborators: tuple[str, ...]


class LipAccept(_LipVote, frozen=True, kw_only=True):
    """The sender accepted these claims, on this evidence of its own. `corroborators` is hearsay (LIP-3)."""

    decision: Literal["accept"]


class LipReject(_LipVote, frozen=True, kw_only=True):
    """The sender rejected these claims."""

    decision: Literal["reject"]


class LipEnvelope(Message, frozen=True, kw_only=True):
    """What all LIP envelopes have in common (section 3)."""

    lip: Literal["1.0"]
    msg_id: Uuid4
    timestamp: Timestamp
    sender: Party
    receiver: Party
    source: SourceClaim
    sign: Sign
    corr_id: Uuid | UnsetType = UNSET


class LipFetchEnvelope(LipEnvelope, frozen=True, kw_only=True):
    """See `LipFetch`."""

    type: Literal["LIP_FETCH"]
    source: SourceRequest  # type: ignore[assignment]  # the one type without `retrieved_at`
    payload: LipFetch


class LipEvidenceEnvelope(LipEnvelope, frozen=True, kw_only=True):
    """See `LipEvidence`."""

    type: Literal["LIP_EVIDENCE"]
    payload: LipEvidence


class LipConflictEnvelope(LipEnvelope, frozen=True, kw_only=True):
    """See `LipConflict`."""

    type: Literal["LIP_CONFLICT"]
    payload: LipConflict


class LipAcceptEnvelope(LipEnvelope, frozen=True, kw_only=True):
    """See `LipAccept`."""

    type: Literal["LIP_ACCEPT"]
    payload: LipAccept


class LipRejectEnvelope(LipEnvelope, frozen=True, kw_only=True):
    """See `LipReject`."""

    type: Literal["LIP_REJECT"]
    payload: LipReject


LipMessage = (
    LipFetchEnvelope | LipEvidenceEnvelope | LipConflictEnvelope | LipAcceptEnvelope | LipRejectEnvelope
)
LipPayload = LipFetch | LipEvidence | LipConflict | LipAccept | LipReject

ENVELOPES: Final[dict[str, type[LipMessage]]] = {
    "LIP_FETCH": LipFetchEnvelope,
    "LIP_EVIDENCE": LipEvidenceEnvelope,
    "LIP_CONFLICT": LipConflictEnvelope,
    "LIP_ACCEPT": LipAcceptEnvelope,
    "LIP_REJECT": LipRejectEnvelope,
}
"""The envelope of each type name; no other names exist (ENV-3)."""
