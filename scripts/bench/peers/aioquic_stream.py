"""aioquic: length-prefixed messages on one bidirectional QUIC stream, on uvloop.

A batch is one write of many frames, as for the TLS streams. aioquic holds everything it is given until the peer's
window has room and tells the writer nothing, so the receiver says on a second stream how much it has taken and the
sender keeps at most 2 MiB on the way. The windows are of 16 MiB, and datagrams of 16 KiB, which loopback carries
whole, instead of the 1,200 bytes of the internet: a quarter of the CPU time. Larger ones ended the connection.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived

from scripts.bench.credentials import SERVER_NAME
from scripts.bench.framing import Splitter, frame, frame_many

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

LOOP = "uvloop"
ENCRYPTED = True
PACKAGES = ("aioquic", "uvloop")
WINDOW = 16 * 1024 * 1024
ON_THE_WAY = 2 * 1024 * 1024
TAKEN_STEP = 256 * 1024
DATAGRAM = 16 * 1024
_MESSAGES = 0
_TOTAL = struct.Struct("!Q")


class StreamLink(QuicConnectionProtocol):  # type: ignore[misc]
    """A link that is the protocol of its connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._splitter = Splitter()
        self._taken_splitter = Splitter()
        self._ready: deque[bytes] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._sender: asyncio.Future[None] | None = None
        self._sent = self._acknowledged = self._taken = self._told = 0
        # The first one-way stream of a client is number 2, that of a server 3.
        self._own_stream = 2 if self._quic.configuration.is_client else 3
        self._ended = False

    def quic_event_received(self, event: Any) -> None:
        """Take what came."""
        if isinstance(event, StreamDataReceived):
            if not self.opened.done():
                self.opened.set_result(None)
            if event.stream_id == _MESSAGES:
                self._ready += self._splitter.split(event.data)
                self._taken += len(event.data)
            else:
                for total in self._taken_splitter.split(event.data):
                    (self._acknowledged,) = _TOTAL.unpack(total)
        elif isinstance(event, ConnectionTerminated):
            self._ended = True
        for waiting in (self._reader, self._sender):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    async def send(self, message: bytes) -> None:
        """Write one message by itself."""
        await self._write(frame(message))

    async def send_many(self, messages: list[bytes]) -> None:
        """Write all messages, many at a time."""
        for data in frame_many(messages):
            await self._write(data)

    async def receive(self) -> bytes:
        """Return the next message."""
        await self._wait_ready()
        return self._ready.popleft()

    async def receive_many(self) -> list[bytes]:
        """Return every complete message that is here; wait for at least one."""
        await self._wait_ready()
        messages = list(self._ready)
        self._ready.clear()
        return messages

    async def _wait_ready(self) -> None:
        if self._taken - self._told >= TAKEN_STEP:
            self._told = self._taken
            self._quic.send_stream_data(self._own_stream, frame(_TOTAL.pack(self._taken)))
            self.transmit()
        while not self._ready:
            if self._ended:
                raise EOFError("the connection ended inside a figure")
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader

    async def _write(self, data: bytes) -> None:
        self._quic.send_stream_data(_MESSAGES, data)
        self.transmit()
        self._sent += len(data)
        while self._sent - self._acknowledged > ON_THE_WAY:
            if self._ended:
                raise EOFError("the connection ended inside a figure")
            self._sender = asyncio.get_running_loop().create_future()
            await self._sender


def _configure(side: Side) -> Any:
    configuration = QuicConfiguration(
        is_client=side.role == "client",
        alpn_protocols=["bench"],
        max_data=WINDOW,
        max_stream_data=WINDOW,
        max_datagram_size=DATAGRAM,
        server_name=SERVER_NAME,
    )
    if side.role == "server":
        configuration.load_cert_chain(side.credentials / "certificate.pem", side.credentials / "key.pem")
    else:
        configuration.load_verify_locations(str(side.credentials / "certificate.pem"))
    return configuration


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides; the client's first byte on a stream is what opens it at the server."""
    hello = b"hello"
    if side.role == "client":
        port = (await side.address()).port
        async with connect(
            "127.0.0.1", port, configuration=_configure(side), create_protocol=StreamLink
        ) as connection:
            await connection.send(hello)
            yield connection
        return
    first: asyncio.Future[StreamLink] = asyncio.get_running_loop().create_future()

    def make(*arguments: Any, **named: Any) -> StreamLink:
        link = StreamLink(*arguments, **named)
        first.set_result(link)
        return link

    server = await serve("127.0.0.1", 0, configuration=_configure(side), create_protocol=make)
    side.announce(server._transport.get_extra_info("sockname")[1])  # noqa: SLF001 - it has no public name
    link = await first
    await link.receive()
    yield link
    server.close()
