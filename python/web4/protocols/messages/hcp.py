"""Every message of HCP, human to human through agents (sections 3 and 11)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, UnsetType

from web4.foundation.codec import HumanId, Message, Timestamp, Uuid4
from web4.protocols.messages.fields import JsonObject, Party, Percent, Presence, Sign, Uuid

VERSION: Final = "1.0"
PROTOCOL: Final = "hcp/1.0"

Affect = Literal["calm", "tense", "anxious", "energized", "neutral"]
Consent = Literal["granted", "limited", "revoked"]
Goal = Literal["align", "request", "clarify", "decide", "resolve_conflict"]
SafetyFlag = Literal["avoid_conflict", "slow_pacing"]
TopicScope = Annotated[
    str,
    Meta(
        max_length=256,
        pattern=r"^topic:(\*|[^\s/*]+(/[^\s/*]+)*)$(?!\n)",
        description="`topic:a/b` covers `a/b` and everything below it; `topic:*` covers all (HCP-2).",
        extra={"words": "a topic, words separated by `/` as in `topic:garden/fence`, or `topic:*` for all"},
    ),
]
Topic = Annotated[
    str,
    Meta(
        max_length=250,
        pattern=r"^[^\s/*]+(/[^\s/*]+)*$(?!\n)",
        description="What it is about: words separated by `/`, the general one first (HCP-2).",
    ),
]
Text = Annotated[str, Meta(min_length=1)]


class HumanParty(Party, frozen=True, kw_only=True):
    """An agent, and the human on whose behalf it speaks or is spoken to."""

    human_id: HumanId


class HumanState(Message, frozen=True, kw_only=True):
    """How a human is, in that human's agent's words (ENV-2). A person's state: it never reaches a log (HCP-11)."""

    presence: Presence
    affect: Affect
    clarity: Percent
    pressure: Percent
    intent: str
    consent: Consent


class HumanStateClaim(Message, frozen=True, kw_only=True):
    """What an HCP envelope says of the sender's human beside the message."""

    human: HumanState


class HumanParties(Message, frozen=True, kw_only=True):
    """What an HCP envelope needs beside its payload: from whom, to whom, and how the sender's human is."""

    sender: HumanId
    receiver: HumanId
    state: HumanState


class HumanIdentity(Message, frozen=True, kw_only=True):
    """A human's name and role, as that human wants to be called."""

    name: str
    role: str


class HcpHello(Message, frozen=True, kw_only=True):
    """Who my human is, what may be talked about, and how carefully."""

    identity: HumanIdentity
    consent_scope: tuple[TopicScope, ...]
    safety_flags: tuple[SafetyFlag, ...]


class HcpStateUpdate(Message, frozen=True, kw_only=True):
    """How my human is now, and what that human consents to."""

    presence: Presence
    affect: Affect
    clarity: Percent
    pressure: Percent
    consent: Consent
    consent_scope: tuple[TopicScope, ...]


class HcpIntent(Message, frozen=True, kw_only=True):
    """What my human wants of yours."""

    goal: Goal
    topic: Topic
    priority: Literal["low", "normal", "high"]


class HcpContext(Message, frozen=True, kw_only=True):
    """What helps to understand an intent."""

    intent_ref: Uuid4
    context: JsonObject
    constraints: tuple[str, ...]
    shared_history: tuple[str, ...]


class HcpDecision(Message, frozen=True, kw_only=True):
    """What was decided about an intent, why, and what else there was (HCP-6)."""

    intent_ref: Uuid4
    decision: Text
    rationale: Annotated[str, Meta(pattern=r"\S")]
    alternatives: Annotated[tuple[Text, ...], Meta(min_length=1)]
    follow_up: str


class HcpFeedback(Message, frozen=True, kw_only=True):
    """How it went, and what was misunderstood (HCP-8)."""

    intent_ref: Uuid4
    feedback: str
    corrections: tuple[str, ...]
    satisfaction: Percent


class HcpEnvelope(Message, frozen=True, kw_only=True):
    """What all HCP envelopes have in common (section 3)."""

    hcp: Literal["1.0"]
    msg_id: Uuid4
    timestamp: Timestamp
    sender: HumanParty
    receiver: HumanParty
    state: HumanStateClaim
    sign: Sign
    corr_id: Uuid | UnsetType = UNSET


class HcpHelloEnvelope(HcpEnvelope, frozen=True, kw_only=True):
    """See `HcpHello`."""

    type: Literal["HCP_HELLO"]
    payload: HcpHello


class HcpStateUpdateEnvelope(HcpEnvelope, frozen=True, kw_only=True):
    """See `HcpStateUpdate`."""

    type: Literal["HCP_STATE_UPDATE"]
    payload: HcpStateUpdate


class HcpIntentEnvelope(HcpEnvelope, frozen=True, kw_only=True):
    """See `HcpIntent`."""

    type: Literal["HCP_INTENT"]
    payload: HcpIntent


class HcpContextEnvelope(HcpEnvelope, frozen=True, kw_only=True):
    """See `HcpContext`."""

    type: Literal["HCP_CONTEXT"]
    payload: HcpContext


class HcpDecisionEnvelope(HcpEnvelope, frozen=True, kw_only=True):
    """See `HcpDecision`."""

    type: Literal["HCP_DECISION"]
    payload: HcpDecision


class HcpFeedbackEnvelope(HcpEnvelope, frozen=True, kw_only=True):
    """See `HcpFeedback`."""

    type: Literal["HCP_FEEDBACK"]
    payload: HcpFeedback


HcpMessage = (
    HcpHelloEnvelope
    | HcpStateUpdateEnvelope
    | HcpIntentEnvelope
    | HcpContextEnvelope
    | HcpDecisionEnvelope
    | HcpFeedbackEnvelope
)
HcpPayload = HcpHello | HcpStateUpdate | HcpIntent | HcpContext | HcpDecision | HcpFeedback

ENVELOPES: Final[dict[str, type[HcpMessage]]] = {
    "HCP_HELLO": HcpHelloEnvelope,
    "HCP_STATE_UPDATE": HcpStateUpdateEnvelope,
    "HCP_INTENT": HcpIntentEnvelope,
    "HCP_CONTEXT": HcpContextEnvelope,
    "HCP_DECISION": HcpDecisionEnvelope,
    "HCP_FEEDBACK": HcpFeedbackEnvelope,
}
"""The envelope of each type name; no other names exist (ENV-3)."""
