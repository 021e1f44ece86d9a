"""Lane `knowledge`, as a node writes it: the ledger, causal memory and the fetches, under one writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.protocols.lip.readable_lane import readable_knowledge_lane

if TYPE_CHECKING:
    from web4.journal.replay import ReplayDefinition

_LANE: Final = readable_knowledge_lane("")
EVENTS = _LANE.events
"""The types of its events."""


def definition() -> ReplayDefinition:
    """Its logic. Whose node it is matters to what is decided only, and replay decides nothing."""
    return _LANE
