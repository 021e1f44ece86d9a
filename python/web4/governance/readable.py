"""Lane `governance` as it is read and replayed: nothing is scored anew, nobody is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.actors.definition import LaneDefinition
from web4.governance.events import GOVERNANCE_EVENTS
from web4.governance.logic import GovernanceLogic
from web4.governance.state import GovernanceState

if TYPE_CHECKING:
    from web4.governance.commands import GovernanceCommand
    from web4.governance.events import GovernanceEvent
    from web4.governance.logic import GovernanceReply

LOGIC_VERSION: Final = 2
"""Changes with whatever makes `GovernanceLogic.apply` build another state of the same events (JRN-7b)."""

READABLE_GOVERNANCE_LANE: Final[
    LaneDefinition[GovernanceState, GovernanceCommand, GovernanceEvent, GovernanceReply]
] = LaneDefinition(
    logic=GovernanceLogic(), state=GovernanceState, events=GOVERNANCE_EVENTS, version=LOGIC_VERSION
)
"""The lane, without anybody who asks it."""
