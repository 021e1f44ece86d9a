"""TLS 1.3 on Trio with the standard library's `ssl`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from scripts.bench.credentials import SERVER_NAME, tls_context
from scripts.bench.peers.trio_tcp import connect, stream_link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

LOOP = "trio"
ENCRYPTED = True


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides and do the handshake."""
    server = side.role == "server"
    stream = trio.SSLStream(
        await connect(side),
        tls_context(side.credentials, side.role),
        server_side=server,
        server_hostname=None if server else SERVER_NAME,
        https_compatible=True,  # the other side may be gone when we say goodbye
    )
    await stream.do_handshake()
    async with stream:
        yield stream_link(stream)
