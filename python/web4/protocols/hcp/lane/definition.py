"""Lanes `human:<id>` as actors run them: what they record, and the effects of what is decided (WEB-1, ACT-3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from web4.actors.definition import LaneDefinition, Origin
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane.events import HUMAN_EVENTS, ActionRequested, FollowUpRequested, HumanEvent
from web4.protocols.hcp.lane.logic import HumanLogic
from web4.protocols.hcp.lane.replies import Reply
from web4.protocols.hcp.lane.states import LaneState

if TYPE_CHECKING:
    from web4.actors.definition import Effect, Outcome
    from web4.journal.event_types import EventType
    from web4.protocols.hcp.lane.events import Action

LOGIC_VERSION: Final = 1
"""Changes with whatever makes the same events build another state (JRN-7b)."""


class Performer(Protocol):
    """Who does what a lane of a human asks for: `HcpRuntime`."""

    async def act(self, action: Action) -> str:
        """Send a message, or hand one on that waited: `ok`, or the code of what stood against it."""
        ...

    async def follow_up(self, request: FollowUpRequested) -> tuple[str, int]:
        """Carry a human's word to other lanes and to peers: `ok`, or a code; and how many messages were purged."""
        ...

    def over(self, action_id: str, outcome: str, human_id: str | None) -> None:
        """Hear that a message, of or for this human, ended without `act` having come to its end. Must not block."""
        ...

    def now(self) -> int:
        """Unix milliseconds."""
        ...


@dataclass(frozen=True, kw_only=True)
class HumanLane(LaneDefinition[LaneState, c.HumanCommand, HumanEvent, Reply]):
    """A lane of kind `human`: of a human of this node, or of one at a peer.

    Args:
        performer: Does what is requested.
    """

    logic: Any = field(default_factory=HumanLogic)
    state: Any = LaneState
    events: tuple[EventType, ...] = HUMAN_EVENTS
    version: int = LOGIC_VERSION
    performer: Performer

    def origin(self, command: c.HumanCommand) -> Origin:
        """See `LaneDefinition.origin`."""
        return Origin(command.at)

    async def perform(self, request: HumanEvent) -> c.HumanCommand:
        """See `LaneDefinition.perform`."""
        if isinstance(request, ActionRequested):
            outcome = await self.performer.act(request.action)
            return c.ConcludeAction(action_id=request.action_id, outcome=outcome, at=self.performer.now())
        assert isinstance(request, FollowUpRequested)
        outcome, purged = await self.performer.follow_up(request)
        return c.ConcludeFollowUp(
            effect_id=request.effect_id, outcome=outcome, purged=purged, at=self.performer.now()
        )

    def conclude(self, effect: Effect, outcome: Outcome, reason: str, at: int) -> c.HumanCommand:
        """See `LaneDefinition.conclude`. The ids of follow-ups have a slash, those of messages are UUIDs."""
        how = reason if outcome == "error" else outcome
        if "/" in effect.id:
            return c.ConcludeFollowUp(effect_id=effect.id, outcome=how, at=at)
        request = effect.request
        human_id = request.action.local if isinstance(request, ActionRequested) else None
        self.performer.over(effect.id, how, human_id)
        return c.ConcludeAction(action_id=effect.id, outcome=how, at=at)
