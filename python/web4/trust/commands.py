"""What other rooms tell the TrustFSM: what was observed, never what to make of it (TRUST-9)."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from web4.trust.events import Evidence
from web4.trust.table import TrustEventName, TrustState


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", omit_defaults=True):
    """What all commands carry.

    `at_ms` is Unix milliseconds. `newcomer_allowed` is the resolved precondition of TRUST-10: whether one
    more record may be made of an unknown peer; `TrustRegistry` fills it in.
    """

    event: ClassVar[TrustEventName]

    at_ms: int
    newcomer_allowed: bool = True


class HandshakeOk(_Command, frozen=True, tag="handshake_ok"):
    """The peer completed the CIP handshake of a session (HS-2)."""

    event = "handshake_ok"


class Introduced(_Command, frozen=True, tag="introduced"):
    """A peer introduced this one (MESH-10); it counts only while the introducer is trusted."""

    event = "introduced"
    introducer: str
    introducer_state: TrustState
    evidence: tuple[Evidence, ...] = ()


class IntroducerLost(_Command, frozen=True, tag="introducer_lost"):
    """The introduction ended (MESH-11); it counts only for a peer that never completed a handshake itself."""

    event = "introducer_lost"
    introducer: str


class KnowledgeVerified(_Command, frozen=True, tag="knowledge_verified"):
    """A claim that this peer proposed first was accepted with enough independent confirmers (KNOW-9)."""

    event = "knowledge_verified"
    claim_key: str


class LocalAlignment(_Command, frozen=True, tag="local_alignment"):
    """Claims of this peer equal claims accepted here before and never sent to it: two at least (TRUST-5)."""

    event = "local_alignment"
    claim_keys: tuple[str, ...]


class Unverifiable(_Command, frozen=True, tag="unverifiable"):
    """A trusted peer challenged a claim of this one as not verifiable or without evidence (TRUST-4)."""

    event = "unverifiable"
    claim_key: str
    challenger: str


class Conflict(_Command, frozen=True, tag="conflict"):
    """A proposal of this peer contradicts what is accepted here (TRUST-4).

    `confidence` is that of the peer's statement, `confirmers` the number of independent confirmers of the
    claim it contradicts. Whether this makes it severe is graded here, not by the caller.
    """

    event = "conflict"
    claim_key: str
    confidence: float = 0.0
    confirmers: int = 0
    evidence: tuple[Evidence, ...] = ()


class AuthFailure(_Command, frozen=True, tag="auth_failure"):
    """The peer of the authenticated session `session_id` gave a wrong proof (VAL-4, HS-6)."""

    event = "auth_failure"
    session_id: str
    reason: str
    evidence: tuple[Evidence, ...] = ()


class MaliciousEvidence(_Command, frozen=True, tag="malicious_evidence"):
    """The peer is proven to have equivocated, posed as another, or forged an introduction (TRUST-4)."""

    event = "malicious_evidence"
    reason: str
    evidence: tuple[Evidence, ...]


class Anchored(_Command, frozen=True, tag="anchored"):
    """The operator's configuration pins this peer, or a named human does, with a reason (TRUST-5)."""

    event = "anchored"
    human: str = ""
    reason: str = ""


class _OperatorAct(_Command, frozen=True):
    """An act of a named human with a reason (TRUST-2)."""

    human: str
    reason: str


class OperatorPromote(_OperatorAct, frozen=True, tag="operator_promote"):
    """Raise the peer by one step."""

    event = "operator_promote"


class OperatorBlock(_OperatorAct, frozen=True, tag="operator_block"):
    """Blacklist the peer and revoke its key (ID-4)."""

    event = "operator_block"


class ManualOverride(_OperatorAct, frozen=True, tag="manual_override"):
    """Take the peer off the blacklist, to probing; its key counts again."""

    event = "manual_override"


TrustCommand = (
    HandshakeOk
    | Introduced
    | IntroducerLost
    | KnowledgeVerified
    | LocalAlignment
    | Unverifiable
    | Conflict
    | AuthFailure
    | MaliciousEvidence
    | Anchored
    | OperatorPromote
    | OperatorBlock
    | ManualOverride
)
