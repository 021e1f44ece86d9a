"""Floor 7: what a node is for, and whether it still does that (DRIFT-1 to DRIFT-5).

A signed mission, a score for every accepted intent and decision, and a guard that blocks when the scores fall: all of
it is decided on lane `governance`.
"""

from web4.governance.errors import ApprovalRefused, MissionRefused
from web4.governance.events import GOVERNANCE_EVENTS, Causer, MissionDrift
from web4.governance.guard import Admission, MissionGuard
from web4.governance.judging import DriftRules, Level
from web4.governance.logic import GovernanceLogic, GovernanceReply
from web4.governance.mission import ForbiddenOutcome, Goal, Mission, read_mission, sign_mission
from web4.governance.scoring import Score, Scorer, TermOverlap, text_of
from web4.governance.state import GovernanceState

__all__ = [
    "GOVERNANCE_EVENTS",
    "Admission",
    "ApprovalRefused",
    "Causer",
    "DriftRules",
    "ForbiddenOutcome",
    "Goal",
    "GovernanceLogic",
    "GovernanceReply",
    "GovernanceState",
    "Level",
    "Mission",
    "MissionDrift",
    "MissionGuard",
    "MissionRefused",
    "Score",
    "Scorer",
    "TermOverlap",
    "read_mission",
    "sign_mission",
    "text_of",
]
