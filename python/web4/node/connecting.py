"""Keeping sessions with the peers whose addresses are known, until the node stops."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import trio

from web4.protocols.errors import HandshakeFailed
from web4.rtt import RttError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.mesh.registry.registry import PeerChange, PeerRegistry
    from web4.mesh.runtime import MeshRuntime
    from web4.node.tries import Tries
    from web4.protocols.cip import CipRuntime
    from web4.rtt import Endpoint

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 30.0
_MESH: Final = "mesh://"


class Connector:
    """Dials every peer of the registry that has addresses, and dials again when its session has ended for good.

    A session that loses its carrier resumes by itself (RTT); this is for those that end. While a peer has an
    established session, whoever opened it, nothing is dialled. Blacklisted peers are not dialled.

    A peer with the address `mesh://` is kept reached over the mesh instead (MESH-1), while it has no other session.

    Args:
        cip: Serves the sessions.
        endpoint: Dials them.
        registry: Says whom to dial, and where.
        mesh: Reaches those who are no neighbours; None for a node that takes no part in it.
        tries: Is told how it goes.
    """

    def __init__(
        self,
        cip: CipRuntime,
        endpoint: Endpoint,
        registry: PeerRegistry,
        mesh: MeshRuntime | None = None,
        *,
        tries: Tries,
    ) -> None:
        self._cip = cip
        self._endpoint = endpoint
        self._registry = registry
        self._mesh = mesh
        self._tries = tries
        self._reached: set[str] = set()
        self._keeping: dict[str, trio.CancelScope] = {}
        self._news = trio.Event()

    async def run(self) -> None:
        """Keep sessions, until cancelled."""
        stop = self._registry.observe(self._on_change)
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    self._news = trio.Event()
                    addresses = {one.entry.fingerprint: one.entry.addresses for one in self._registry.all()}
                    self._reach({peer for peer, known in addresses.items() if any(map(_is_mesh, known))})
                    wanted = {peer for peer, known in addresses.items() if not all(map(_is_mesh, known))}
                    for gone in self._keeping.keys() - wanted:
                        self._keeping.pop(gone).cancel()
                    for peer in sorted(wanted - self._keeping.keys()):
                        scope = self._keeping[peer] = trio.CancelScope()
                        nursery.start_soon(self._keep, peer, scope, name=f"sessions with {peer[:12]}")
                    await self._news.wait()
        finally:
            stop()

    def _on_change(self, change: PeerChange, peer: str) -> None:
        if change in {"added", "changed", "removed"}:
            self._news.set()
        if change == "removed":
            self._tries.forget(peer)

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
                if self._may_dial(peer) and await self._dial(peer):
                    pause = FIRST_PAUSE
                # Two nodes that dial each other at once must not do so for ever in step.
                wait = pause * (0.5 + random.random())  # noqa: S311 - only to spread
                self._tries.waits(peer, wait)
                await trio.sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _may_dial(self, peer: str) -> bool:
        return peer not in self._cip.peers() and self._cip.trust.state(peer) != "blacklisted"

    async def _dial(self, peer: str) -> bool:
        """Serve a session with a peer to its end; whether one was established."""
        self._tries.dials(peer)
        for address in self._addresses(peer):
            try:
                async with self._endpoint.dial(address, expect=peer) as session:
                    await self._cip.serve(session)
                await self._cip.established(session)  # it is over: whether it ever was
            except (RttError, HandshakeFailed) as error:
                self._tries.failed(peer, address, error)
                continue  # the next address may answer
            return True
        return False

    def _addresses(self, peer: str) -> Iterable[str]:
        known = self._registry.get(peer)
        addresses = () if known is None else known.entry.addresses
        return [one for one in addresses if not _is_mesh(one)]


def _is_mesh(address: str) -> bool:
    return address.startswith(_MESH)
