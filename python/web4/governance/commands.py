"""What lane `governance` is told. Times are Unix milliseconds; signatures were verified before (WEB-2)."""

from __future__ import annotations

import msgspec

from web4.governance.events import Causer
from web4.governance.judging import DriftRules
from web4.governance.mission import Mission


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", omit_defaults=True):
    """What all commands carry."""

    at_ms: int


class AdoptMission(_Command, frozen=True, tag="adopt_mission"):
    """A human gives the node a mission. `decision_id` is that of the record it leaves (MEM-1)."""

    mission: Mission
    rules: DriftRules
    human: str
    decision_id: str


class AdmitIntent(_Command, frozen=True, tag="admit_intent"):
    """The agent loop is about to accept an intent.

    Args:
        id: Its `msg_id`.
        cause: Who wants it.
        topic: What it is about.
        text: Its words; see `text_of`.
    """

    id: str
    cause: Causer
    topic: str
    text: str


class NoteDecision(_Command, frozen=True, tag="note_decision"):
    """The agent, or a person, decided something in words.

    Args:
        id: Of the decision.
        cause: Who caused it.
        topic: What it is about.
        choice: What was chosen.
        text: Its words, the choice included.
    """

    id: str
    cause: Causer
    topic: str
    choice: str
    text: str


class ApproveIntent(_Command, frozen=True, tag="approve_intent"):
    """A human lets an intent through. `decision_id` is that of the record it leaves (MEM-1).

    `cause` is whose intent it is: senders choose their ids. None: that of the only one of this id that is blocked.
    """

    id: str
    human: str
    reason: str
    decision_id: str
    cause: Causer | None = None


GovernanceCommand = AdoptMission | AdmitIntent | NoteDecision | ApproveIntent
