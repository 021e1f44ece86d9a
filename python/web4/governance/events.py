"""What lane `governance` records of mission and drift (DRIFT-1 to DRIFT-5)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from web4.governance.judging import DriftRules
from web4.governance.mission import Mission
from web4.journal.event_types import EventType
from web4.protocols.decisions import DECISION_EVENTS, DecisionOutcome, DecisionRecord

MOST_ID: Final = 256
"""Characters of an id, a topic, a choice or a name that governance keeps."""

Id = Annotated[str, Meta(min_length=1, max_length=MOST_ID)]


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all that is recorded here is."""


class Causer(_Event, frozen=True, kw_only=True):
    """Who caused what is scored: a peer by its fingerprint, a human by their id, or this node itself."""

    kind: Literal["peer", "human", "node"]
    id: Id


class MissionAdopted(_Event, frozen=True, kw_only=True):
    """A mission was adopted. Scores begin anew, and nothing is blocked.

    Args:
        mission: The whole document, its signature included.
        rules: What drift is judged by from now on.
        human: Who adopted it.
        at_ms: When.
    """

    mission: Mission
    rules: DriftRules
    human: Id
    at_ms: int


class AlignmentScored(_Event, frozen=True, kw_only=True):
    """An accepted intent or a decision got its score (DRIFT-2).

    Args:
        id: The `msg_id` of the intent, or the id of the decision.
        kind: Which it is.
        score: 0 to 1.
        scorer: The name of the scorer.
        scorer_version: Its version.
        mission_version: Of the mission that it was scored against.
        cause: Who caused it.
        topic: What it is about.
        choice: Of a decision, what was chosen.
        goals: Those that it is about.
        forbidden: The forbidden outcome that it is about.
        approved_by: The human who let it pass a block.
        at_ms: When.
    """

    id: Id
    kind: Literal["intent", "decision"]
    score: Annotated[float, Meta(ge=0, le=1)]
    scorer: Id
    scorer_version: int
    mission_version: int
    cause: Causer
    topic: Annotated[str, Meta(max_length=MOST_ID)] = ""
    choice: Annotated[str, Meta(max_length=MOST_ID)] = ""
    goals: tuple[str, ...] = ()
    forbidden: str | None = None
    approved_by: Id | None = None
    at_ms: int


class Contributor(_Event, frozen=True, kw_only=True):
    """Who contributed to a drift: the sum by which their scores in the window are below the baseline, and how many."""

    cause: Causer
    shortfall: float
    scores: int


class MissionDrift(_Event, frozen=True, kw_only=True):
    """The level changed (DRIFT-5). Durable before a block acts: the next intent is decided after it.

    Args:
        level: `warn`, `block`, or `cleared`.
        score: The moving average.
        baseline: What it is held against.
        window: How many scores contributors were looked for in.
        top_contributors: At most five, the greatest shortfall first.
        at_ms: When.
    """

    level: Literal["warn", "block", "cleared"]
    score: float
    baseline: float
    window: int
    top_contributors: tuple[Contributor, ...] = ()
    at_ms: int


class FlipFlopSeen(_Event, frozen=True, kw_only=True):
    """A choice on a topic was taken back and taken again (DRIFT-4).

    Args:
        topic: The topic.
        choices: A, B, A.
        decisions: Their ids.
        cause: Who caused the last.
        at_ms: When.
    """

    topic: Id
    choices: tuple[str, str, str]
    decisions: tuple[str, str, str]
    cause: Causer
    at_ms: int


class IntentBlocked(_Event, frozen=True, kw_only=True):
    """An intent was not let through: the level is `block`, and no human approved it."""

    id: Id
    cause: Causer
    topic: Annotated[str, Meta(max_length=MOST_ID)] = ""
    at_ms: int


class IntentApproved(_Event, frozen=True, kw_only=True):
    """A human lets an intent through, whatever the level is.

    Args:
        id: Of the intent.
        human: Who.
        at_ms: When.
        cause: Whose intent it is: nobody else's is let through. None in journals of before it had to be known.
    """

    id: Id
    human: Id
    at_ms: int
    cause: Causer | None = None


class ApprovalDropped(_Event, frozen=True, kw_only=True):
    """An approval or a blocked intent was forgotten, as there are too many. `cause`: whose; None: everybody's."""

    id: Id
    what: Literal["approval", "blocked"]
    at_ms: int
    cause: Causer | None = None


GovernanceEvent = (
    MissionAdopted
    | AlignmentScored
    | MissionDrift
    | FlipFlopSeen
    | IntentBlocked
    | IntentApproved
    | ApprovalDropped
    | DecisionRecord
    | DecisionOutcome
)


GOVERNANCE_EVENTS: Final = (
    *DECISION_EVENTS,
    EventType(
        name="governance.mission_adopted",
        struct=MissionAdopted,
        classes={
            "mission": "structural",
            "rules": "structural",
            "human": "retainable",
            "at_ms": "structural",
        },
    ),
    EventType(
        name="governance.scored",
        struct=AlignmentScored,
        classes={
            **dict.fromkeys(
                ("id", "kind", "score", "scorer", "scorer_version", "mission_version", "at_ms"), "structural"
            ),
            **dict.fromkeys(("cause", "topic", "choice", "goals", "forbidden", "approved_by"), "retainable"),
        },
        refs={"scored": "id"},
    ),
    EventType(
        name="governance.mission_drift",
        struct=MissionDrift,
        classes={
            **dict.fromkeys(("level", "score", "baseline", "window", "at_ms"), "structural"),
            "top_contributors": "retainable",
        },
    ),
    EventType(
        name="governance.flip_flop",
        struct=FlipFlopSeen,
        classes={
            **dict.fromkeys(("decisions", "at_ms"), "structural"),
            **dict.fromkeys(("topic", "choices", "cause"), "retainable"),
        },
    ),
    EventType(
        name="governance.intent_blocked",
        struct=IntentBlocked,
        classes={
            **dict.fromkeys(("id", "at_ms"), "structural"),
            **dict.fromkeys(("cause", "topic"), "retainable"),
        },
        refs={"scored": "id"},
    ),
    EventType(
        name="governance.intent_approved",
        struct=IntentApproved,
        classes={"id": "structural", "human": "retainable", "at_ms": "structural", "cause": "retainable"},
        refs={"scored": "id"},
    ),
    EventType(
        name="governance.approval_dropped",
        struct=ApprovalDropped,
        classes={**dict.fromkeys(("id", "what", "at_ms"), "structural"), "cause": "retainable"},
    ),
)
"""The event types of lane `governance`."""
