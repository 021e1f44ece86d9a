"""Who is there: sessions as they come and go, told to the peer registry (MESH-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from web4.foundation.errors import Web4Error

if TYPE_CHECKING:
    from web4.mesh.registry.registry import PeerRegistry
    from web4.protocols.cip import CipRuntime

EVERY_SECONDS: Final = 15.0
"""How often a session that is up counts as a sign of life: RTT's heartbeats end one that shows none."""


async def notice_peers(cip: CipRuntime, registry: PeerRegistry) -> None:
    """Keep the registry told of peers, until cancelled: who has a session is known, and live while it is up."""
    up: set[str] = set()
    while True:
        now = set(cip.peers(up=True))
        for peer in sorted(now - up):
            await _know(cip, registry, peer)
        for peer in now:
            registry.seen(peer)
        for peer in up - set(cip.peers()):
            registry.lost(peer)
        up = now
        with trio.move_on_after(EVERY_SECONDS):
            await cip.sessions_changed()


async def _know(cip: CipRuntime, registry: PeerRegistry, peer: str) -> None:
    """A peer with a session is known from now on; what it agreed to is what it can do."""
    try:
        agreed = cip.agreement(peer)
        await registry.add(
            peer,
            source="inbound",
            agent_id=cip.agent_id(peer),
            capabilities=None if agreed is None else agreed.capabilities,
        )
    except Web4Error:
        return  # the registry is full, or the journal does not take it: it said so
