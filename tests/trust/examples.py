"""One command for each of the fourteen events, as the trust tests use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.trust import (
    Anchored,
    AuthFailure,
    Conflict,
    Evidence,
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
    TrustEventName,
    Unverifiable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_800_000_000_000
ENVELOPE = Evidence(blake3="ab" * 32, msg_id="m")
KEYS = ("01" * 32, "02" * 32)

COMMANDS: dict[TrustEventName, Callable[[], TrustCommand]] = {
    "handshake_ok": lambda: HandshakeOk(at_ms=NOW),
    "introduced": lambda: Introduced(at_ms=NOW, introducer="c" * 64, introducer_state="trusted"),
    "introducer_lost": lambda: IntroducerLost(at_ms=NOW, introducer="c" * 64),
    "knowledge_verified": lambda: KnowledgeVerified(at_ms=NOW, claim_key=KEYS[0]),
    "local_alignment": lambda: LocalAlignment(at_ms=NOW, claim_keys=KEYS),
    "unverifiable": lambda: Unverifiable(at_ms=NOW, claim_key=KEYS[0], challenger="d" * 64),
    "conflict": lambda: Conflict(at_ms=NOW, claim_key=KEYS[0], evidence=(ENVELOPE,)),
    "severe_conflict": lambda: Conflict(
        at_ms=NOW, claim_key=KEYS[0], confidence=0.9, confirmers=2, evidence=(ENVELOPE,)
    ),
    "auth_failure": lambda: AuthFailure(at_ms=NOW, session_id="s1", reason="signature"),
    "malicious_evidence": lambda: MaliciousEvidence(at_ms=NOW, reason="equivocation", evidence=(ENVELOPE,)),
    "anchored": lambda: Anchored(at_ms=NOW),
    "operator_promote": lambda: OperatorPromote(at_ms=NOW, human="ada", reason="met in person"),
    "operator_block": lambda: OperatorBlock(at_ms=NOW, human="ada", reason="stolen key"),
    "manual_override": lambda: ManualOverride(at_ms=NOW, human="ada", reason="it was a mistake"),
}
