"""Every message of CIP, agent to agent (sections 3 and 7)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from web4.foundation.codec import Base64Of32, Base64Of64, Message, Timestamp, Uuid4
from web4.protocols.messages.fields import (
    AgentSender,
    CodeWord,
    Confidence,
    IntroducedSender,
    JsonObject,
    Milliseconds,
    Party,
    Percent,
    Presence,
    Provenance,
    SenderView,
    Sign,
    StateClaim,
    TrustClaim,
    Uuid,
)

VERSION: Final = "1.0"

ProtocolVersion = Annotated[
    str,
    Meta(
        max_length=32,
        pattern=r"^[a-z][a-z0-9_-]*/[0-9]+\.[0-9]+$(?!\n)",
        description="A protocol and its version, as `cip/1.0`.",
    ),
]
FactRef = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=r"^([0-9a-f]{64}|[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})$(?!\n)",
        description="The msg_id of a FACT_PROPOSE, or a claim key (KNOW-1).",
    ),
]
ReplyStatus = Literal["accepted", "deferred", "refused", "done", "failed"]


class Features(Message, frozen=True, kw_only=True):
    """What a node offers beside its capabilities; the agreement is what both offer (HS-4)."""

    supports_mesh: bool
    supports_multiplex: bool


class Hello(Message, frozen=True, kw_only=True):
    """Who I am, what I speak, and what I ask you to sign (section 8)."""

    protocols: tuple[ProtocolVersion, ...]
    capabilities: tuple[str, ...]
    features: Features
    session_nonce: Base64Of32
    challenge: Base64Of32
    challenge_response: Base64Of64 | UnsetType = UNSET


class Verify(Message, frozen=True, kw_only=True):
    """The initiator's proof, naming both nonces (section 8)."""

    challenge_response: Base64Of64
    nonce_initiator: Base64Of32
    nonce_responder: Base64Of32


class Error(Message, frozen=True, kw_only=True):
    """What was refused, and when to try again (CIP-2)."""

    code: CodeWord
    msg_id: Uuid4 | UnsetType = UNSET
    retry_after_ms: Milliseconds | UnsetType = UNSET


class Receipt(Message, frozen=True, kw_only=True):
    """The messages that are durable at the sender of this (OUT-3)."""

    msg_ids: Annotated[tuple[Uuid4, ...], Meta(min_length=1, max_length=256)]


class StateUpdate(Message, frozen=True, kw_only=True):
    """How the sender is now; the latest counts (WEB-3). `ltppeerstate` is its trust in the receiver."""

    presence: Presence
    lri: Percent
    ltppeerstate: SenderView
    kernel_signals: tuple[str, ...]
    intent: str


class Intent(Message, frozen=True, kw_only=True):
    """What the sender wants to do together; answered by a REPLY at once (LOOP-5)."""

    goal: Literal["verify_knowledge", "ask", "learn", "propose_solution", "test_hypothesis"]
    topic: str
    priority: Literal["low", "normal", "high"]
    context: JsonObject


class Reply(Message, frozen=True, kw_only=True):
    """The answer to a message of the receiver's (LOOP-5)."""

    in_reply_to: Uuid4
    status: ReplyStatus
    reason: str
    retry_after_ms: Milliseconds | UnsetType = UNSET
    content: JsonObject | UnsetType = UNSET


class Triple(Message, frozen=True, kw_only=True):
    """A statement as subject, predicate, object; `functional` if there can be one object only (MEM-4)."""

    subject: str
    predicate: str
    object: str
    functional: bool


class Fact(Message, frozen=True, kw_only=True):
    """A statement somebody proposes as true."""

    statement: str
    domain: str
    confidence: Confidence
    sources: tuple[str, ...]
    context: JsonObject
    triple: Triple | UnsetType = UNSET


class DmpTrace(Message, frozen=True, kw_only=True):
    """How the decision was made that led to the message (MEM-1)."""

    decision_id: Uuid
    steps: tuple[str, ...]
    counterfactuals: tuple[str, ...]
    evidence: tuple[str, ...]


class FactPropose(Message, frozen=True, kw_only=True):
    """A fact, how it came about, and the ids of the decisions or claims it follows from."""

    fact: Fact
    dmp_trace: DmpTrace
    causal_links: tuple[str, ...]


class FactChallenge(Message, frozen=True, kw_only=True):
    """A doubt about a fact (TRUST-4)."""

    fact_ref: FactRef
    reason: Literal["conflict", "insufficient_evidence", "cannot_verify"]
    notes: str


class MemoryEvidence(Message, frozen=True, kw_only=True, tag_field="kind", tag="memory"):
    """Evidence from the voter's causal memory."""

    ref: str


class FetchEvidence(Message, frozen=True, kw_only=True, tag_field="kind", tag="fetch"):
    """Evidence that the voter fetched itself; provenance is required (LIP-1)."""

    ref: str
    provenance: Provenance


class HumanEvidence(Message, frozen=True, kw_only=True, tag_field="kind", tag="human"):
    """Evidence that a human gave the voter."""

    ref: str


VoteEvidence = MemoryEvidence | FetchEvidence | HumanEvidence


class _FactVote(Message, frozen=True, kw_only=True):
    fact_ref: FactRef
    confidence: Confidence
    evidence: tuple[VoteEvidence, ...]
    notes: str


class FactConfirm(_FactVote, frozen=True, kw_only=True):
    """A vote for a fact, on the voter's own evidence (KNOW-4)."""

    decision: Literal["confirm"]


class FactReject(_FactVote, frozen=True, kw_only=True):
    """A vote against a fact."""

    decision: Literal["reject"]


class SharedDecision(Message, frozen=True, kw_only=True):
    """What was chosen, what came of it, and in which context."""

    choice: str
    outcome: str
    context: JsonObject


class DecisionShare(Message, frozen=True, kw_only=True):
    """Experience given to a peer; never its own experience (MEM-3)."""

    decision: SharedDecision
    dmp_trace: DmpTrace
    retrospective: str


class CipEnvelope(Message, frozen=True, kw_only=True):
    """What all CIP envelopes have in common (section 3)."""

    cip: Literal["1.0"]
    msg_id: Uuid4
    timestamp: Timestamp
    sender: AgentSender
    receiver: Party
    sign: Sign
    corr_id: Uuid | UnsetType = UNSET
    trust: TrustClaim | UnsetType = UNSET
    state: StateClaim | UnsetType = UNSET


class HelloEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `Hello`."""

    type: Literal["HELLO"]
    sender: IntroducedSender
    payload: Hello


class VerifyEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `Verify`."""

    type: Literal["VERIFY"]
    payload: Verify


class ErrorEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `Error`."""

    type: Literal["ERROR"]
    payload: Error


class ReceiptEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `Receipt`."""

    type: Literal["RECEIPT"]
    payload: Receipt


class StateUpdateEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `StateUpdate`."""

    type: Literal["STATE_UPDATE"]
    payload: StateUpdate


class IntentEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `Intent`."""

    type: Literal["INTENT"]
    payload: Intent


class ReplyEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `Reply`."""

    type: Literal["REPLY"]
    payload: Reply


class FactProposeEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `FactPropose`."""

    type: Literal["FACT_PROPOSE"]
    payload: FactPropose


class FactChallengeEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `FactChallenge`."""

    type: Literal["FACT_CHALLENGE"]
    payload: FactChallenge


class FactConfirmEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `FactConfirm`."""

    type: Literal["FACT_CONFIRM"]
    payload: FactConfirm


class FactRejectEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `FactReject`."""

    type: Literal["FACT_REJECT"]
    payload: FactReject


class DecisionShareEnvelope(CipEnvelope, frozen=True, kw_only=True):
    """See `DecisionShare`."""

    type: Literal["DECISION_SHARE"]
    payload: DecisionShare


CipMessage = (
    HelloEnvelope
    | VerifyEnvelope
    | ErrorEnvelope
    | ReceiptEnvelope
    | StateUpdateEnvelope
    | IntentEnvelope
    | ReplyEnvelope
    | FactProposeEnvelope
    | FactChallengeEnvelope
    | FactConfirmEnvelope
    | FactRejectEnvelope
    | DecisionShareEnvelope
)
Payload = (
    Hello
    | Verify
    | Error
    | Receipt
    | StateUpdate
    | Intent
    | Reply
    | FactPropose
    | FactChallenge
    | FactConfirm
    | FactReject
    | DecisionShare
)

ENVELOPES: Final[dict[str, type[CipMessage]]] = {
    "HELLO": HelloEnvelope,
    "VERIFY": VerifyEnvelope,
    "ERROR": ErrorEnvelope,
    "RECEIPT": ReceiptEnvelope,
    "STATE_UPDATE": StateUpdateEnvelope,
    "INTENT": IntentEnvelope,
    "REPLY": ReplyEnvelope,
    "FACT_PROPOSE": FactProposeEnvelope,
    "FACT_CHALLENGE": FactChallengeEnvelope,
    "FACT_CONFIRM": FactConfirmEnvelope,
    "FACT_REJECT": FactRejectEnvelope,
    "DECISION_SHARE": DecisionShareEnvelope,
}
"""The envelope of each type name; no other names exist (ENV-3)."""
