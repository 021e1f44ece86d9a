"""`mesh://<fingerprint>`: carriers over other nodes, as RTT takes any transport (MESH-1, RTT-66)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import trio

from web4.mesh.errors import NoRoute
from web4.mesh.relay.hub import BACKLOG
from web4.mesh.relay.stream import RelayStream
from web4.rtt.errors import TransportUnavailableError
from web4.rtt.transports.stream import close_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.mesh.relay.hub import RelayHub
    from web4.rtt.transports.address import Address
    from web4.rtt.transports.transport import GivenUp

SCHEME: Final = "mesh"

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")


class MeshTransport:
    """Byte streams between nodes, over those between them. TLS and everything above is RTT's: hops see ciphertext.

    Args:
        hub: The node's relay streams.
        own: Fingerprint of this node, the only address that it can listen at.
    """

    scheme = SCHEME
    local_only = False
    survives_address_change = True
    max_write: int | None = None

    def __init__(self, hub: RelayHub, own: str) -> None:
        self._hub = hub
        self._own = own
        self._place: RelayPlace | None = None

    async def connect(self, address: Address, given_up: GivenUp | None = None) -> trio.abc.Stream:
        """See `Transport.connect`."""
        peer = _fingerprint(address)
        if peer == self._own:
            await trio.lowlevel.checkpoint()
            raise TransportUnavailableError("a node needs no way to itself", code="bad_address")
        try:
            return await self._hub.connect(peer)
        except NoRoute as error:
            raise TransportUnavailableError(f"{address}: {error}", code="unreachable") from error

    async def listen(self, address: Address) -> RelayPlace:
        """See `Transport.listen`."""
        await trio.lowlevel.checkpoint()
        if _fingerprint(address) != self._own:
            raise TransportUnavailableError("a node listens at its own fingerprint", code="bad_address")
        if self._place is not None:
            raise TransportUnavailableError(f"something listens at {address}", code="address_in_use")
        self._place = RelayPlace(str(address), self._hub, self._left)
        return self._place

    def _left(self) -> None:
        self._place = None


class RelayPlace(trio.abc.Listener[RelayStream]):
    """Where streams of other nodes arrive: listener and acceptor in one."""

    def __init__(self, address: str, hub: RelayHub, left: Callable[[], None]) -> None:
        self.addresses = (address,)
        self.listeners = (self,)
        self._hub = hub
        self._left: Callable[[], None] | None = left
        self._entrance, self._queue = trio.open_memory_channel[RelayStream](BACKLOG)
        hub.listen(self._arrived)

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """See `Acceptor.peer_address`: who opened the stream signed that it did."""
        if not isinstance(stream, RelayStream):
            raise OSError("no stream of this transport")
        return f"{SCHEME}:{stream.peer}"

    async def accept(self) -> RelayStream:
        """See `trio.abc.Listener.accept`."""
        try:
            return await self._queue.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    async def aclose(self) -> None:
        """See `Acceptor.aclose`. Streams that nobody accepted are closed."""
        left, self._left = self._left, None
        if left is not None:
            left()
            self._hub.listen(None)
            self._entrance.close()
            while self._queue.statistics().current_buffer_used:
                await close_now(self._queue.receive_nowait())
            self._queue.close()
        await trio.lowlevel.checkpoint()

    def _arrived(self, stream: RelayStream) -> bool:
        try:
            self._entrance.send_nowait(stream)
        except trio.WouldBlock:
            return False
        return True


def _fingerprint(address: Address) -> str:
    if not _FINGERPRINT.fullmatch(address.host) or address.port is not None or address.path.strip("/"):
        raise TransportUnavailableError(f"{address} is not mesh://<fingerprint>", code="bad_address")
    return address.host
