"""Lanes `human:<id>`, as `web4 ext call` writes them: calls of extensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web4.actors.definition import LaneDefinition
from web4.extensions.calls.call_events import CALL_EVENTS
from web4.extensions.calls.calls_logic import CallsLogic, CallsState

if TYPE_CHECKING:
    from web4.journal.replay import ReplayDefinition

EVENTS = CALL_EVENTS
"""The types of their events."""


def definition() -> ReplayDefinition:
    """Their logic. Replay performs no effect."""
    replayed: LaneDefinition[Any, Any, Any, Any] = LaneDefinition(
        logic=CallsLogic(), state=CallsState, events=CALL_EVENTS
    )
    return replayed
