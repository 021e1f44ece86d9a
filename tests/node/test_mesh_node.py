"""Nodes that take part in the mesh: who is no neighbour is reached over the others (MESH-1, MESH-3, GRAPH-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.node.nodes import a_node, until
from tests.node.test_node import echo
from web4.trust import OperatorPromote

if TYPE_CHECKING:
    from pathlib import Path

    from web4.node import Node

OFF: dict[str, Any] = {"fetch": {"enabled": False}}


async def promote(node: Node, peer: Node) -> None:
    now = OperatorPromote(at_ms=node.clock.wall_ms(), human="grace", reason="met in person")
    await node.cip.trust_command(peer.fingerprint, now)


async def test_a_peer_at_a_mesh_address_is_kept_reached(tmp_path: Path) -> None:
    """MESH-1: a knows c at `mesh://` only; b lies between. Taken out of the registry, it is let go."""
    with trio.fail_after(40):
        async with (
            a_node(tmp_path, "b", **OFF) as b,
            a_node(tmp_path, "a", knows=(b,), anchors=True, **OFF) as a,
            a_node(tmp_path, "c", knows=(b,), anchors=True, handler=echo, **OFF) as c,
        ):
            for node in (a, c):
                await node.connected(b.fingerprint)
                await b.connected(node.fingerprint)
                await promote(b, node)
            await a.peers.add(c.fingerprint, source="configured", addresses=[f"mesh://{c.fingerprint}"])
            agreed = await a.connected(c.fingerprint)
            assert "mesh/1.0" in agreed.protocols
            await c.connected(a.fingerprint)
            await a.peers.remove(c.fingerprint, by="grace", reason="it moved")
            await until(lambda: c.fingerprint not in a.cip.peers())


async def test_a_way_opens_when_the_registry_comes_to_know_a_peer(tmp_path: Path) -> None:
    """MESH-3 (6): who came by itself is routed to as soon as it is registered and trusted, in whatever order."""
    with trio.fail_after(40):
        async with (
            a_node(tmp_path, "b", **OFF) as b,
            a_node(tmp_path, "c", knows=(b,), anchors=True, **OFF) as c,
        ):
            await b.connected(c.fingerprint)
            await promote(b, c)
            assert b.mesh is not None
            way = b.mesh.route
            await until(lambda: b.peers.has(c.fingerprint) and way(c.fingerprint) is not None)
            await b.peers.remove(c.fingerprint, by="grace", reason="it moved")
            await until(lambda: way(c.fingerprint) is None)
