"""What is recorded on `human:<id>`. Affect, pressure and clarity are in `Stated` and `Heard` only (HCP-11)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from web4.journal.event_types import EventType
from web4.protocols.decisions import DECISION_EVENTS, DecisionOutcome, DecisionRecord
from web4.protocols.hcp.social import Relation
from web4.protocols.hcp.values import Said
from web4.protocols.messages.hcp import Consent, SafetyFlag
from web4.trust import TrustState


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all events of this room are: values with one spelling."""


def incoming_id(peer: str, msg_id: str) -> str:
    """How a message that came in is called here. Its sender chose the `msg_id`: another's message may have the same."""
    return f"{peer}:{msg_id}"


def message_of(action_id: str) -> str:
    """The `msg_id` in an `action_id`. What came in was once called by that alone, and is in journals of then."""
    return action_id.rpartition(":")[2]


class Received(_Event, frozen=True, kw_only=True):
    """How a message came that waits for a human: what a delivery says beside the envelope."""

    trust: TrustState
    admission: str
    digest: str
    size: int
    received_ms: int


class Action(_Event, frozen=True, kw_only=True):
    """A message to or from a human that the gate is asked about.

    Args:
        action_id: What it is called here: the `msg_id` of what goes out, `incoming_id` of what came in.
        direction: `out`: of the human here. `in`: to the human here.
        local: The human here.
        peer: Fingerprint of the other agent.
        human_id: The other human, as that agent calls it.
        lane_id: The other human's lane.
        type: The message's type.
        topic: What it is about; None if nobody knows.
        corr_id: Its conversation.
        document: The payload of what goes out; the envelope of what came in, without `state` (HCP-11).
        size: Bytes of the document, canonical.
        agent: The agent that asks for it: this node's.
        confirm: Whether it decides in the human's place (HCP-10).
        answered: Whether the human was asked, and said yes.
        received: Of what came in.
    """

    action_id: str
    direction: Literal["in", "out"]
    local: str
    peer: str
    human_id: str
    lane_id: str
    type: str
    topic: str | None = None
    corr_id: str | None = None
    document: dict[str, Any]
    size: int
    agent: str = ""
    confirm: bool = False
    answered: bool = False
    received: Received | None = None

    @property
    def msg_id(self) -> str:
        """The message's own id: whoever sends it chose it."""
        return message_of(self.action_id)

    def is_message(self, other: Action) -> bool:
        """Whether both are the same message; one of them may be from a journal of then, see `message_of`."""
        same = self.direction == other.direction == "in" and self.peer == other.peer
        return self.action_id == other.action_id or (same and self.msg_id == other.msg_id)


class CheckIn(_Event, frozen=True, kw_only=True):
    """A question to the human of the lane (HCP-5).

    Args:
        check_in_id: Unique.
        question: In words, for the human.
        reasons: Why it is asked: code words of the gate, each with whose account it is on.
        asked_by: The agent that asks. It is no human, and says so (HCP-10).
        action: What waits for the answer.
        asked_ms: When, Unix milliseconds.
        expires_ms: Without an answer until then it is deferred, never done.
    """

    check_in_id: str
    question: str
    reasons: tuple[str, ...]
    asked_by: str
    action: Action
    asked_ms: int
    expires_ms: int


class Added(_Event, frozen=True, kw_only=True):
    """A human of this node: the lane's first event. No consent comes with it: that is the human's to give (HCP-4)."""

    human_id: str
    name: str
    role: str
    flags: tuple[SafetyFlag, ...] = ()


class Consented(_Event, frozen=True, kw_only=True):
    """An act of the human of the lane: what it consents to from now on."""

    consent: Consent
    scope: tuple[str, ...] = ()
    door: str
    at_ms: int


class Stated(_Event, frozen=True, kw_only=True):
    """An act of the human of the lane: how it is."""

    said: Said
    door: str
    at_ms: int


class Acquainted(_Event, frozen=True, kw_only=True):
    """The human of the lane has to do with one at a peer from now on."""

    lane_id: str
    peer: str
    human_id: str


class IntentNoted(_Event, frozen=True, kw_only=True):
    """An intent passed the gate: messages that refer to it have its topic (HCP-2)."""

    ref: str
    lane_id: str
    topic: str
    goal: str


class CheckInAsked(_Event, frozen=True, kw_only=True):
    """A question was asked."""

    check_in: CheckIn


class CheckInEnded(_Event, frozen=True, kw_only=True):
    """A question is no longer asked. `door` is where a human's answer came through.

    `peer` and `corr_id` are of a message that came in and goes no further: its sender is told (LOOP-5).
    """

    check_in_id: str
    action_id: str
    outcome: Literal["yes", "denied", "no_answer"]
    reason: str
    door: str | None = None
    at_ms: int
    peer: str | None = None
    corr_id: str | None = None


class Lined(_Event, frozen=True, kw_only=True):
    """A message waits for its turn (HCP-7)."""

    action: Action
    not_before_ms: int


class LineMoved(_Event, frozen=True, kw_only=True):
    """The turn of what waits has another time."""

    action_id: str
    not_before_ms: int


class LineLeft(_Event, frozen=True, kw_only=True):
    """A message waits no longer; `reason` says why if it does not go on. See `CheckInEnded` for the last two."""

    action_id: str
    reason: str
    peer: str | None = None
    corr_id: str | None = None


class Paced(_Event, frozen=True, kw_only=True):
    """A message passed at the slow pace of these humans: their next has its turn 30 s later."""

    action_id: str
    lanes: tuple[str, ...]
    at_ms: int


class Noted(_Event, frozen=True, kw_only=True):
    """Something was recorded. The same refusal is not again for a minute: who asks must not fill the lane."""

    key: str
    at_ms: int


class ActionRequested(_Event, frozen=True, kw_only=True):
    """A message is to be sent, or one that waited is to be handed on. It goes on under its own id: once."""

    action_id: str
    action: Action
    idempotent: bool = True


class ActionConcluded(_Event, frozen=True, kw_only=True):
    """What came of it: `ok`, or the code of what stood against it."""

    action_id: str
    outcome: str


FollowUp = Literal["revoked", "granted", "said"]
"""What a human's word leads to elsewhere: work is stopped and messages purged, relations are opened, peers told."""


class FollowUpRequested(_Event, frozen=True, kw_only=True):
    """Something is to be done on other lanes, and to peers, because of this one. May be done again.

    Args:
        effect_id: Came with the command.
        of: The lane's id.
        what: See `FollowUp`.
        door: Where the human's act came through, if it was one.
    """

    effect_id: str
    of: str
    what: FollowUp
    door: str | None = None
    idempotent: bool = True


class FollowUpConcluded(_Event, frozen=True, kw_only=True):
    """It was done; or, after an error, what it was."""

    effect_id: str
    outcome: str
    purged: int = 0


class Met(_Event, frozen=True, kw_only=True):
    """A human at a peer: the lane's first event."""

    peer: str
    human_id: str


class Heard(_Event, frozen=True, kw_only=True):
    """What the agent of the human of the lane said of it. None: not said.

    Args:
        msg_id: In which message.
        said: How it is.
        consent: What counts from now on.
        scope: Of a limited consent.
        name: From HCP_HELLO, as are the next two.
        role: See `name`.
        flags: See `name`.
        at_ms: When it came.
    """

    msg_id: str
    said: Said
    consent: Consent | None = None
    scope: tuple[str, ...] | None = None
    name: str | None = None
    role: str | None = None
    flags: tuple[SafetyFlag, ...] | None = None
    at_ms: int


class Related(_Event, frozen=True, kw_only=True):
    """A relation changed (HCP-8): what it is now, so that replay needs no table.

    Args:
        local: The human here.
        relation: After it.
        reason: What led to it: `hello`, `feedback`, `revoked`, `granted`, `restricted`, `regranted`.
        msg_id: The message that did.
        door: Where the human's act came through that did.
        at_ms: When.
    """

    local: str
    relation: Relation
    reason: str
    msg_id: str | None = None
    door: str | None = None
    at_ms: int


HumanEvent = (
    Added
    | Consented
    | Stated
    | Acquainted
    | IntentNoted
    | CheckInAsked
    | CheckInEnded
    | Lined
    | LineMoved
    | LineLeft
    | Paced
    | Noted
    | ActionRequested
    | ActionConcluded
    | FollowUpRequested
    | FollowUpConcluded
    | Met
    | Heard
    | Related
    | DecisionRecord
    | DecisionOutcome
)

_WORDS: Final = frozenset(
    {
        # What people, agents and peers put in words, and how a person is.
        "name", "role", "flags", "scope", "said", "topic", "check_in", "action", "door", "reason",
        "human_id", "relation",
    }
)  # fmt: skip


def _type(name: str, struct: type[msgspec.Struct], **kind: Any) -> EventType:
    fields = struct.__struct_encode_fields__
    classes: dict[str, Any] = {one: "retainable" if one in _WORDS else "structural" for one in fields}
    return EventType(name=f"human.{name}", struct=struct, classes=classes, **kind)


HUMAN_EVENTS: Final = (
    _type("added", Added),
    _type("consented", Consented),
    _type("stated", Stated),
    _type("acquainted", Acquainted, refs={"peer": "peer"}),
    _type("intent_noted", IntentNoted, refs={"msg": "ref"}),
    _type("check_in_asked", CheckInAsked),
    _type("check_in_ended", CheckInEnded, refs={"check_in": "check_in_id", "action": "action_id"}),
    _type("lined", Lined),
    _type("line_moved", LineMoved, refs={"action": "action_id"}),
    _type("line_left", LineLeft, refs={"action": "action_id"}),
    _type("paced", Paced, refs={"action": "action_id"}),
    _type("noted", Noted),
    _type("action_requested", ActionRequested, phase="request", subject="action_id", idempotent="idempotent"),
    _type("action_concluded", ActionConcluded, phase="conclusion", subject="action_id"),
    _type(
        "follow_up_requested",
        FollowUpRequested,
        phase="request",
        subject="effect_id",
        idempotent="idempotent",
    ),
    _type("follow_up_concluded", FollowUpConcluded, phase="conclusion", subject="effect_id"),
    _type("met", Met, refs={"peer": "peer"}),
    _type("heard", Heard, refs={"msg": "msg_id"}),
    _type("related", Related, refs={"msg": "msg_id"}),
    *DECISION_EVENTS,
)
"""Every event type of a human's lane, decisions included."""
