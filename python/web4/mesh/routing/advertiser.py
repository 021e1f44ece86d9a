"""What to tell which neighbour about ways, and when (MESH-4). No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from web4.protocols.messages.mesh import ROUTES_AT_ONCE, MeshRoutes, PathVector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.mesh.policy import MeshForwardingPolicy
    from web4.mesh.routing.choice import Route
    from web4.mesh.routing.table import RoutingTable

_NEVER: Final = float("inf")


@dataclass(slots=True)
class _Told:
    offers: dict[str, Route] = field(default_factory=dict)
    whole: bool = True
    """Whether the next offer has to be a complete one."""
    refresh_ms: float = 0


class Advertiser:
    """Keeps what each neighbour was told, and tells it what differs: changes soon, everything now and then.

    Args:
        own: Fingerprint of this node.
        table: The ways that it has.
        policy: How long changes are gathered, and how often everything is told anew.
    """

    def __init__(self, own: str, table: RoutingTable, policy: MeshForwardingPolicy) -> None:
        self._own = own
        self._table = table
        self._policy = policy
        self._told: dict[str, _Told] = {}
        self._due_ms = _NEVER
        # Longer ways take more room in a message.
        self._at_once = max(1, min(ROUTES_AT_ONCE, ROUTES_AT_ONCE * 4 // (policy.max_hops + 1)))

    def link_up(self, peer: str, now_ms: int) -> None:
        """There is a new link: the neighbour knows nothing, and is told everything."""
        self._told[peer] = _Told()
        self.changed(now_ms)

    def link_down(self, peer: str) -> None:
        """The link is gone."""
        self._told.pop(peer, None)

    def refresh(self, peer: str, at_ms: float = 0) -> None:
        """Tell a neighbour everything once more, at once or at a time: it may not have listened before."""
        told = self._told.get(peer)
        if told is not None:
            told.refresh_ms = min(told.refresh_ms, at_ms)

    def changed(self, now_ms: int) -> None:
        """Ways have changed: what others have to hear of it is told once the changes have settled."""
        self._due_ms = min(self._due_ms, now_ms + self._policy.settle_ms)

    def next_ms(self) -> float:
        """When `due` has something to say at the latest; infinite if never."""
        return min([self._due_ms, *(told.refresh_ms for told in self._told.values() if not told.whole)])

    def due(self, now_ms: int) -> list[tuple[str, MeshRoutes]]:
        """What to tell whom now, in order."""
        settled = self._due_ms <= now_ms
        if settled:
            self._due_ms = _NEVER
        said: list[tuple[str, MeshRoutes]] = []
        for peer, told in self._told.items():
            refresh = told.whole or told.refresh_ms <= now_ms
            if refresh or settled:
                said += [(peer, message) for message in self._told_anew(peer, told, refresh=refresh)]
            if refresh:
                told.refresh_ms = now_ms + self._policy.advertise_ms
        return said

    def _told_anew(self, peer: str, told: _Told, *, refresh: bool) -> Iterator[MeshRoutes]:
        offers = self._table.offers_for(peer)
        changed = [
            PathVector(destination=destination, path=(self._own, *route.path), cost=route.cost)
            for destination, route in offers.items()
            if refresh or told.offers.get(destination) != route
        ]
        withdrawn = tuple(to for to in told.offers if to not in offers)
        whole, told.whole, told.offers = told.whole, False, offers
        if not (changed or withdrawn or refresh):
            return
        for start in range(0, max(1, len(changed), len(withdrawn)), self._at_once):
            end = start + self._at_once
            yield MeshRoutes(
                routes=tuple(changed[start:end]),
                withdrawn=withdrawn[start:end],
                whole=whole and start == 0,
            )
