"""The network as a node sees it: `mesh_topology`, `mesh_routes` (GRAPH-3, MESH-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import trio

from web4.doors.control.commands import Nothing
from web4.doors.views.errors import NotNow
from web4.doors.views.naming import peers_of
from web4.mesh.graph.exporting import to_dot, to_json
from web4.mesh.graph.live import LiveGraph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.views.reading import Reading
    from web4.mesh.graph.network import NetworkGraph
    from web4.mesh.registry.registry import KnownPeer
    from web4.trust import TrustRecord, TrustState


class HowShown(msgspec.Struct, frozen=True):
    """The payload of `mesh_topology`: as the versioned document of GRAPH-3, or as text for Graphviz."""

    format: Literal["json", "dot"] = "json"


async def mesh_topology(reading: Reading, asked: HowShown) -> Mapping[str, Any]:
    """`{running, names, graph | dot}`. At rest there are no links: those are telemetry."""
    node = reading.node
    graph = await _still(reading) if node is None or node.graph is None else node.graph.graph
    named = (await peers_of(reading)).named
    names = {one.fingerprint: one.name for one in named}
    shown: dict[str, Any]
    shown = (
        {"dot": to_dot(graph)} if asked.format == "dot" else {"graph": msgspec.json.decode(to_json(graph))}
    )
    return {"running": node is not None, "names": names, **shown}


async def mesh_routes(reading: Reading, _: Nothing) -> Mapping[str, Any]:
    """`{routes: [{destination, name, next, hops, cost, path}], neighbours}`: the ways that are taken now.

    Raises:
        NotNow: `needs_running`, `not_in_use`.
    """
    if reading.node is None:
        raise NotNow("ways are known while the node runs", code="needs_running")
    mesh = reading.node.mesh
    if mesh is None:
        raise NotNow("the node takes no part in the mesh (mesh.enabled)", code="not_in_use")
    peers = await peers_of(reading)
    routes = [
        {
            "destination": one.path[-1],
            "name": peers.alias(one.path[-1]),
            "next": one.next,
            "hops": len(one.path),
            "cost": one.cost,
            "path": list(one.path),
        }
        for one in mesh.table.routes()
    ]
    routes.sort(key=lambda row: (row["hops"], row["destination"]))
    return {"routes": routes, "neighbours": mesh.table.neighbours()}


async def _still(reading: Reading) -> NetworkGraph:
    """The graph of what is durable: who is known, and trusted."""
    await trio.lowlevel.checkpoint()
    durable: Any = _Durable(await reading.peers(), await reading.trust())
    return LiveGraph(
        own=reading.identity.fingerprint, registry=durable, trust=durable, catalogue=durable
    ).graph


class _Durable:
    """Registry, trust and catalogue of a node in which nothing happens."""

    def __init__(self, peers: dict[str, KnownPeer], trust: dict[str, TrustRecord]) -> None:
        self._peers = peers
        self._trust = trust

    def all(self) -> list[KnownPeer]:
        return list(self._peers.values())

    def has(self, fingerprint: str) -> bool:
        return fingerprint in self._peers

    def live(self, _: str) -> bool:
        return False

    def state(self, peer: str) -> TrustState:
        record = self._trust.get(peer)
        return "unknown" if record is None else record.state

    def names(self) -> list[tuple[str, str]]:
        return []

    def observe(self, _: Any) -> Any:
        return lambda: None


QUESTIONS: Final = {"mesh_topology": (HowShown, mesh_topology), "mesh_routes": (Nothing, mesh_routes)}
