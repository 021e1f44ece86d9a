"""The state of lane `governance`: mission, course of the scores, and what waits for a human (DRIFT-1 to DRIFT-5)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from web4.governance.events import Causer
from web4.governance.judging import Course, DriftRules, Level
from web4.governance.mission import Mission

ScoredKind = Literal["intent", "decision"]
MOST_BLOCKED: Final = 256
"""Blocked intents that are remembered for a human to look at."""
MOST_APPROVALS: Final = 256
"""Approvals that wait for their intent."""
MOST_PASSED: Final = 1_024
"""Intents and decisions that are remembered as scored: asked about again, they are not scored again."""


class _Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Equal values have equal spellings."""


class Scored(_Value, frozen=True, kw_only=True):
    """One of the last scores."""

    cause: Causer
    score: float


class Chosen(_Value, frozen=True, kw_only=True):
    """One of the last decisions."""

    id: str
    topic: str
    choice: str


class GovernanceState(_Value, frozen=True, kw_only=True):
    """What governance knows.

    Args:
        mission: The one that is adopted; None: nothing is scored, nothing is blocked.
        rules: What drift is judged by.
        level: Where it stands.
        course: How the scores went since the mission was adopted.
        recent: The last scores, oldest first, as many as the rules' window.
        chosen: The last decisions, oldest first.
        passed: What was scored last, oldest first: kind, id and causer. A decision may have the id of its intent, and
            senders choose the ids of intents.
        approved: Approvals that wait for their intent: its id, who approved, and whose intent it is, oldest first.
        blocked: Blocked intents and who caused them, oldest first.
    """

    mission: Mission | None = None
    rules: DriftRules = DriftRules()
    level: Level = "clear"
    course: Course = Course()
    recent: tuple[Scored, ...] = ()
    chosen: tuple[Chosen, ...] = ()
    passed: tuple[tuple[ScoredKind, str, Causer], ...] = ()
    approved: tuple[tuple[str, str, Causer | None], ...] = ()
    blocked: tuple[tuple[str, Causer], ...] = ()

    def approver(self, intent_id: str, cause: Causer | None = None) -> str | None:
        """The human who approved an intent that has not passed yet; of this causer, if one is given."""
        return next(
            (
                human
                for one, human, whose in self.approved
                if one == intent_id and (cause is None or whose in {None, cause})
            ),
            None,
        )
