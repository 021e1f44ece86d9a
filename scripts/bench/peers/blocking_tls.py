"""Blocking TLS 1.3 with the standard library: the load of section 22 without RTT."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from scripts.bench.credentials import SERVER_NAME, tls_context
from scripts.bench.peers.raw_tcp import blocking_link, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

LOOP = "blocking"
ENCRYPTED = True


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides and do the handshake."""
    server = side.role == "server"
    context = tls_context(side.credentials, side.role)
    connection = await connect(side)
    with context.wrap_socket(
        connection, server_side=server, server_hostname=None if server else SERVER_NAME
    ) as secured:
        yield blocking_link(secured)
