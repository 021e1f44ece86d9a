"""End-to-end sessions with peers that are no neighbours: dialled over the mesh, kept for those that are wanted."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

from web4.mesh.relay.transport import SCHEME
from web4.protocols.errors import HandshakeFailed
from web4.rtt import RttError, SessionLost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from web4.protocols.cip import CipRuntime
    from web4.rtt import Endpoint, RttSession

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


class Reaching:
    """Dials over the mesh, and keeps a session with every peer that is wanted.

    Args:
        cip: Serves the sessions.
        endpoint: Dials them.
        has_route: Whether there is a way to a peer now.
    """

    def __init__(self, cip: CipRuntime, endpoint: Endpoint, has_route: Callable[[str], bool]) -> None:
        self._cip = cip
        self._endpoint = endpoint
        self._has_route = has_route
        self._sessions: dict[str, list[RttSession]] = {}
        self._wanted: dict[str, trio.CancelScope] = {}
        self._changed = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None

    @property
    def wanted(self) -> list[str]:
        """The peers that are kept reached, sorted."""
        return sorted(self._wanted)

    @asynccontextmanager
    async def dial(self, peer: str) -> AsyncGenerator[RttSession]:
        """Open an end-to-end session with a peer, served and established, and close it when the block is left.

        Raises:
            TransportUnavailableError: `unreachable`: no way leads there, or nobody answers.
            RttError: As `Endpoint.dial`.
            HandshakeFailed: It does not speak with this node.
            RuntimeError: The mesh does not run.
        """
        if self._nursery is None:
            raise RuntimeError("dial while the mesh runs")
        with suppress(SessionLost):
            async with self._endpoint.dial(f"{SCHEME}://{peer}", expect=peer) as session:
                self._sessions.setdefault(peer, []).append(session)
                try:
                    self._nursery.start_soon(self._cip.serve, session)
                    await self._cip.established(session)
                    yield session
                finally:
                    self._sessions[peer].remove(session)
                    if not self._sessions[peer]:
                        del self._sessions[peer]

    def want(self, peer: str) -> None:
        """Keep a session with a peer from now on: one to it, or one that it opened."""
        if peer not in self._wanted:
            self._wanted[peer] = scope = trio.CancelScope()
            if self._nursery is not None:
                self._nursery.start_soon(self._keep, peer, scope)

    def unwant(self, peer: str) -> None:
        """Keep none any more; one that was opened for this is closed."""
        scope = self._wanted.pop(peer, None)
        if scope is not None:
            scope.cancel()

    def changed(self, destination: str | None = None) -> None:
        """Sessions or ways have changed; to `destination` there is another way now."""
        self._changed.unpark_all()
        for session in self._sessions.get(destination or "", ()):
            session.reconnect()

    async def run(self) -> None:
        """Keep what is wanted, until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                for peer, scope in self._wanted.items():
                    self._nursery.start_soon(self._keep, peer, scope)
                await trio.sleep_forever()
        finally:
            self._nursery = None

    async def _keep(self, peer: str, scope: trio.CancelScope) -> None:
        pause = _FIRST_PAUSE
        with scope:
            while True:
                while peer in self._cip.peers() or not self._has_route(peer):
                    await self._changed.park()
                try:
                    async with self.dial(peer) as session:
                        pause = _FIRST_PAUSE
                        while not session.ended:
                            await self._changed.park()
                except (RttError, HandshakeFailed):
                    pass  # events say why; the next attempt follows
                with trio.move_on_after(pause):
                    await self._changed.park()
                await trio.sleep(_FIRST_PAUSE)
                pause = min(_LONGEST_PAUSE, pause * 2)
