"""What a node knows of ways: what its neighbours offer, and which of that it takes (MESH-4, MESH-5)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from web4.mesh.routing.choice import Route, choose
from web4.mesh.routing.cost import LARGEST_COST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from web4.mesh.policy import MeshForwardingPolicy
    from web4.protocols.messages.mesh import PathVector

    Usable = Callable[[str], bool]
    """Whether a node may be on a way of ours."""


@dataclass(frozen=True, slots=True)
class Change:
    """The way to a destination is another one now. None: there was, or is, none."""

    destination: str
    before: Route | None
    after: Route | None


@dataclass(slots=True)
class _Neighbour:
    cost: float
    heard_ms: int
    relays: bool = True
    offers: dict[str, tuple[PathVector, int]] = field(default_factory=dict)
    """By destination: what was offered, and when it was last."""
    room: float = 0
    """Changes of its ways that it may cause now (MESH-7). What it takes back it has paid for when it came."""
    room_ms: int = 0


class RoutingTable:
    """The routing core of one node, without I/O: what it hears goes in, changed ways come out.

    Every method that may change ways returns the changes; the same calls at the same times give the same ways.

    Args:
        own: Fingerprint of this node.
        policy: See `MeshForwardingPolicy`.
        allowed: Whether a neighbour may be the next hop: registered and trusted enough (MESH-3, step 6).
        barred: Whether a node is blacklisted: no way leads over it.
    """

    def __init__(
        self,
        own: str,
        policy: MeshForwardingPolicy,
        *,
        allowed: Usable = lambda _peer: True,
        barred: Usable = lambda _peer: False,
    ) -> None:
        self._own = own
        self._policy = policy
        self._allowed = allowed
        self._barred = barred
        self._neighbours: dict[str, _Neighbour] = {}
        self._best: dict[str, Route] = {}
        self._suspects: dict[tuple[str, str], int] = {}
        self._rooms: dict[str, tuple[float, int]] = {}
        """Of neighbours that are gone and have not their whole room back."""
        self.refused: Counter[str] = Counter()
        """Ways that were offered and not taken in, by the reason."""

    # --- what is known ----------------------------------------------------------------------------------

    def route(self, destination: str) -> Route | None:
        """The way to a destination."""
        return self._best.get(destination)

    def routes(self) -> Iterator[Route]:
        """The ways to all destinations."""
        return iter(tuple(self._best.values()))

    def ways(self) -> Iterator[Route]:
        """All ways that there are, those too that others go before: what is known of the network (GRAPH-3)."""
        known = {*self._neighbours, *(one for each in self._neighbours.values() for one in each.offers)}
        for destination in sorted(known):
            yield from self._candidates(destination)

    def neighbours(self) -> list[str]:
        """The neighbours to whom there is a link, sorted."""
        return sorted(self._neighbours)

    def knows(self, peer: str) -> bool:
        """Whether there is a link to a neighbour that is not stale."""
        return peer in self._neighbours

    def is_next_hop(self, peer: str) -> bool:
        """Whether a neighbour is registered, trusted enough and live."""
        return peer in self._neighbours and self._allowed(peer) and not self._barred(peer)

    def leads(self, peer: str, destination: str) -> bool:
        """Whether there is a way to a destination that begins with this neighbour."""
        return any(route.next == peer for route in self._candidates(destination))

    def offered_by(self, peer: str) -> int:
        """How many ways a neighbour offers."""
        neighbour = self._neighbours.get(peer)
        return 0 if neighbour is None else len(neighbour.offers)

    # --- what happens -----------------------------------------------------------------------------------

    def link_up(self, peer: str, *, cost: float, now_ms: int) -> list[Change]:
        """There is a link to a neighbour. What it offered over an earlier one is forgotten."""
        before = self._neighbours.get(peer)
        # A link that comes and goes gives no new room: the neighbour is the same.
        room, room_ms = self._rooms.pop(peer, (self._policy.changes_burst, now_ms))
        if before is not None:
            room, room_ms = before.room, before.room_ms
        self._neighbours[peer] = _Neighbour(cost, now_ms, room=room, room_ms=room_ms)
        return self._chosen({peer} | (set() if before is None else set(before.offers)), now_ms)

    def link_down(self, peer: str, now_ms: int) -> list[Change]:
        """The link is gone, and with it every way over it (MESH-5)."""
        gone = self._gone(peer, now_ms)
        return [] if gone is None else self._chosen({peer, *gone.offers}, now_ms)

    def link_costs(self, peer: str, cost: float, now_ms: int) -> list[Change]:
        """The link has another cost now."""
        neighbour = self._neighbours.get(peer)
        if neighbour is None or neighbour.cost == cost:
            return []
        neighbour.cost = cost
        return self._chosen({peer, *neighbour.offers}, now_ms)

    def heard(self, peer: str, now_ms: int) -> None:
        """The neighbour has said something."""
        neighbour = self._neighbours.get(peer)
        if neighbour is not None:
            neighbour.heard_ms = now_ms

    def relays(self, peer: str, willing: bool, now_ms: int) -> list[Change]:
        """The neighbour says whether it passes on what is not for it (MESH-7)."""
        neighbour = self._neighbours.get(peer)
        if neighbour is None or neighbour.relays == willing:
            return []
        neighbour.relays = willing
        return self._chosen(set(neighbour.offers), now_ms)

    def offered(
        self,
        peer: str,
        vectors: Iterable[PathVector],
        *,
        withdrawn: Iterable[str] = (),
        whole: bool = False,
        now_ms: int,
    ) -> list[Change]:
        """Take in what a neighbour offers and takes back. `whole`: what it does not name it takes back, too.

        What cannot be a way of it, leads over this node or over a blacklisted one, is too long, or is more than one
        neighbour may offer, or change at this rate, is not taken in; `refused` counts it. What is taken back always is.
        """
        neighbour = self._neighbours.get(peer)
        if neighbour is None:
            return []
        neighbour.heard_ms = now_ms
        self._refill(neighbour, now_ms)
        before = dict(neighbour.offers) if whole else {}
        touched = set(before)
        if whole:
            neighbour.offers.clear()
        for destination in withdrawn:
            if neighbour.offers.pop(destination, None) is not None:
                touched.add(destination)
        for vector in vectors:
            reason = self._unacceptable(peer, vector)
            destination = vector.destination
            if reason is None and destination not in neighbour.offers:
                full = len(neighbour.offers) >= self._policy.destinations
                reason = "too_many" if full else None
            if reason is not None:
                self.refused[reason] += 1
                if neighbour.offers.pop(destination, None) is not None:
                    touched.add(destination)  # what it says now is not what it said before
                continue
            known = neighbour.offers.get(destination) or before.get(destination)
            same = known is not None and known[0] == vector
            if not same and neighbour.room < 1:
                self.refused["rate"] += 1
                if known is not None:  # it is still a way of this neighbour, and expires as it would have
                    neighbour.offers[destination] = known
                continue
            neighbour.offers[destination] = (vector, now_ms)
            if not same:
                touched.add(destination)
                neighbour.room -= 1
        return self._chosen(touched, now_ms)

    def suspect(self, peer: str, destination: str, now_ms: int) -> list[Change]:
        """A stream to `destination` broke on its way through `peer`: for a while another way goes before it."""
        if len(self._suspects) >= self._policy.destinations:
            self._suspects.clear()
        self._suspects[peer, destination] = now_ms + self._policy.suspect_ms
        return self._chosen({destination}, now_ms)

    def expire(self, now_ms: int) -> list[Change]:
        """Let go of neighbours that are silent, of what was not offered again, and of suspicions."""
        touched: set[str] = set()
        horizon = now_ms - self._policy.stale_ms
        for peer, neighbour in list(self._neighbours.items()):
            if neighbour.heard_ms < horizon:
                touched |= {peer, *neighbour.offers}
                self._gone(peer, now_ms)
                continue
            for destination, (_, offered_ms) in list(neighbour.offers.items()):
                if offered_ms < horizon:
                    del neighbour.offers[destination]
                    touched.add(destination)
        for suspect, until_ms in list(self._suspects.items()):
            if until_ms <= now_ms:
                del self._suspects[suspect]
                touched.add(suspect[1])
        return self._chosen(touched, now_ms)

    def trust_changed(self, peer: str, now_ms: int) -> list[Change]:
        """Another trust of any node may open ways and close others."""
        touched = {peer}
        for name, neighbour in self._neighbours.items():
            if name == peer:
                touched |= neighbour.offers.keys()
            if self._barred(peer):
                over = [to for to, (vector, _) in neighbour.offers.items() if peer in vector.path]
                for destination in over:
                    del neighbour.offers[destination]
                touched.update(over)
        return self._chosen(touched, now_ms)

    # --- what is offered to others ----------------------------------------------------------------------

    def offers_for(self, peer: str) -> dict[str, Route]:
        """The ways to offer a neighbour: none over itself (split horizon by path), none too long for it."""
        return {
            destination: route
            for destination, route in self._best.items()
            if len(route.path) <= self._policy.max_hops and peer not in route.path
        }

    # --- inside -----------------------------------------------------------------------------------------

    def _refill(self, neighbour: _Neighbour, now_ms: int) -> None:
        grown = (now_ms - neighbour.room_ms) * self._policy.changes_per_second / 1_000
        neighbour.room = min(self._policy.changes_burst, neighbour.room + grown)
        neighbour.room_ms = now_ms

    def _gone(self, peer: str, now_ms: int) -> _Neighbour | None:
        """Let go of a neighbour, and remember for a while what room it has."""
        neighbour = self._neighbours.pop(peer, None)
        if neighbour is not None:
            self._refill(neighbour, now_ms)
            if len(self._rooms) >= self._policy.origins:
                self._rooms.pop(next(iter(self._rooms)))
            self._rooms[peer] = neighbour.room, now_ms
        return neighbour

    def _unacceptable(self, peer: str, vector: PathVector) -> str | None:
        path = vector.path
        if path[0] != peer or path[-1] != vector.destination or len(path) < 2 or len(set(path)) != len(path):
            return "not_a_way"
        if self._own in path:
            return "loop"
        if len(path) - 1 > self._policy.max_hops:
            return "too_long"
        # Each of its links costs at least 1.
        if not math.isfinite(vector.cost) or not len(path) - 1 <= vector.cost <= LARGEST_COST:
            return "cost"
        return "barred" if any(self._barred(node) for node in path) else None

    def _chosen(self, destinations: Iterable[str], now_ms: int) -> list[Change]:
        changes = []
        for destination in sorted(destinations):
            before = self._best.get(destination)
            after = choose(self._candidates(destination), self._suspected(destination, now_ms))
            if after == before:
                continue
            if after is None:
                del self._best[destination]
            else:
                self._best[destination] = after
            changes.append(Change(destination, before, after))
        return changes

    def _candidates(self, destination: str) -> Iterator[Route]:
        if destination == self._own or self._barred(destination):
            return
        for peer, neighbour in self._neighbours.items():
            if not self.is_next_hop(peer):
                continue
            if peer == destination:
                yield Route((peer,), neighbour.cost)
            elif neighbour.relays and (offer := neighbour.offers.get(destination)) is not None:
                yield Route(offer[0].path, neighbour.cost + offer[0].cost)

    def _suspected(self, destination: str, now_ms: int) -> Iterator[str]:
        if not self._suspects:
            return
        for peer in self._neighbours:
            if self._suspects.get((peer, destination), 0) > now_ms:
                yield peer
