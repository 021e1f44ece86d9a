"""TLS 1.3 on asyncio's streams with the standard library's `ssl`.

Reads are of up to `READ_SIZE`, and `drain` follows every write, as the documentation asks. Further connections are
accepted beside the first.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from scripts.bench.credentials import SERVER_NAME, tls_context
from scripts.bench.framing import READ_SIZE, FramedLink

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

LOOP = "asyncio"
ENCRYPTED = True
KINDS = frozenset({"one_way", "ping_pong", "open", "idle"})
BACKLOG = 4096


class StreamLink(FramedLink):
    """A link over a pair of streams, whose client can open more like it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        port: int,
        context: ssl.SSLContext,
    ) -> None:
        super().__init__(self._write_all, lambda: reader.read(READ_SIZE))
        self._writer = writer
        self._port = port
        self._context = context

    async def _write_all(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    @asynccontextmanager
    async def open_session(self) -> AsyncIterator[object]:
        """Open one more connection at the client."""
        _reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, server_hostname=SERVER_NAME
        )
        try:
            yield writer
        finally:
            writer.close()


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides and do the handshake."""
    context = tls_context(side.credentials, side.role)
    if side.role == "client":
        port = (await side.address()).port
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=SERVER_NAME
        )
        yield StreamLink(reader, writer, port, context)
        writer.close()
        return
    first: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = (
        asyncio.get_running_loop().create_future()
    )
    held: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not first.done():
            first.set_result((reader, writer))
            return
        held.add(writer)
        await reader.read(1)  # nothing comes but the end
        held.discard(writer)
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context, backlog=BACKLOG) as server:
        side.announce(server.sockets[0].getsockname()[1])
        reader, writer = await first
        yield StreamLink(reader, writer, 0, context)
        writer.close()
