"""Floor 3: how far a peer is trusted, decided by one state machine per fingerprint (TRUST-1 to TRUST-10).

Nothing here reads a clock or a network. Other rooms supply evidence as commands; only this room decides.
"""

from web4.trust.commands import (
    Anchored,
    AuthFailure,
    Conflict,
    HandshakeOk,
    Introduced,
    IntroducerLost,
    KnowledgeVerified,
    LocalAlignment,
    MaliciousEvidence,
    ManualOverride,
    OperatorBlock,
    OperatorPromote,
    TrustCommand,
    Unverifiable,
)
from web4.trust.errors import TrustCommandError, TrustViolationError
from web4.trust.events import Evidence, TrustEvent, cited_envelope
from web4.trust.evidence import EvidenceStore
from web4.trust.fsm import TrustFSM
from web4.trust.limits import TrustLimits
from web4.trust.logic import TrustLogic, TrustOutcome
from web4.trust.record import TrustRecord
from web4.trust.registry import TrustRegistry
from web4.trust.table import TABLE, TrustEventName, TrustState

__all__ = [
    "TABLE",
    "Anchored",
    "AuthFailure",
    "Conflict",
    "Evidence",
    "EvidenceStore",
    "HandshakeOk",
    "Introduced",
    "IntroducerLost",
    "KnowledgeVerified",
    "LocalAlignment",
    "MaliciousEvidence",
    "ManualOverride",
    "OperatorBlock",
    "OperatorPromote",
    "TrustCommand",
    "TrustCommandError",
    "TrustEvent",
    "TrustEventName",
    "TrustFSM",
    "TrustLimits",
    "TrustLogic",
    "TrustOutcome",
    "TrustRecord",
    "TrustRegistry",
    "TrustState",
    "TrustViolationError",
    "Unverifiable",
    "cited_envelope",
]
