"""Lanes `peer:<fingerprint>`, as CIP writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.protocols.cip.durable_lane import peer_definition
from web4.protocols.cip.lane import PEER_EVENTS

if TYPE_CHECKING:
    from web4.protocols.cip.durable_lane import PeerDefinition

EVENTS = PEER_EVENTS
"""The types of their events."""


def definition() -> PeerDefinition:
    """Their logic. Replay needs none of the limits that the node chose."""
    return peer_definition()
