"""Keeping sessions with the peers whose addresses are known, until the node stops."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import trio

from web4.node.introduced import MOST_ADDRESSES
from web4.protocols.errors import HandshakeFailed
from web4.rtt import RttError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.mesh.registry.peers_events import PeerEntry
    from web4.mesh.registry.registry import PeerChange, PeerRegistry
    from web4.mesh.runtime import MeshRuntime
    from web4.node.introduced import IntroducedPlaces
    from web4.node.tries import Tries
    from web4.protocols.cip import CipRuntime
    from web4.rtt import Endpoint
    from web4.trust import TrustEvent

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 30.0
FIRST_INTRODUCED_PAUSE: Final = 5.0
LONGEST_INTRODUCED_PAUSE: Final = 600.0
"""These two for a peer of whom only its introducer says that it is there."""
_MESH: Final = "mesh://"


class Connector:
    """Dials every peer of the registry that has addresses, and dials again when its session has ended for good.

    A session that loses its carrier resumes by itself (RTT); this is for those that end. While a peer has an
    established session, whoever opened it, nothing is dialled. Blacklisted peers are not dialled.

    A peer with the address `mesh://` is kept reached over the mesh instead (MESH-1), while it has no other session.

    Where an introducer told the addresses, they are dialled as long as the peer is probing or trusted, and only those
    that `IntroducedPlaces` lets through (decision 0029).

    Args:
        cip: Serves the sessions.
        endpoint: Dials them.
        registry: Says whom to dial, and where.
        mesh: Reaches those who are no neighbours; None for a node that takes no part in it.
        introduced: Says where introduced peers may be dialled; nowhere when None.
        tries: Is told how it goes.
    """

    def __init__(
        self,
        cip: CipRuntime,
        endpoint: Endpoint,
        registry: PeerRegistry,
        mesh: MeshRuntime | None = None,
        introduced: IntroducedPlaces | None = None,
        *,
        tries: Tries,
    ) -> None:
        self._cip = cip
        self._endpoint = endpoint
        self._registry = registry
        self._mesh = mesh
        self._introduced = introduced
        self._tries = tries
        self._reached: set[str] = set()
        self._keeping: dict[str, trio.CancelScope] = {}
        self._news = trio.Event()

    async def run(self) -> None:
        """Keep sessions, until cancelled."""
        stop = self._registry.observe(self._on_change)
        stop_trust = self._cip.trust.observe(self._on_trust)
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    self._news = trio.Event()
                    entries = [one.entry for one in self._registry.all()]
                    meshed = [one for one in entries if any(map(_is_mesh, one.addresses))]
                    self._reach({one.fingerprint for one in meshed if self._is_welcome(one)})
                    wanted = {one.fingerprint for one in entries if not all(map(_is_mesh, one.addresses))}
                    for gone in self._keeping.keys() - wanted:
                        self._keeping.pop(gone).cancel()
                    for peer in sorted(wanted - self._keeping.keys()):
                        scope = self._keeping[peer] = trio.CancelScope()
                        nursery.start_soon(self._keep, peer, scope, name=f"sessions with {peer[:12]}")
                    await self._news.wait()
        finally:
            stop()
            stop_trust()

    def _is_welcome(self, entry: PeerEntry) -> bool:
        """Whether to seek a session with a peer: whom others brought, only if they still vouch, or it came itself."""
        trust = self._cip.trust.state(entry.fingerprint)
        if entry.told and trust not in ("probing", "trusted"):
            return trust != "blacklisted" and self._cip.trust.record(entry.fingerprint).handshaken
        return trust != "blacklisted"

    def _on_change(self, change: PeerChange, peer: str) -> None:
        if change in {"added", "changed", "removed"}:
            self._news.set()
        if change == "removed":
            self._tries.forget(peer)

    def _on_trust(self, _: str, event: TrustEvent) -> None:
        if event.moved:
            self._news.set()

    def _reach(self, wanted: set[str]) -> None:
        """Let the mesh keep sessions with these, and with nobody else that it kept one with for this."""
        if self._mesh is None:
            return
        for gone in self._reached - wanted:
            self._mesh.unreach(gone)
        for peer in sorted(wanted - self._reached):
            self._mesh.reach(peer)
        self._reached = wanted

    async def _keep(self, peer: str, scope: trio.CancelScope) -> None:
        pause = FIRST_PAUSE
        with scope:
            while True:
                longest = LONGEST_PAUSE
                if (known := self._registry.get(peer)) is not None and self._may_dial(known.entry):
                    if await self._dial(known.entry):
                        pause = FIRST_PAUSE
                    elif known.entry.told:
                        pause, longest = max(pause, FIRST_INTRODUCED_PAUSE), LONGEST_INTRODUCED_PAUSE
                # Two nodes that dial each other at once must not do so for ever in step.
                wait = pause * (0.5 + random.random())  # noqa: S311 - only to spread
                self._tries.waits(peer, wait)
                await trio.sleep(wait)
                pause = min(2 * pause, longest)

    def _may_dial(self, entry: PeerEntry) -> bool:
        return entry.fingerprint not in self._cip.peers() and self._is_welcome(entry)

    async def _dial(self, entry: PeerEntry) -> bool:
        """Serve a session with a peer to its end; whether one was established."""
        self._tries.dials(entry.fingerprint)
        direct = [one for one in entry.addresses if not _is_mesh(one)]
        if not entry.told:
            return await self._dial_one_of(entry.fingerprint, direct)
        for address in direct[:MOST_ADDRESSES]:
            places = () if self._introduced is None else await self._introduced.of(entry, address)
            if self._may_dial(entry) and await self._dial_one_of(entry.fingerprint, places):
                return True
        return False

    async def _dial_one_of(self, peer: str, addresses: Sequence[str]) -> bool:
        for address in addresses:
            try:
                async with self._endpoint.dial(address, expect=peer) as session:
                    await self._cip.serve(session)
                await self._cip.established(session)  # it is over: whether it ever was
            except (RttError, HandshakeFailed) as error:
                self._tries.failed(peer, address, error)
                continue  # the next address may answer
            return True
        return False


def _is_mesh(address: str) -> bool:
    return address.startswith(_MESH)
