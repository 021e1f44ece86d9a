"""The mesh between operating system processes: over a hop that is blind, and around one that is killed (section 23)."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.mesh.processes import node_processes

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "the treasure lies under the third oak"


def test_mesh_multihop_three(tmp_path: Path) -> None:
    """A-C-B (MESH-1, MESH-2): delivered, `hops` = [C]; nothing that C received holds what was said."""
    records = {"c": tmp_path / "c.received", "b": tmp_path / "b.received"}
    with node_processes(tmp_path, "a-c b-c", records=records) as nodes:
        a, b, c = nodes["a"], nodes["b"], nodes["c"]
        a.order("reach", "b")
        a.until("reached")
        a.order("send", "b", count=5, text=SECRET + " {}")
        b.until("heard", 5)
        assert [line["topic"] for line in b.of("heard")] == [f"{SECRET} {number}" for number in range(5)]
        assert [line["hops"] for line in b.of("relayed_over")] == [[c.fingerprint]]
        assert [line["hops"] for line in a.of("relayed_over")] == [[c.fingerprint]]
    received = records["c"].read_bytes()
    assert received.count(b'"type":"MESH_RELAY"') > 10
    for word in (SECRET, "treasure", "INTENT", "challenge_response"):
        assert word.encode() not in relayed(received)
    assert SECRET.encode() not in received
    assert SECRET.encode() in records["b"].read_bytes()  # the recording does see what is readable


def relayed(received: bytes) -> bytes:
    return b"\n".join(line for line in received.splitlines() if b'"type":"MESH_RELAY"' in line)


def test_mesh_reroute_on_kill(tmp_path: Path) -> None:
    """MESH-5: the hop is killed while messages flow: the session goes on by the other way, all once and in order."""
    with node_processes(tmp_path, "a-c a-d b-c b-d") as nodes:
        a, b = nodes["a"], nodes["b"]
        for node in nodes.values():
            node.until("topology_changed", 2, reason="link_up")
        a.order("reach", "b")
        a.until("reached")
        a.order("send", "b", count=150, text="{}", every=0.01)
        b.until("heard", 40)
        a.order("route", "b")
        used = a.until("route")["path"][0]
        hop = next(node for node in nodes.values() if node.fingerprint == used)
        hop.kill()
        b.until("heard", 150)
        a.until("sent")
        assert [line["topic"] for line in b.of("heard")] == [str(number) for number in range(150)]
        other = next(node for node in (nodes["c"], nodes["d"]) if node is not hop)
        assert [other.fingerprint] in [line["hops"] for line in b.of("relayed_over")]
        assert a.of("session_resume", peer=b.fingerprint)
        assert not a.of("session_lost")


def test_mesh_reroute_on_stopped_hop(tmp_path: Path) -> None:
    """MESH-5: the hop is there and does nothing: nobody answers, and the session goes on by the other way."""
    with node_processes(tmp_path, "a-c a-d b-c b-d") as nodes:
        a, b = nodes["a"], nodes["b"]
        for node in nodes.values():
            node.until("topology_changed", 2, reason="link_up")
        a.order("reach", "b")
        a.until("reached")
        a.order("send", "b", count=60, text="{}", every=0.01)
        b.until("heard", 20)
        a.order("route", "b")
        used = a.until("route")["path"][0]
        hop = next(node for node in nodes.values() if node.fingerprint == used)
        hop.process.send_signal(signal.SIGSTOP)
        b.until("heard", 60)
        assert [line["topic"] for line in b.of("heard")] == [str(number) for number in range(60)]
        assert a.of("session_resume", peer=b.fingerprint)
        assert not a.of("session_lost")
