"""What this installation knows of the lane `server`: events, and the logic that replays it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.extensions.enabling.enabling_events import EXTENSION_EVENTS
from web4.extensions.enabling.server_lane import SERVER_LANE

if TYPE_CHECKING:
    from web4.journal.replay import ReplayDefinition

EVENTS = EXTENSION_EVENTS


def definition() -> ReplayDefinition:
    """The logic of the lane."""
    return SERVER_LANE
