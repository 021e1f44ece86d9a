"""Nodes of a mesh in one process, over real sessions: broadcasts come once, links come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.mesh.meshes import MESHED, has_routes, mesh_of, until
from web4 import rtt
from web4.mesh.policy import MeshForwardingPolicy
from web4.protocols.messages import mesh as m
from web4.protocols.messages.cip import Features
from web4.testing.clocks import START_MS
from web4.trust import OperatorBlock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mesh.meshes import MeshNode


def revoke(number: int) -> m.MeshRevoke:
    return m.MeshRevoke(
        intro_id=f"6a1e9f52-3f6b-4c57-8f1d-0c2b4d6e8f{number:02}", subject="ab" * 32, reason="test"
    )


def listening(nodes: dict[str, MeshNode]) -> dict[str, list[tuple[str, str]]]:
    """What broadcasts every node delivers: origin and intro_id."""
    got: dict[str, list[tuple[str, str]]] = {name: [] for name in nodes}

    def listen(name: str, node: MeshNode) -> None:
        async def heard(message: Any, _via: str) -> None:
            got[name].append((message.origin, message.payload.intro_id))

        node.mesh.on_broadcast("MESH_REVOKE", heard)

    for name, node in nodes.items():
        listen(name, node)
    return got


async def test_mesh_broadcast_once(tmp_path: Path) -> None:
    """MESH-6: in a network full of circles every node but the origin delivers each broadcast once."""
    links = "a-b b-c c-d d-a a-c b-d d-e e-f f-d"
    async with mesh_of(tmp_path, links) as nodes:
        await until(lambda: has_routes(nodes))
        got = listening(nodes)
        for number in range(5):
            nodes["a"].mesh.broadcast(revoke(number))
        origin = nodes["a"].fingerprint
        everything = [(origin, revoke(number).intro_id) for number in range(5)]
        others = [got[name] for name in nodes if name != "a"]
        await until(lambda: all(len(one) >= 5 for one in others))
        await trio.sleep(0.2)
        assert all(sorted(one) == everything for one in others)
        assert got["a"] == []
        assert sum(node.mesh.dropped["seen"] for node in nodes.values()) > 0


async def test_mesh_broadcast_ends_at_max_hops(tmp_path: Path) -> None:
    """MESH-6: a broadcast passes `max_hops` nodes, and no more."""
    async with mesh_of(tmp_path, "a-b b-c c-d d-e e-f") as nodes:
        await until(lambda: nodes["f"].mesh.route(nodes["b"].fingerprint))
        got = listening(nodes)
        nodes["a"].mesh.broadcast(revoke(0))
        await until(lambda: got["e"])
        await trio.sleep(0.2)
        assert {name for name, one in got.items() if one} == {"b", "c", "d", "e"}


async def test_mesh_blocked_node_is_left_out(tmp_path: Path) -> None:
    """MESH-3, MESH-4: a way over a blacklisted node is none, and what it hands over is dropped."""
    async with mesh_of(tmp_path, "a-b b-c a-d d-c") as nodes:
        await until(lambda: has_routes(nodes))
        a, c = nodes["a"], nodes["c"]
        first = a.mesh.route(c.fingerprint)
        assert first is not None
        block = OperatorBlock(at_ms=START_MS, human="eva", reason="test")
        await a.cip.trust_command(first.next, block)
        await until(lambda: a.mesh.route(c.fingerprint) not in (None, first))
        second = a.mesh.route(c.fingerprint)
        assert second is not None
        assert first.next not in second.path
        assert a.mesh.route(first.next) is None


async def test_mesh_only_with_those_who_take_part(tmp_path: Path) -> None:
    """CIP-3, MESH-7: without `supports_mesh` at both ends there is no link; who does not relay is no way."""
    alone = MESHED.__class__(
        protocols=MESHED.protocols,
        capabilities=MESHED.capabilities,
        features=Features(supports_mesh=False, supports_multiplex=False),
    )
    unwilling = MeshForwardingPolicy(relays=False)
    async with mesh_of(tmp_path, "a-b b-c a-d d-c", b={"offer": alone}, d={"policy": unwilling}) as nodes:
        a, c, d = nodes["a"], nodes["c"], nodes["d"]
        await until(lambda: a.mesh.route(d.fingerprint) and a.mesh.neighbours().get(d.fingerprint))
        await until(lambda: len(a.cip.peers()) == 2)
        await trio.sleep(0.3)
        assert list(a.mesh.neighbours()) == [d.fingerprint]
        assert a.mesh.route(c.fingerprint) is None


async def test_mesh_trust_opens_ways(tmp_path: Path) -> None:
    """TRUST-6: a neighbour that is only probing is no hop; once it is trusted on both sides, its ways count at once."""
    async with mesh_of(tmp_path, "a-b b-c", trusting=False) as nodes:
        a, b, c = nodes.values()
        await until(lambda: len(b.mesh.neighbours()) == 2)
        await trio.sleep(0.2)
        assert a.mesh.route(c.fingerprint) is None
        await a.trust(b)
        await c.trust(b)
        await b.trust(a, c)
        await until(lambda: a.mesh.route(c.fingerprint), seconds=15)


async def test_mesh_who_trusts_later_hears_of_ways_at_once(tmp_path: Path) -> None:
    """MESH-4, TRUST-6: b offered its ways while a did not trust it yet, and a refused them. It does not wait for the
    next round, 30 s later, when it comes to trust b."""
    async with mesh_of(tmp_path, "a-b b-c", trusting=False) as nodes:
        a, b, c = (nodes[name] for name in "abc")
        await b.trust(a, c)
        await c.trust(b)
        refused = {"code": "gate", "type": "MESH_ROUTES"}
        await until(lambda: b.mesh.route(c.fingerprint) and a.of("envelope_rejected", **refused))
        await until(lambda: b.fingerprint in a.mesh.neighbours() and a.mesh.neighbours()[b.fingerprint])
        assert a.mesh.route(c.fingerprint) is None
        await a.trust(b)
        await until(lambda: a.mesh.route(c.fingerprint), seconds=15)


@pytest.mark.parametrize("both", [True, False])
async def test_mesh_reach_again_after_a_partition(tmp_path: Path, both: bool) -> None:
    """MESH-13: the only way is lost and comes back: the session that was kept goes on by itself."""
    async with mesh_of(tmp_path, "a-b b-c") as nodes:
        a, b, c = nodes.values()
        a.mesh.reach(c.fingerprint)
        if both:
            c.mesh.reach(a.fingerprint)
        await until(lambda: c.fingerprint in a.cip.peers() and a.fingerprint in c.cip.peers())
        a.part(b)
        await until(lambda: a.mesh.route(c.fingerprint) is None)
        a.join(b)
        await until(lambda: a.mesh.route(c.fingerprint))
        with trio.fail_after(60):
            await a.cip.connected(c.fingerprint)
            await a.cip.send_intent(c.fingerprint, goal="ask", topic="again")
        await until(lambda: any(d.message.type == "INTENT" for d in c.heard))


async def test_mesh_services_travel_end_to_end(tmp_path: Path) -> None:
    """MESH-1, OUT-1: SERVICE_* are signed as envelopes of the mesh, and come as every message for the application."""
    async with mesh_of(tmp_path, "a-b b-c") as nodes:
        a, b, c = nodes.values()
        a.mesh.reach(c.fingerprint)
        await a.cip.connected(c.fingerprint)
        call = m.ServiceInvoke(service="echo", version="1.0", args={"text": "tea"}, deadline_ms=1_000)
        sent = await a.cip.send(c.fingerprint, call)
        await until(lambda: c.heard)
        (delivery,) = c.heard
        assert (delivery.protocol, delivery.type, delivery.msg_id) == ("mesh", "SERVICE_INVOKE", sent)
        assert delivery.message.payload == call
        assert delivery.peer == a.fingerprint
        result = m.ServiceResult(status="ok", result={"text": "tea"})
        await c.cip.send(a.fingerprint, result, corr_id=sent)
        await until(lambda: a.heard)
        assert a.heard[0].corr_id == sent
        assert not b.heard


async def test_mesh_direct_session_replaces_a_relayed_one(tmp_path: Path) -> None:
    """HS-7, MESH-1: who becomes a neighbour needs no hops: the relayed session gives way, whoever dialled."""
    for first, second in (("a", "c"), ("c", "a")):
        directory = tmp_path / first
        directory.mkdir()
        async with mesh_of(directory, "a-b b-c") as nodes:
            dialler, other = nodes[first], nodes[second]
            dialler.mesh.reach(other.fingerprint)
            await until(lambda d=dialler, o=other: o.fingerprint in d.cip.peers())  # type: ignore[misc]
            other.join(dialler)
            await until(lambda d=dialler, o=other: o.fingerprint in d.mesh.neighbours())  # type: ignore[misc]
            await until(lambda d=dialler: d.of("session_close"))  # type: ignore[misc]
            await dialler.cip.send_intent(other.fingerprint, goal="ask", topic="near")
            await until(lambda o=other: any(one.type == "INTENT" for one in o.heard))  # type: ignore[misc]
            assert dialler.mesh.route(other.fingerprint).path == (other.fingerprint,)  # type: ignore[union-attr]


async def test_mesh_neighbour_that_was_silent_is_taken_back(tmp_path: Path) -> None:
    """MESH-8: stale is not for ever: who is heard again is routable again."""
    async with mesh_of(tmp_path, "a-b b-c") as nodes:
        a, b, c = nodes.values()
        await until(lambda: has_routes(nodes))
        now_ms = a.mesh._now_ms() + a.mesh.policy.stale_ms + 1_000
        a.mesh._changed(a.mesh.table.expire(now_ms))
        assert a.mesh.route(b.fingerprint) is None
        assert a.mesh.route(c.fingerprint) is None
        b.mesh.broadcast(revoke(1))
        await until(lambda: a.mesh.route(b.fingerprint), seconds=15)


async def test_mesh_hop_further_away_goes(tmp_path: Path) -> None:
    """MESH-5: a hop that is nobody's neighbour here goes in the middle of traffic: all arrives, once and in order."""
    async with mesh_of(tmp_path, "a-x x-c x-d c-b d-b") as nodes:
        a, x, b = (nodes[name] for name in "axb")
        await until(lambda: has_routes(nodes))
        a.mesh.reach(b.fingerprint)
        await a.cip.connected(b.fingerprint)
        async with trio.open_nursery() as nursery:

            async def talk() -> None:
                for number in range(80):
                    await a.cip.send_intent(b.fingerprint, goal="ask", topic=str(number))
                    await trio.sleep(0.01)

            nursery.start_soon(talk)
            await until(lambda: len(b.heard) > 20)
            used = x.mesh.route(b.fingerprint)
            assert used is not None
            hop = next(node for node in nodes.values() if node.fingerprint == used.next)
            hop.stop()
        await until(lambda: len(b.heard) >= 80)
        topics = [one.message.payload.topic for one in b.heard if one.message.type == "INTENT"]
        assert topics == [str(number) for number in range(80)]


async def test_mesh_slow_reader_stops_the_sender(tmp_path: Path) -> None:
    """MESH-1, RTT-38: credit reaches over hops: what nobody reads fills no queue on the way."""
    async with mesh_of(tmp_path, "a-b b-c") as nodes:
        a, b, c = nodes.values()
        await until(lambda: has_routes(nodes))
        a.mesh._hub.listen(None)
        taken: list[trio.abc.AsyncResource] = []

        def take(stream: trio.abc.AsyncResource) -> bool:
            taken.append(stream)
            return True

        c.mesh._hub.listen(take)
        stream = await a.mesh._hub.connect(c.fingerprint)
        with trio.move_on_after(1.5) as scope:
            await stream.send_all(bytes(2_000_000))
        assert scope.cancelled_caught
        assert stream.broken is None
        assert stream.flow.room == 0
        assert stream.flow.unanswered == 0
        assert b.mesh._neighbours[c.fingerprint].egress.waiting(a.fingerprint) == 0
        await stream.aclose()
        for one in taken:
            await one.aclose()


async def test_mesh_dial_says_why_not(tmp_path: Path) -> None:
    """MESH-3, step 6: without a way, and to nobody, a dial fails with the transport's own error; a key is pinned."""
    async with mesh_of(tmp_path, "a-b b-c") as nodes:
        a, _b, c = nodes.values()
        await until(lambda: has_routes(nodes))
        for nobody in ("ab" * 32, a.fingerprint):
            with pytest.raises(rtt.TransportUnavailableError):
                async with a.mesh.dial(nobody):
                    pass
        with pytest.raises(rtt.AuthenticationError):
            async with a.endpoint.dial(f"mesh://{c.fingerprint}", expect="ab" * 32):
                pass
        async with a.mesh.dial(c.fingerprint) as session:
            assert session.peer == c.fingerprint
            assert session.relayed
        await until(lambda: c.fingerprint not in a.cip.peers())
        await until(lambda: len(a.mesh._hub) == 0)
        await until(lambda: len(c.mesh._hub) == 0)
