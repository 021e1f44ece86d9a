"""Following the mesh: who is heard of, what neighbours say of themselves, links and ways (MESH-8, MESH-13, GRAPH-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trio

from web4.foundation.errors import Web4Error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from web4.foundation.events import Emitter
    from web4.mesh.graph.live import LiveGraph
    from web4.mesh.introductions.introductions import Introductions
    from web4.mesh.registry.registry import PeerRegistry
    from web4.mesh.routing import Route
    from web4.protocols.messages.mesh import MeshHello
    from web4.protocols.ports import TrustView

LOOK_SECONDS: Final = 1.0


class Ways(Protocol):
    """A `RoutingTable`, as far as it is looked at."""

    def route(self, destination: str) -> Route | None:
        """The way to a destination."""
        ...

    def ways(self) -> Iterator[Route]:
        """All ways that there are, the best to each destination and the others."""
        ...


class Mesh(Protocol):
    """A `MeshRuntime`, as far as it is looked at."""

    @property
    def table(self) -> Ways:
        """Its ways."""
        ...

    def neighbours(self) -> Mapping[str, MeshHello | None]:
        """To whom there is a link, and what they said of themselves."""
        ...


class Sessions(Protocol):
    """A `CipRuntime`, as far as it is looked at."""

    def peers(self) -> list[str]:
        """The peers with an established session."""
        ...


class MeshFollower:
    """Lets the registry, the graph and introductions know what the mesh and the sessions are at. `run` is for a node.

    It looks once a second: all of it is telemetry (WEB-3), of which the latest counts. What is durable of it, that a
    peer came and what it says of itself, is written when it differs from what is known.

    Args:
        mesh: See `Mesh`.
        sessions: See `Sessions`.
        trust: Who is let into the registry: probing and trusted peers.
        registry: Hears who is there.
        live: Hears of links and ways.
        introductions: Tells again what stands when there is a new neighbour.
        emit: Gets `error` when the registry does not take a peer.
    """

    def __init__(
        self,
        *,
        mesh: Mesh,
        sessions: Sessions,
        trust: TrustView,
        registry: PeerRegistry,
        live: LiveGraph,
        introductions: Introductions,
        emit: Emitter,
    ) -> None:
        self._mesh = mesh
        self._sessions = sessions
        self._trust = trust
        self._registry = registry
        self._live = live
        self._introductions = introductions
        self._emit = emit
        self._present: set[str] = set()
        self._linked: set[str] = set()
        self._hellos: dict[str, MeshHello] = {}
        self._refused: set[str] = set()
        """Peers that the registry did not take; said once for as long as they are present."""

    async def run(self) -> None:
        """Look every second, for ever."""
        while True:
            await self.look()
            await trio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Take over how everything is now."""
        neighbours = self._mesh.neighbours()
        present = {*self._sessions.peers(), *neighbours}
        for peer in sorted(present):
            await self._take(peer, neighbours.get(peer))
        for peer in sorted(self._present - present):
            self._registry.lost(peer)
            self._hellos.pop(peer, None)
        self._refused &= present
        self._present = present
        self._take_ways(set(neighbours))

    async def _take(self, peer: str, hello: MeshHello | None) -> None:
        """Know a peer that is there, and what it says of itself."""
        if self._trust.state(peer) not in {"probing", "trusted"}:
            return
        news = hello is not None and self._hellos.get(peer) != hello
        if news or not self._registry.has(peer):
            try:
                await self._registry.add(
                    peer,
                    source="inbound",
                    capabilities=None if hello is None else hello.capabilities,
                    services=None if hello is None else [(one.name, one.version) for one in hello.services],
                )
            except Web4Error as error:
                if peer not in self._refused:
                    self._refused.add(peer)
                    self._emit("error", severity="warning", peer=peer, where="registry", error=error.code)
                return
            if hello is not None:
                self._hellos[peer] = hello
        self._registry.seen(peer)

    def _take_ways(self, neighbours: set[str]) -> None:
        """Tell the graph of links, and of the ways that begin with each."""
        for peer in sorted(self._linked - neighbours):
            self._live.unlinked(peer)
        if neighbours - self._linked:
            self._introductions.announce()
        self._linked = neighbours
        ways: dict[str, list[tuple[tuple[str, ...], float]]] = {peer: [] for peer in neighbours}
        costs = dict.fromkeys(neighbours, 1.0)
        for peer in neighbours:
            direct = self._mesh.table.route(peer)
            if direct is not None and direct.hops == 0:
                costs[peer] = direct.cost
        for route in self._mesh.table.ways():
            if route.hops and route.next in ways:
                beyond = max(0.0, route.cost - costs[route.next])
                ways[route.next].append((route.path, beyond))
        for peer in sorted(neighbours):
            self._live.linked(peer, cost=costs[peer])
            self._live.offered(peer, ways[peer])
