"""One neighbour in the mesh: its sessions, what waits for it, and how good the link is."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from web4.mesh.forwarding.egress import Egress
from web4.mesh.routing.cost import LinkMeter
from web4.protocols.errors import NotConnectedError
from web4.rtt import RttError

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.foundation.clock import Clock
    from web4.mesh.forwarding.meters import OriginMeters
    from web4.mesh.policy import MeshForwardingPolicy
    from web4.protocols.cip import CipRuntime
    from web4.protocols.messages.mesh import MeshHello
    from web4.rtt import RttSession


class Neighbour:
    """What a node holds about a neighbour as long as there is a link.

    Args:
        peer: Fingerprint.
        cip: Sends over the sessions with it.
        policy: See `MeshForwardingPolicy`.
        meters: See `Egress`.
        clock: Where time comes from.
    """

    def __init__(
        self,
        peer: str,
        *,
        cip: CipRuntime,
        policy: MeshForwardingPolicy,
        meters: OriginMeters,
        clock: Clock,
    ) -> None:
        self.peer = peer
        self.hello: MeshHello | None = None
        """What it said of itself."""
        self.meter = LinkMeter()
        self.over = trio.CancelScope()
        """Cancelled when there is no link any more."""
        self.egress = Egress(
            policy,
            meters,
            clock,
            control=lambda data: cip.send_mesh(peer, data, "control"),
            relay=lambda data: cip.send_mesh(peer, data, "relay"),
        )
        self._cip = cip
        self._clock = clock
        self._greet_now = trio.Event()

    def greet(self) -> None:
        """Greet it at once, beside every now and then."""
        self._greet_now.set()

    def close(self) -> None:
        """The link is gone."""
        self.egress.close()
        self.over.cancel()

    async def run(self, hello: Callable[[], bytes], every_ms: float, measured: Callable[[], None]) -> None:
        """Give it what waits, and greet it now and then, until the link is gone."""
        with self.over:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.egress.run)
                nursery.start_soon(partial(self._greet, hello, every_ms, measured))

    async def _greet(self, hello: Callable[[], bytes], every_ms: float, measured: Callable[[], None]) -> None:
        """Say how this node is, and see how long its transport takes to say that it has come."""
        while True:
            with suppress(NotConnectedError, RttError):
                started_ns = self._clock.monotonic_ns()
                session = await self._cip.send_mesh(self.peer, hello(), "control")
                await session.control.flush()
                if self.meter.measured((self._clock.monotonic_ns() - started_ns) / 2e6):
                    measured()
            with trio.move_on_after(every_ms / 1_000):
                await self._greet_now.wait()
            self._greet_now = trio.Event()


def is_up(session: RttSession) -> bool:
    """Whether a session is a link to a neighbour now: it has a carrier, and that goes over nobody else."""
    return session.state == "open" and not session.relayed
