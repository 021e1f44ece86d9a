"""Lane `governance`: mission, drift, and what humans approved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.governance.readable import READABLE_GOVERNANCE_LANE

if TYPE_CHECKING:
    from web4.journal.replay import ReplayDefinition

EVENTS: Final = READABLE_GOVERNANCE_LANE.events
"""The types of its events."""


def definition() -> ReplayDefinition:
    """Its logic. Replay needs no scorer: scores are in the events."""
    return READABLE_GOVERNANCE_LANE
