"""One payload of each type that HCP and LIP know, and what their envelopes say beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.protocols.messages import hcp, lip
from web4.protocols.messages.cip import Triple
from web4.protocols.messages.fields import Provenance

if TYPE_CHECKING:
    from web4.protocols.messages.vocabulary import AgentPayload

INTENT_REF = "6f1c2a34-9d0e-4c5b-8a7f-001122334455"
CLAIM_KEY = "ab" * 32

STATE = hcp.HumanState(
    presence="focused", affect="calm", clarity=80, pressure=0, intent="ok ✓ \u2028", consent="granted"
)
HUMANS = hcp.HumanParties(sender="ana", receiver="bo", state=STATE)
FETCHED = lip.SourceClaim(
    uri="https://example.org/ü", trust_tier="unknown", retrieved_at="2027-01-15T08:00:00.000Z"
)
WANTED = lip.SourceRequest(uri="https://example.org/", trust_tier="unknown")
PROVENANCE = Provenance(
    uri="https://example.org/ü",
    final_uri="https://example.org/u",
    retrieved_at="2027-01-15T08:00:00.000Z",
    status=200,
    content_type="text/html",
    body_blake3="cd" * 32,
    body_bytes=12,
    excerpt="Paris 🗼",
)

HCP: dict[str, AgentPayload] = {
    "HCP_HELLO": hcp.HcpHello(
        identity=hcp.HumanIdentity(name="Ana Ξ", role="editor"),
        consent_scope=("topic:work/plans", "topic:*"),
        safety_flags=("slow_pacing",),
    ),
    "HCP_STATE_UPDATE": hcp.HcpStateUpdate(
        presence="diffuse", affect="tense", clarity=0, pressure=100, consent="limited", consent_scope=()
    ),
    "HCP_INTENT": hcp.HcpIntent(goal="align", topic="work/plans", priority="low"),
    "HCP_CONTEXT": hcp.HcpContext(
        intent_ref=INTENT_REF, context={"π": 3.14159}, constraints=(), shared_history=("we met",)
    ),
    "HCP_DECISION": hcp.HcpDecision(
        intent_ref=INTENT_REF, decision="go", rationale="it fits", alternatives=("stay",), follow_up=""
    ),
    "HCP_FEEDBACK": hcp.HcpFeedback(intent_ref=INTENT_REF, feedback="", corrections=(), satisfaction=70),
}
LIP: dict[str, AgentPayload] = {
    "LIP_FETCH": lip.LipFetch(query="https://example.org/", constraints=("domain:example.org",)),
    "LIP_EVIDENCE": lip.LipEvidence(
        claims=(
            lip.WebClaim(
                statement="Paris is in France",
                domain="geography",
                triple=Triple(subject="Paris", predicate="in", object="France", functional=True),
            ),
        ),
        evidence=(PROVENANCE,),
        confidence=0.25,
        extraction_notes="",
    ),
    "LIP_CONFLICT": lip.LipConflict(
        conflicts=(lip.ClaimConflict(claim_key=CLAIM_KEY, reason="older"),), local_refs=(), severity="high"
    ),
    "LIP_ACCEPT": lip.LipAccept(
        claim_keys=(CLAIM_KEY,), reason="", evidence=(PROVENANCE,), corroborators=(), decision="accept"
    ),
    "LIP_REJECT": lip.LipReject(
        claim_keys=(CLAIM_KEY,), reason="", evidence=(), corroborators=("x",), decision="reject"
    ),
}
