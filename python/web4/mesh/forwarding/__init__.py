"""What becomes of an envelope that a neighbour handed over (MESH-3, MESH-6). Pure decisions, bounded memory."""

from web4.mesh.forwarding.decision import (
    DROP_REASONS,
    Deliver,
    Drop,
    DropReason,
    Forward,
    Situation,
    Spread,
    decide,
)
from web4.mesh.forwarding.seen import SeenCache

__all__ = [
    "DROP_REASONS",
    "Deliver",
    "Drop",
    "DropReason",
    "Forward",
    "SeenCache",
    "Situation",
    "Spread",
    "decide",
]
