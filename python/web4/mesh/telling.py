"""What the mesh says of itself to whoever observes the node (OBS-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter

    from web4.foundation.events import Emitter
    from web4.mesh.routing import Change


def tell_change(emit: Emitter, change: Change) -> None:
    """The way to a destination is another one now, or gone."""
    before, after = change.before, change.after
    emit(
        "route_changed",
        severity="debug",
        destination=change.destination,
        next=None if after is None else after.next,
        previous=None if before is None else before.next,
        cost=None if after is None else after.cost,
        hops=None if after is None else after.hops,
        reason="lost" if after is None else "found" if before is None else "better",
    )


def tell_link(emit: Emitter, peer: str, reason: str) -> None:
    """There is a link to a neighbour now, or none any more: `link_up`, `link_down`."""
    emit("topology_changed", peer=peer, reason=reason)


def tell_refused_ways(emit: Emitter, peer: str, refused: Counter[str]) -> None:
    """A neighbour offered what cannot be a way of it, or too many."""
    for reason, count in refused.items():
        if reason != "loop":  # that is how path vectors end, and nobody's fault
            emit(
                "mesh_dropped", severity="warning", peer=peer, type="MESH_ROUTES", reason=reason, count=count
            )
