"""Lanes `peer:<fingerprint>`, as CIP writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.protocols.cip import CipOptions
from web4.protocols.cip.durable_lane import peer_definition
from web4.protocols.cip.lane import PEER_EVENTS
from web4.trust import TrustRegistry

if TYPE_CHECKING:
    from web4.protocols.cip.durable_lane import PeerDefinition

EVENTS = PEER_EVENTS
"""The types of their events."""


def definition() -> PeerDefinition:
    """Their logic, with the limits that a node has if nothing else was chosen."""
    return peer_definition(TrustRegistry(), CipOptions(agent_id="replay"))
