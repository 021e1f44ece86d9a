"""What the lane of a human is told. Time, ids, and what other lanes know come with it (WEB-2)."""

from __future__ import annotations

from typing import Literal

import msgspec

from web4.protocols.decisions import DecisionRecord
from web4.protocols.hcp.lane.events import Action
from web4.protocols.hcp.social import Cause, SocialState
from web4.protocols.hcp.values import Facts, Said
from web4.protocols.messages.hcp import Consent, SafetyFlag
from web4.trust import TrustState


class _Command(msgspec.Struct, frozen=True, kw_only=True):
    """`at` is Unix milliseconds; `token` a fresh UUID, of which ids of records and effects are made."""

    at: int
    token: str = ""


class Other(msgspec.Struct, frozen=True, kw_only=True):
    """What this node knows of the human at the other end, and of its agent, when a command is given.

    Args:
        trust: In the peer.
        social: Of the human of the lane towards the other.
        facts: The other's newest state.
        paced_ms: When a message last passed at the other's slow pace, by any human here.
    """

    trust: TrustState
    social: SocialState
    facts: Facts
    paced_ms: int = 0


# --- to the lane of a human of this node ----------------------------------------------------------------------


class AddHuman(_Command, frozen=True, kw_only=True):
    """Make the lane that of a human of this node; said again, name, role and flags change."""

    human_id: str
    name: str
    role: str
    flags: tuple[SafetyFlag, ...] = ()


class Give(_Command, frozen=True, kw_only=True):
    """The human consents: `granted`, `limited` to a scope, or `revoked` (HCP-4)."""

    consent: Consent
    scope: tuple[str, ...] = ()
    door: str


class State(_Command, frozen=True, kw_only=True):
    """The human says how it is."""

    said: Said
    door: str


class AnswerCheckIn(_Command, frozen=True, kw_only=True):
    """The human answers a question (HCP-5); `others` as for `Tick`."""

    check_in_id: str
    yes: bool
    door: str
    others: dict[str, Other] = {}


class Attempt(_Command, frozen=True, kw_only=True):
    """An agent wants this message to pass.

    Args:
        action: The message.
        other: See `Other`.
        goal: Of an HCP_INTENT.
    """

    action: Action
    other: Other
    goal: str | None = None


class Tick(_Command, frozen=True, kw_only=True):
    """Time has passed, or something has changed: look at what waits. `others` by lane, of all who are waited for."""

    others: dict[str, Other] = {}


class EndFor(_Command, frozen=True, kw_only=True):
    """A human at a peer has revoked consent: whatever waits here for it ends (HCP-3)."""

    lane_id: str


class ConcludeAction(_Command, frozen=True, kw_only=True):
    """A message was sent, or handed on, or not. Only the lane's own effects say so."""

    action_id: str
    outcome: str


class Record(_Command, frozen=True, kw_only=True):
    """A decision that came by HCP_DECISION of `peer` is recorded, once."""

    peer: str
    msg_id: str
    record: DecisionRecord


# --- to the lane of a human at a peer -------------------------------------------------------------------------


class Hear(_Command, frozen=True, kw_only=True):
    """A message of the human, or of its agent for it, came.

    Args:
        peer: Whose human it is.
        human_id: The human.
        local: To whom it was said.
        msg_id: In which message.
        type: Of which type.
        said: How the human is.
        consent: As `state.human` says.
        scope: As the payload says, of the types that carry one.
        name: See `Heard`.
        role: See `Heard`.
        flags: See `Heard`.
    """

    peer: str
    human_id: str
    local: str
    msg_id: str
    type: str
    said: Said
    consent: Consent
    scope: tuple[str, ...] | None = None
    name: str | None = None
    role: str | None = None
    flags: tuple[SafetyFlag, ...] | None = None


class Greet(_Command, frozen=True, kw_only=True):
    """HCP_HELLO is sent to the human, or came from it (HCP-8)."""

    peer: str
    human_id: str
    local: str
    msg_id: str
    side: Literal["local", "remote"]


class Rate(_Command, frozen=True, kw_only=True):
    """HCP_FEEDBACK is sent to the human, or came from it (HCP-8)."""

    local: str
    msg_id: str
    side: Literal["local", "remote"]
    intent: str
    satisfaction: int
    corrected: bool


class Close(_Command, frozen=True, kw_only=True):
    """The relation with a human here ends: consent was revoked here, or by an act of that human."""

    local: str
    cause: Cause
    door: str | None = None


class Reopen(_Command, frozen=True, kw_only=True):
    """A human here takes back these causes: by a new grant, or an act about this human (HCP-4)."""

    local: str
    causes: tuple[Cause, ...]
    door: str


# --- to both --------------------------------------------------------------------------------------------------


class ConcludeFollowUp(_Command, frozen=True, kw_only=True):
    """What a revocation, a grant or a word led to elsewhere is done. Only the lane's own effects say so."""

    effect_id: str
    outcome: str
    purged: int = 0


LocalCommand = AddHuman | Give | State | AnswerCheckIn | Attempt | Tick | EndFor | ConcludeAction | Record
RemoteCommand = Hear | Greet | Rate | Close | Reopen
HumanCommand = LocalCommand | RemoteCommand | ConcludeFollowUp
