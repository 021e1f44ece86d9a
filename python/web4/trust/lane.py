"""The trust room's events on lane `peer:<fingerprint>` (TRUST-7), as a journal knows them."""

from __future__ import annotations

from typing import Final

from web4.journal.event_types import EventType
from web4.trust.events import TrustEvent

TRUST_EVENTS: Final = (
    EventType(
        name="trust.recorded",
        struct=TrustEvent,
        classes={
            "seq": "structural",
            "from": "structural",
            "to": "structural",
            "event": "structural",
            "reason": "retainable",
            "actor": "retainable",
            "at_ms": "structural",
            "evidence": "retainable",
            "cooldown_until_ms": "structural",
            "demotions": "structural",
            "unverifiable_at_ms": "structural",
            "grave_conflicts": "structural",
        },
    ),
)
"""Every event type of this room. `trust.recorded`: one entry of a peer's trust log."""
