"""Lanes of humans as they are read and replayed: nothing is performed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.actors.definition import LaneDefinition
from web4.protocols.hcp.lane.definition import LOGIC_VERSION
from web4.protocols.hcp.lane.events import HUMAN_EVENTS
from web4.protocols.hcp.lane.logic import HumanLogic
from web4.protocols.hcp.lane.states import LaneState

if TYPE_CHECKING:
    from web4.protocols.hcp.lane import commands as c
    from web4.protocols.hcp.lane.events import HumanEvent
    from web4.protocols.hcp.lane.replies import Reply

READABLE_HUMAN_LANE: Final[LaneDefinition[LaneState, c.HumanCommand, HumanEvent, Reply]] = LaneDefinition(
    logic=HumanLogic(), state=LaneState, events=HUMAN_EVENTS, version=LOGIC_VERSION
)
"""A lane of kind `human`, without anybody who does what it asks for."""
