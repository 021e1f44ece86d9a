"""The peers that a node knows of: `peer_ls`, `peer_show` (MESH-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from web4.doors.control.commands import Nothing
from web4.doors.views.contact import session_row
from web4.doors.views.naming import Peers, peers_of
from web4.doors.views.trust import WhichPeer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.views.reading import Reading
    from web4.mesh.registry.registry import KnownPeer


async def peer_ls(reading: Reading, _: Nothing) -> Mapping[str, Any]:
    """`{peers: [row]}`: those that the operator named first, then the others by fingerprint."""
    peers = await peers_of(reading)
    known, sessions = await reading.peers(), _sessions(reading)
    records = await reading.trust()
    listed = {one.fingerprint for one in peers.named} | known.keys()
    listed.discard(reading.identity.fingerprint)
    rows = [
        peer_row(
            one,
            peers,
            known.get(one),
            trust=records[one].state if one in records else "unknown",
            connected=one in sessions,
            agent_id=_calls_itself(reading, one),
        )
        for one in sorted(listed)
    ]
    rows.sort(key=lambda row: (row["name"] is None, row["name"] or ""))
    return {"peers": rows}


async def peer_show(reading: Reading, asked: WhichPeer) -> Mapping[str, Any]:
    """A row, with what the peer said of itself, and why there is no session with it."""
    peers = await peers_of(reading)
    peer = peers.find(asked.peer)
    known, record = (await reading.peers()).get(peer), await reading.trust_of(peer)
    connected = peer in _sessions(reading)
    entry = None if known is None else known.entry
    agreed = None if reading.node is None else reading.node.cip.agreement(peer)
    row = peer_row(
        peer,
        peers,
        known,
        trust=record.state,
        connected=connected,
        agent_id=_calls_itself(reading, peer),
    )
    return {
        **row,
        "session": session_row(
            reading, peer, record, row["addresses"], told=entry is not None and entry.told
        ),
        "recorded_ms": None if entry is None else entry.at_ms,
        "capabilities": [] if entry is None else list(entry.capabilities),
        "services": [] if entry is None else [f"{one.name}@{one.version}" for one in entry.services],
        "protocols": None if agreed is None else list(agreed.protocols),
        "handshaken": record.handshaken,
        "introducer": record.introducer,
    }


def peer_row(
    fingerprint: str,
    peers: Peers,
    known: KnownPeer | None,
    *,
    trust: str,
    connected: bool,
    agent_id: str | None,
) -> dict[str, Any]:
    """A peer in brief. All but fingerprint, name and trust is somebody's word.

    Args:
        fingerprint: Who.
        peers: Who can be named.
        known: What the registry has; None of a peer that the node has not taken in yet.
        trust: How far it is trusted.
        connected: Whether there is a session with it now.
        agent_id: What it calls itself in that session; what the registry has, when None.
    """
    named = peers.named.find(fingerprint)
    entry = None if known is None else known.entry
    addresses = entry.addresses if entry is not None else () if named is None else named.addresses
    return {
        "fingerprint": fingerprint,
        "name": None if named is None else named.name,
        "agent_id": agent_id or (None if entry is None else entry.agent_id),
        "human": None if named is None else named.human,
        "anchor": named is not None and named.anchor,
        "source": "configured" if entry is None else entry.source,
        "addresses": list(addresses),
        "trust": trust,
        "connected": connected,
        "live": known is not None and known.live,
        "last_seen_ms": None if known is None else known.last_seen_ms,
    }


def _sessions(reading: Reading) -> set[str]:
    return set() if reading.node is None else set(reading.node.cip.peers())


def _calls_itself(reading: Reading, peer: str) -> str | None:
    return None if reading.node is None else reading.node.cip.agent_id(peer)


QUESTIONS: Final = {
    "peer_ls": (Nothing, peer_ls),
    "peer_show": (WhichPeer, peer_show),
}
