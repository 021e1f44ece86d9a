"""TLS 1.3 on uvloop, by a buffered protocol and its transport: what an asyncio program has for speed.

TLS decrypts into the protocol's own buffer and messages are cut out of that, one copy each. Writes wait while the
transport's buffer is above its high-water mark (256 KiB), and reading pauses while the receiver has a mebibyte to do.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from scripts.bench.credentials import SERVER_NAME, tls_context
from scripts.bench.framing import frame, frame_many

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

LOOP = "uvloop"
ENCRYPTED = True
PACKAGES = ("uvloop",)
HIGH_WATER = 256 * 1024
INBOX_BYTES = 1024 * 1024
BUFFER = 256 * 1024
"""Room for the largest message of a figure, and for what TLS reads at once."""
_HEADER = struct.Struct("!I")


class ProtocolLink(asyncio.BufferedProtocol):
    """A link that is the protocol of its connection."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.connected: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._ready: deque[bytes] = deque()
        self._bytes = 0
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._full = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self.connected.set_result(None)

    def connection_lost(self, _error: Exception | None) -> None:
        """Wake whoever waits."""
        self._ended = True
        self.resume_writing()
        self._wake_reader()

    def get_buffer(self, _hint: int) -> memoryview:
        """Return where the next bytes belong."""
        return self._view[self._filled :]

    def buffer_updated(self, count: int) -> None:
        """Cut messages out of what came."""
        assert self._transport is not None
        at, end = 0, self._filled + count
        while at + 4 <= end:
            (length,) = _HEADER.unpack_from(self._buffer, at)
            if at + 4 + length > end:
                break
            self._ready.append(bytes(self._view[at + 4 : at + 4 + length]))
            at += 4 + length
        if at:
            self._view[: end - at] = self._view[at:end]
        self._filled = end - at
        self._bytes += count
        if self._bytes > INBOX_BYTES:
            self._transport.pause_reading()
        if self._ready:
            self._wake_reader()

    def pause_writing(self) -> None:
        """Have the writers wait."""
        self._full = True

    def resume_writing(self) -> None:
        """Let them go on."""
        self._full = False
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    async def send(self, message: bytes) -> None:
        """Write one message by itself."""
        await self._write(frame(message))

    async def send_many(self, messages: list[bytes]) -> None:
        """Write all messages, many at a time."""
        for data in frame_many(messages):
            await self._write(data)

    async def receive(self) -> bytes:
        """Return the next message."""
        if not self._ready:
            await self._wait()
        message = self._ready.popleft()
        if not self._ready:
            self._emptied()
        return message

    async def receive_many(self) -> list[bytes]:
        """Return every complete message that is here; wait for at least one."""
        if not self._ready:
            await self._wait()
        messages = list(self._ready)
        self._ready.clear()
        self._emptied()
        return messages

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    async def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)
        if self._full:
            self._writer = self._loop.create_future()
            await self._writer

    async def _wait(self) -> None:
        while not self._ready:
            if self._ended:
                raise EOFError("the stream ended inside a figure")
            self._reader = self._loop.create_future()
            await self._reader

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _emptied(self) -> None:
        assert self._transport is not None
        if self._bytes > INBOX_BYTES:
            self._transport.resume_reading()
        self._bytes = 0


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides and do the handshake."""
    loop = asyncio.get_running_loop()
    context = tls_context(side.credentials, side.role)
    if side.role == "client":
        port = (await side.address()).port
        _transport, link = await loop.create_connection(
            ProtocolLink, "127.0.0.1", port, ssl=context, server_hostname=SERVER_NAME
        )
        yield link
        link.close()
        return
    link = ProtocolLink()
    async with await loop.create_server(lambda: link, "127.0.0.1", 0, ssl=context) as server:
        side.announce(server.sockets[0].getsockname()[1])
        await link.connected
        yield link
        link.close()
