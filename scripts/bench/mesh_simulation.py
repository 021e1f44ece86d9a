"""Many routing cores in virtual time: the code that nodes run, without sockets; every run follows from its seed."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from web4.mesh.policy import MeshForwardingPolicy
from web4.mesh.routing import RoutingTable, link_cost
from web4.mesh.routing.advertiser import Advertiser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from web4.mesh.routing import Change
    from web4.protocols.messages.mesh import MeshRoutes

Link = frozenset[str]


@dataclass
class SimulatedNode:
    """One node's routing, and what it cost."""

    name: str
    table: RoutingTable
    advertiser: Advertiser
    sent: int = 0
    """MESH_ROUTES that it sent."""
    vectors: int = 0
    """Ways offered or taken back in them."""
    timer_ms: float = float("inf")


@dataclass
class Network:
    """Nodes, links with a latency, and time. Messages on a link arrive in order, or are lost with the link.

    Args:
        seed: Of latencies and of everything else that is drawn.
        policy: Of every node.
    """

    seed: int
    policy: MeshForwardingPolicy = field(default_factory=MeshForwardingPolicy)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.now_ms = 0.0
        self.nodes: dict[str, SimulatedNode] = {}
        self.links: dict[Link, float] = {}
        self.changed_ms = 0.0
        """When any way of any node changed last."""
        self.blacklists: dict[str, set[str]] = {}
        self._epochs: Counter[Link] = Counter()
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    # --- what the world does ----------------------------------------------------------------------------

    def add(self, name: str) -> SimulatedNode:
        """Start a node."""
        barred = self.blacklists.setdefault(name, set())
        table = RoutingTable(name, self.policy, barred=barred.__contains__)
        self.nodes[name] = node = SimulatedNode(name, table, Advertiser(name, table, self.policy))
        return node

    def join(self, first: str, second: str, latency_ms: float | None = None) -> None:
        """Open a link."""
        link = frozenset((first, second))
        if link in self.links:
            return
        self.links[link] = latency = self.chance.uniform(1, 20) if latency_ms is None else latency_ms
        for own, other in ((first, second), (second, first)):
            node = self.nodes[own]
            cost = round(link_cost(latency, 0) * 4) / 4
            self._took(node, node.table.link_up(other, cost=cost, now_ms=self._ms()))
            node.advertiser.link_up(other, self._ms())
            self._arm(node)

    def part(self, first: str, second: str) -> None:
        """Break a link; both ends notice at once, and what is under way is lost."""
        link = frozenset((first, second))
        if self.links.pop(link, None) is None:
            return
        self._epochs[link] += 1
        for own, other in ((first, second), (second, first)):
            node = self.nodes[own]
            node.advertiser.link_down(other)
            self._took(node, node.table.link_down(other, self._ms()))

    def run(self, until_ms: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= until_ms:
            self.now_ms, _, act = heapq.heappop(self._events)
            act()
        self.now_ms = until_ms

    def settle(self, quiet_ms: float = 1_000) -> float:
        """Run until no way has changed for a while; when the last one did."""
        self.changed_ms = self.now_ms
        while self.now_ms - self.changed_ms < quiet_ms:
            self.run(self.now_ms + 100)
        return self.changed_ms

    # --- what came of it --------------------------------------------------------------------------------

    def walk(self, origin: str, destination: str) -> list[str] | None:
        """The nodes that an envelope passes, destination included, each choosing for itself; None if it is dropped."""
        at, passed = origin, [origin]
        while at != destination:
            route = self.nodes[at].table.route(destination)
            if route is None or route.next in passed or len(passed) > self.policy.max_hops + 1:
                return None
            at = route.next
            passed.append(at)
        return passed

    def within_reach(self, origin: str) -> set[str]:
        """The nodes no further away than envelopes may go, by the links there are."""
        near: dict[str, list[str]] = {name: [] for name in self.nodes}
        for link in self.links:
            first, second = sorted(link)
            near[first].append(second)
            near[second].append(first)
        found, edge = {origin}, {origin}
        for _ in range(self.policy.max_hops + 1):
            edge = {other for name in edge for other in near[name]} - found
            found |= edge
        return found - {origin}

    # --- inside -----------------------------------------------------------------------------------------

    def _ms(self) -> int:
        return int(self.now_ms)

    def _at(self, at_ms: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at_ms, next(self._order), act))

    def _took(self, node: SimulatedNode, changes: Iterable[Change]) -> None:
        for _ in changes:
            self.changed_ms = self.now_ms
            node.advertiser.changed(self._ms())
        self._arm(node)

    def _arm(self, node: SimulatedNode) -> None:
        due = max(node.advertiser.next_ms(), self.now_ms)
        if due < node.timer_ms:
            node.timer_ms = due
            self._at(due, lambda: self._on_time(node, due))

    def _on_time(self, node: SimulatedNode, due: float) -> None:
        if node.timer_ms != due:
            return
        node.timer_ms = float("inf")
        now_ms = self._ms() + 1  # whole milliseconds: what is due at a half has passed
        for peer, offer in node.advertiser.due(now_ms):
            self._send(node, peer, offer)
        self._took(node, node.table.expire(now_ms))

    def _send(self, node: SimulatedNode, peer: str, offer: MeshRoutes) -> None:
        link = frozenset((node.name, peer))
        node.sent += 1
        node.vectors += len(offer.routes) + len(offer.withdrawn)
        epoch = self._epochs[link]
        arrives = self.now_ms + self.links[link]

        def arrive() -> None:
            if link in self.links and self._epochs[link] == epoch:
                other = self.nodes[peer]
                changes = other.table.offered(
                    node.name,
                    offer.routes,
                    withdrawn=offer.withdrawn,
                    whole=offer.whole,
                    now_ms=self._ms(),
                )
                self._took(other, changes)

        self._at(arrives, arrive)


def ring_with_chords(network: Network, count: int, chords: int) -> None:
    """A ring of nodes, each with so many links more to others, drawn by the seed."""
    names = [f"n{number:05}" for number in range(count)]
    for name in names:
        network.add(name)
    for number, name in enumerate(names):
        network.join(name, names[(number + 1) % count])
    for _ in range(chords * count // 2):
        first, second = network.chance.sample(names, 2)
        network.join(first, second)
