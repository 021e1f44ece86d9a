"""CIP, agent to agent: the handshake, and what established peers say to each other (sections 7 and 8)."""

from web4.protocols.cip.actions import Delivery
from web4.protocols.cip.agreement import Agreement, Offer
from web4.protocols.cip.inbox import Inbox
from web4.protocols.cip.intents import IntentAnswer, accept, defer, refuse
from web4.protocols.cip.lane import PEER_EVENTS
from web4.protocols.cip.options import CipOptions
from web4.protocols.cip.runtime import CipRuntime

__all__ = [
    "PEER_EVENTS",
    "Agreement",
    "CipOptions",
    "CipRuntime",
    "Delivery",
    "Inbox",
    "IntentAnswer",
    "Offer",
    "accept",
    "defer",
    "refuse",
]
