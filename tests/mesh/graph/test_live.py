"""The graph of a running node follows what happens: peers, trust, links, ways, services (GRAPH-2, GRAPH-3)."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from tests.actors.jobs import Said, opened
from tests.mesh.graph.made import OWN, A, B, C, D
from tests.mesh.people import KeptTrust
from web4.actors import open_lane_actors
from web4.mesh.graph.exporting import from_json, to_json
from web4.mesh.graph.live import LiveGraph
from web4.mesh.graph.schema import service_id
from web4.mesh.registry.registry import PeerRegistry
from web4.mesh.server_lane import SERVER_LANE
from web4.mesh.services.catalogue import Service, ServiceCall, ServiceCatalogue
from web4.testing.clocks import TrioClock
from web4.trust import Anchored, Conflict


async def nothing(call: ServiceCall) -> dict[str, Any]:
    return {}


def edges(live: LiveGraph, relation: str) -> dict[tuple[str, str], str]:
    found = live.graph.edges.values()
    return {(one.source, one.target): one.state for one in found if one.relation == relation}


async def test_the_graph_follows_what_happens(autojump_clock: trio.testing.MockClock) -> None:
    clock, trust, catalogue = TrioClock(), KeptTrust(), ServiceCatalogue()
    registry = PeerRegistry(own=OWN, clock=clock, emit=Said())
    async with opened(events=()) as journal, open_lane_actors(journal, {"server": SERVER_LANE}) as actors:
        registry.bind(actors)
        await registry.load()
        live = LiveGraph(own=OWN, registry=registry, trust=trust.registry, catalogue=catalogue)
        assert list(live.graph.nodes) == [OWN]

        await registry.add(A, source="configured", addresses=["tcp://10.0.0.7:7440"])
        await registry.add(B, source="introduced", services=[("echo", "2.1")])
        echo = service_id(B, "echo", "2.1")
        assert list(live.graph.nodes) == sorted([OWN, A, B, echo])
        assert live.graph.nodes[A].address == "tcp://10.0.0.7:7440"

        registry.seen(A)
        live.linked(A, cost=1.25, latency_ms=25.0)
        live.offered(A, [((A, B), 1.0), ((A, C, D), 3.0)])
        assert edges(live, "routes") == dict.fromkeys([(OWN, A), (A, B), (A, C), (C, D)], "active")
        assert [live.graph.nodes[one].kind for one in (A, B, C, D)] == ["agent", "agent", "router", "router"]
        assert live.graph.edges[f"routes:{OWN}:{A}"].metadata.latency_ms == 25.0
        assert live.graph.shortest_trusted_path(B) is None
        await trust(A, Anchored(at_ms=clock.wall_ms()))
        assert edges(live, "trusts") == {(OWN, A): "active"}
        assert live.graph.shortest_trusted_path(B) == (OWN, A, B)
        assert live.graph.articulation_points() == {A, C}

        catalogue.offer(Service(name="sum", version="1.0", handler=nothing))
        assert service_id(OWN, "sum", "1.0") in live.graph.nodes
        live.invoked(B, "echo", "2.1")
        live.invoked(B, "gone", "1.0")
        assert edges(live, "invokes") == {(OWN, echo): "active"}
        assert from_json(to_json(live.graph), live) == live.graph

        await trust(A, Conflict(at_ms=clock.wall_ms(), claim_key="9" * 64))
        assert edges(live, "trusts") == {}
        await trio.sleep(100)
        registry.look()
        assert edges(live, "routes")[OWN, A] == "inactive"
        assert live.graph.reachable(OWN) == {OWN}
        live.unlinked(A)
        await registry.remove(B)
        assert list(live.graph.nodes) == sorted([OWN, A, service_id(OWN, "sum", "1.0")])
        live.close()
        await registry.remove(A)
