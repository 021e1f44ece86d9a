"""The graph of a running node, fed by what happens: peers, trust, links, ways, services (GRAPH-3).

What feeds it is durable where it lives: peers and calls on lane `server`, trust on the peers' lanes. Links and ways are
telemetry. The graph itself is made of them when it is asked for, and so never differs from them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from web4.mesh.graph.network import NetworkGraph
from web4.mesh.graph.schema import (
    MAX_NODES,
    EdgeMetadata,
    GraphEdge,
    GraphNode,
    NodeMetadata,
    edge,
    service_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from web4.mesh.registry.registry import PeerChange, PeerRegistry
    from web4.mesh.services.catalogue import ServiceCatalogue
    from web4.protocols.ports import TrustView
    from web4.trust import TrustEvent, TrustState

_MAX_INVOKED: Final = 1_024


class LiveGraph:
    """The network as this node sees it now. `graph` gives it; the other methods tell what happens.

    Args:
        own: This node's fingerprint.
        registry: The peers that are known.
        trust: How far they are trusted.
        catalogue: The services that this node offers.
        address: Where this node may be dialled.
    """

    def __init__(
        self,
        *,
        own: str,
        registry: PeerRegistry,
        trust: TrustView,
        catalogue: ServiceCatalogue,
        address: str | None = None,
    ) -> None:
        self._own = own
        self._registry = registry
        self._trust = trust
        self._catalogue = catalogue
        self._address = address
        self._links: dict[str, tuple[float, float | None, float | None]] = {}
        self._ways: dict[str, tuple[tuple[tuple[str, ...], float], ...]] = {}
        self._invoked: dict[tuple[str, str, str], None] = {}
        self._graph: NetworkGraph | None = None
        self._offered: list[tuple[str, str]] = []
        self._ends = [trust.observe(self._on_trust), registry.observe(self._on_peer)]

    def close(self) -> None:
        """Hear no more."""
        for end in self._ends:
            end()
        self._ends.clear()

    @property
    def graph(self) -> NetworkGraph:
        """The network at this moment: valid, as it is made of what is checked against."""
        offered = self._catalogue.names()
        if self._graph is None or self._offered != offered:
            self._offered = offered
            self._graph = NetworkGraph(*self._made(), self)
        return self._graph

    # --- what is known for sure: `Facts` ------------------------------------------------------------------

    @property
    def own(self) -> str:
        """This node's fingerprint."""
        return self._own

    def state(self, peer: str) -> TrustState:
        """How far the TrustFSM trusts a peer."""
        return self._trust.state(peer)

    def handles(self, name: str, version: str) -> bool:
        """Whether this node has a handler for a service of its own."""
        return (name, version) in self._catalogue.names()

    # --- what happens -------------------------------------------------------------------------------------

    def linked(
        self,
        peer: str,
        *,
        cost: float,
        latency_ms: float | None = None,
        bandwidth: float | None = None,
    ) -> None:
        """There is a session with a neighbour, or its link costs something else now (MESH-4)."""
        self._links[peer] = (cost, latency_ms, bandwidth)
        self._graph = None

    def unlinked(self, peer: str) -> None:
        """The last session with a neighbour ended; what it offered leads nowhere."""
        if self._links.pop(peer, None) is not None or peer in self._ways:
            self._ways.pop(peer, None)
            self._graph = None

    def offered(self, peer: str, ways: Iterable[tuple[Sequence[str], float]]) -> None:
        """The ways that a neighbour offers now: the nodes from it to the destination, and the cost of each way."""
        self._ways[peer] = tuple((tuple(path), cost) for path, cost in ways)
        self._graph = None

    def invoked(self, peer: str, service: str, version: str) -> None:
        """This node called a service of a peer, in the version that the peer offers."""
        self._invoked[peer, service, version] = None
        if len(self._invoked) > _MAX_INVOKED:
            del self._invoked[next(iter(self._invoked))]
        self._graph = None

    def _on_trust(self, peer: str, event: TrustEvent) -> None:
        if event.moved:
            self._graph = None

    def _on_peer(self, change: PeerChange, fingerprint: str) -> None:
        self._graph = None

    # --- inside -------------------------------------------------------------------------------------------

    def _made(self) -> tuple[list[GraphNode], list[GraphEdge]]:
        nodes = {self._own: _node(self._own, "agent", self._address)}
        for known in self._registry.all():
            entry = known.entry
            address = entry.addresses[0] if entry.addresses else None
            nodes[entry.fingerprint] = _node(
                entry.fingerprint, "agent", address, entry.capabilities, (entry.source,)
            )
        edges = self._routes(nodes)
        for node in sorted(nodes):
            if node != self._own and self._trust.state(node) == "trusted":
                edges.append(edge("trusts", self._own, node))
        self._services(nodes, edges)
        return list(nodes.values()), edges

    def _routes(self, nodes: dict[str, GraphNode]) -> list[GraphEdge]:
        """Links of this node, and of others as far as ways tell of them. Whoever is only on a way is a router."""
        joined: dict[tuple[str, str], GraphEdge] = {}
        for peer, (cost, latency_ms, bandwidth) in sorted(self._links.items()):
            nodes.setdefault(peer, _node(peer, "agent", None))
            measured = EdgeMetadata(latency_ms=latency_ms, bandwidth=bandwidth, service=None, version=None)
            live = not self._registry.has(peer) or self._registry.live(peer)
            made = edge("routes", self._own, peer, weight=cost, active=live, metadata=measured)
            joined[self._own, peer] = made
        for peer, ways in sorted(self._ways.items()):
            if peer not in self._links:
                continue
            for path, cost in ways:
                for source, target in pairwise(path):
                    if len(nodes) >= MAX_NODES - 1 and not {source, target} <= nodes.keys():
                        break
                    for node in (source, target):
                        nodes.setdefault(node, _node(node, "router", None))
                    # A way tells what it costs, and not its links: each gets an equal share of it, at most.
                    share = cost / max(1, len(path) - 1)
                    before = joined.get((source, target))
                    if source != self._own and (before is None or share < before.weight):
                        joined[source, target] = edge("routes", source, target, weight=share)
        return list(joined.values())

    def _services(self, nodes: dict[str, GraphNode], edges: list[GraphEdge]) -> None:
        offers = {self._own: self._catalogue.names()}
        for known in self._registry.all():
            offers[known.entry.fingerprint] = [(one.name, one.version) for one in known.entry.services]
        for peer, services in sorted(offers.items()):
            for name, version in services:
                if len(nodes) >= MAX_NODES:
                    return
                found = service_id(peer, name, version)
                metadata = NodeMetadata(version=version, tags=())
                nodes[found] = GraphNode(
                    id=found, kind="service", address=None, capabilities=(), metadata=metadata
                )
        for peer, name, version in self._invoked:
            found = service_id(peer, name, version)
            if found in nodes:
                about = EdgeMetadata(latency_ms=None, bandwidth=None, service=name, version=version)
                edges.append(edge("invokes", self._own, found, metadata=about))


def _node(
    fingerprint: str,
    kind: str,
    address: str | None,
    capabilities: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
) -> GraphNode:
    return GraphNode(
        id=fingerprint,
        kind=kind,
        address=address,
        capabilities=capabilities,
        metadata=NodeMetadata(version=None, tags=tags),
    )
