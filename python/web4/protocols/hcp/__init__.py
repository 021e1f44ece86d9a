"""HCP: human to human through agents, with consent, a gate, and questions to people (section 11)."""

from web4.protocols.hcp.acts import Answer, Grant, HumanAct, Limit, Regrant, Restrict, Revoke, SetState
from web4.protocols.hcp.context import PurgeOutbox
from web4.protocols.hcp.errors import CheckInRequired, ConsentDenied, ConsentError, PacingDeferred
from web4.protocols.hcp.gate import Question, Reason, Verdict, gate
from web4.protocols.hcp.lane.definition import HumanLane
from web4.protocols.hcp.lane.events import HUMAN_EVENTS, CheckIn
from web4.protocols.hcp.runtime import HcpRuntime
from web4.protocols.hcp.sending import Passage
from web4.protocols.hcp.values import Contact, Facts, Said, remote_id
from web4.protocols.hcp.views import ConsentView, PersonView

__all__ = [
    "HUMAN_EVENTS",
    "Answer",
    "CheckIn",
    "CheckInRequired",
    "ConsentDenied",
    "ConsentError",
    "ConsentView",
    "Contact",
    "Facts",
    "Grant",
    "HcpRuntime",
    "HumanAct",
    "HumanLane",
    "Limit",
    "PacingDeferred",
    "Passage",
    "PersonView",
    "PurgeOutbox",
    "Question",
    "Reason",
    "Regrant",
    "Restrict",
    "Revoke",
    "Said",
    "SetState",
    "Verdict",
    "gate",
    "remote_id",
]
