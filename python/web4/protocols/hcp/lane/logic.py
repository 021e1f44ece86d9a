"""The logic of lanes `human:<id>`: those of this node's humans, and those of humans at peers (WEB-1). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane.applying import applied
from web4.protocols.hcp.lane.events import FollowUpConcluded
from web4.protocols.hcp.lane.local_logic import decide_local
from web4.protocols.hcp.lane.remote_logic import decide_remote
from web4.protocols.hcp.lane.replies import Reply, decided
from web4.protocols.hcp.lane.states import LaneState

if TYPE_CHECKING:
    from web4.protocols.hcp.lane.events import HumanEvent
    from web4.protocols.hcp.lane.replies import Decided


@dataclass(frozen=True)
class HumanLogic:
    """See `LaneLogic`. A lane is of one kind from its first event on; commands of the other are refused."""

    initial: LaneState = field(default_factory=LaneState)

    def decide(self, state: LaneState, command: c.HumanCommand) -> Decided:
        """See `LaneLogic.decide`."""
        if isinstance(command, c.ConcludeFollowUp):
            return self._concluded(state, command)
        if isinstance(command, c.RemoteCommand):
            wrong = state.local is not None
            return _nobody(state) if wrong else decide_remote(state, command)
        return _nobody(state) if state.remote is not None else decide_local(state, command)

    def apply(self, state: LaneState, event: HumanEvent) -> LaneState:
        """See `LaneLogic.apply`."""
        return applied(state, event)

    def _concluded(self, state: LaneState, command: c.ConcludeFollowUp) -> Decided:
        of = state.local or state.remote
        if of is None or command.effect_id not in of.follow_ups:
            return decided(state, (), Reply(status="known"))
        event = FollowUpConcluded(effect_id=command.effect_id, outcome=command.outcome, purged=command.purged)
        return decided(state, (event,), Reply(status="done"))


def _nobody(state: LaneState) -> Decided:
    return decided(state, (), Reply(status="unknown_human"))
