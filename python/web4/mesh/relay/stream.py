"""A relay stream as Trio sees it: what a `mesh://` carrier runs on (MESH-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from web4.mesh.relay.flow import FlowBroken
from web4.rtt.transports.pipe import OneAtATime, checked_most

if TYPE_CHECKING:
    from web4.mesh.relay.flow import RelayFlow
    from web4.mesh.relay.hub import RelayHub
    from web4.protocols.messages.mesh import MeshRelay


class RelayStream(trio.abc.HalfCloseableStream):
    """One end of a byte stream to another node. Made by the hub; the bytes are TLS records, and whose hops see no more.

    It delivers every byte once and in order, or breaks. A reader that does not read stops the writer at the other end.
    """

    relayed: Final = True
    """Other nodes are between its ends: a session on it makes nobody a neighbour (MESH-2)."""

    def __init__(self, hub: RelayHub, peer: str, flow: RelayFlow, *, accepted: bool = False) -> None:
        self.peer = peer
        """Fingerprint of the other end, as its signatures prove."""
        self.accepted = accepted
        """Whether the other end opened it."""
        self.via: str | None = None
        """Of one that was accepted: the neighbour over whom the other end was heard last."""
        self.flow = flow
        self.broken: str | None = None
        """Why it broke, if it did."""
        self.began_ms = hub.now_ms()
        """When this end of it was made."""
        self._hub = hub
        self._closed = False
        self._ended = False
        self._news = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._sending = OneAtATime("another task is sending on this stream")
        self._receiving = OneAtATime("another task is receiving from this stream")

    def __repr__(self) -> str:
        return f"<RelayStream {self.flow.stream[:8]} with {self.peer[:12]}>"

    # --- trio's face ------------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream.send_all`. Cancelled, some of the data may have been sent."""
        with self._sending, memoryview(data).cast("B") as view:
            await trio.lowlevel.checkpoint()
            self._check_sending()
            at = 0
            while at < len(view):
                await self._until_room()
                before = self.flow.unanswered
                with view[at:] as rest:
                    part = self.flow.part(rest, self._hub.now_ms())
                at += self.flow.unanswered - before
                self._say(part)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_sending()
            await self._until_room()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream.receive_some`. Cancelled, it has taken nothing."""
        most = checked_most(max_bytes)
        with self._receiving:
            await trio.lowlevel.checkpoint()
            while True:
                if self._closed:
                    raise trio.ClosedResourceError
                data = self.flow.read(most, self._hub.now_ms())
                if data:
                    self._hub.attend(self)
                    return data
                if self.flow.ended:
                    return b""
                if self.broken is not None:
                    raise trio.BrokenResourceError(f"the relay stream broke: {self.broken}")
                await self._news.park()

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream.send_eof`."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError
            if not self._ended and self.broken is None:
                self._ended = True
                self._say(self.flow.closing())

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource.aclose`: what was sent is still under way."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close this end, without waiting."""
        if self._closed:
            return
        self._closed = True
        if self.broken is None:
            if not self._ended:
                self._say(self.flow.closing())
            if not self.flow.ended:
                self._say(self.flow.resetting())  # nobody reads any more: who sends must not wait for it
        self._hub.forget(self)
        self._wake()

    # --- the hub's face ---------------------------------------------------------------------------------

    def feed(self, part: MeshRelay) -> None:
        """Take in what the other end says."""
        try:
            self.flow.feed(part, self._hub.now_ms())
        except FlowBroken as broken:
            self.break_off(broken)
        else:
            self._wake()

    def look(self, now_ms: float) -> None:
        """Say what is due, and see whether the stream is still alive."""
        if (answer := self.flow.answer(now_ms)) is not None:
            self._say(answer)
        try:
            self.flow.check(now_ms)
        except FlowBroken as broken:
            self.break_off(broken)

    def break_off(self, broken: FlowBroken) -> None:
        """Break the stream for whoever uses it."""
        if self.broken is None and not self._closed:
            self.broken = broken.reason
            if broken.tell:
                self._say(self.flow.resetting())
            self._hub.forget(self, broken)
            self._wake()

    # --- inside -----------------------------------------------------------------------------------------

    def _say(self, part: MeshRelay) -> None:
        self._hub.say(self, part)

    def _wake(self) -> None:
        self._news.unpark_all()
        self._room.unpark_all()

    async def _until_room(self) -> None:
        """Wait until the other end, and the queue to the next hop, have room."""
        while True:
            self._check_sending()
            if not self.flow.room:
                await self._room.park()
            elif not await self._hub.room_for(self, self._room):
                return

    def _check_sending(self) -> None:
        if self._closed or self._ended:
            raise trio.ClosedResourceError
        if self.broken is not None:
            raise trio.BrokenResourceError(f"the relay stream broke: {self.broken}")
