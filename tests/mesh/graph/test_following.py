"""The registry and the graph follow a real mesh of three: who came, what they offer, which ways there are (MESH-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.actors.jobs import Said, opened
from tests.mesh.meshes import mesh_of, until
from web4.actors import open_lane_actors
from web4.foundation.ids import SystemIds
from web4.mesh.graph.following import MeshFollower
from web4.mesh.graph.live import LiveGraph
from web4.mesh.introductions.heard import register_introductions
from web4.mesh.introductions.introductions import Introductions
from web4.mesh.registry.registry import PeerRegistry
from web4.mesh.server_lane import server_lane
from web4.mesh.services.catalogue import ServiceCatalogue
from web4.testing import TrioClock
from web4.testing.clocks import START_MS

if TYPE_CHECKING:
    from pathlib import Path


class Follower:
    """What a node puts around its mesh."""

    def __init__(self, node: Any) -> None:
        clock = TrioClock(START_MS + round(trio.current_time() * 1_000))
        trust = node.cip.trust
        own = node.fingerprint
        self.registry = PeerRegistry(own=own, clock=clock, emit=node.emit)

        async def command(peer: str, command: Any, *, cause: str | None = None) -> Any:
            return await node.cip.trust_command(peer, command, cause=cause)

        self.introductions = Introductions(
            own=own,
            trust=trust,
            command=command,
            registry=self.registry,
            broadcast=node.mesh.broadcast,
            clock=clock,
            ids=SystemIds(),
            emit=node.emit,
        )
        self.live = LiveGraph(own=own, registry=self.registry, trust=trust, catalogue=ServiceCatalogue())
        self.follower = MeshFollower(
            mesh=node.mesh,
            sessions=node.cip,
            trust=trust,
            registry=self.registry,
            live=self.live,
            introductions=self.introductions,
            emit=node.emit,
        )
        register_introductions(node.mesh, self.introductions)

    async def run(self, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        lane = server_lane(introductions=self.introductions.part)
        async with (
            opened(events=(), emit=Said()) as journal,
            open_lane_actors(journal, {"server": lane}) as actors,
            trio.open_nursery() as nursery,
        ):
            self.registry.bind(actors)
            self.introductions.bind(actors)
            await self.registry.load()
            nursery.start_soon(self.introductions.run)
            nursery.start_soon(self.follower.run)
            task_status.started()


async def test_a_node_follows_its_mesh(tmp_path: Path) -> None:
    """a - b - c: a knows b as its neighbour, and that c is beyond it; when the link breaks nothing is."""
    async with mesh_of(tmp_path, "a-b b-c") as nodes, trio.open_nursery() as nursery:
        a, b, c = (nodes[name] for name in "abc")
        around = {node.name: Follower(node) for node in (a, b, c)}
        for one in around.values():
            await nursery.start(one.run)
        graph = around["a"].live
        await until(lambda: c.fingerprint in graph.graph.reachable(a.fingerprint))
        assert around["a"].registry.live(b.fingerprint)
        assert graph.graph.neighbours(a.fingerprint) == (b.fingerprint,)
        assert graph.graph.shortest_trusted_path(c.fingerprint) == (
            a.fingerprint,
            b.fingerprint,
            c.fingerprint,
        )
        assert b.fingerprint in graph.graph.articulation_points()
        a.part(b)
        await until(lambda: not around["a"].registry.live(b.fingerprint))
        await until(lambda: graph.graph.reachable(a.fingerprint) == {a.fingerprint})
        nursery.cancel_scope.cancel()


async def test_the_graph_shows_every_way_that_is_offered(tmp_path: Path) -> None:
    """GRAPH-3: a ring of four; a knows of both ways to c, though it takes one."""
    async with mesh_of(tmp_path, "a-b b-c c-d d-a") as nodes, trio.open_nursery() as nursery:
        around = Follower(nodes["a"])
        await nursery.start(around.run)
        names = {node.fingerprint: name for name, node in nodes.items()}

        def links() -> set[frozenset[str]]:
            edges = around.live.graph.edges.values()
            return {frozenset((names[e.source], names[e.target])) for e in edges if e.relation == "routes"}

        await until(lambda: links() == set(map(frozenset, ("ab", "bc", "cd", "da"))))
        nursery.cancel_scope.cancel()


async def test_a_stranger_is_introduced_over_a_real_mesh(tmp_path: Path) -> None:
    """MESH-10, MESH-11: b introduces c to a, who lets it be probing; taken back, c falls, as it never came itself."""
    async with (
        mesh_of(tmp_path, "a-b b-c", trusting=False) as nodes,
        trio.open_nursery() as nursery,
    ):
        a, b, c = (nodes[name] for name in "abc")
        around = {node.name: Follower(node) for node in (a, b)}
        for one in around.values():
            await nursery.start(one.run)
        await a.trust(b)
        await b.trust(a, c)
        await c.trust(b)
        state = a.cip.trust.state
        await until(lambda: b.cip.trust.record(c.fingerprint).handshaken and a.mesh.neighbours())
        assert state(c.fingerprint) == "unknown"
        intro_id = await around["b"].introductions.introduce(
            c.fingerprint, c.identity.public_key, ["tcp://10.0.0.7:7440"]
        )
        await until(lambda: state(c.fingerprint) == "probing")
        record = a.cip.trust.record(c.fingerprint)
        assert (record.introducer, record.unverified) == (b.fingerprint, True)
        await until(lambda: around["a"].registry.has(c.fingerprint))
        known = around["a"].registry.get(c.fingerprint)
        assert known is not None
        assert (known.entry.source, known.live) == ("introduced", False)
        await around["b"].introductions.revoke(intro_id, "it moved")
        await until(lambda: state(c.fingerprint) == "untrusted")
        assert state(b.fingerprint) == "trusted"
        nursery.cancel_scope.cancel()
