"""What this installation knows of the lane `server`: events, and the logic that replays it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.mesh.server_lane import SERVER_LANE

if TYPE_CHECKING:
    from web4.journal.replay import ReplayDefinition

EVENTS = SERVER_LANE.events


def definition() -> ReplayDefinition:
    """The logic of the lane."""
    return SERVER_LANE
