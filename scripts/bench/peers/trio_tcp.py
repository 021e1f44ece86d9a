"""TCP on Trio without encryption."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from scripts.bench.framing import READ_SIZE, FramedLink
from scripts.bench.peers import raw_tcp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

LOOP = "trio"
ENCRYPTED = False


async def connect(side: Side) -> trio.SocketStream:
    """Return this side's end of a loopback connection (Trio sets `TCP_NODELAY`)."""
    return trio.SocketStream(trio.socket.from_stdlib_socket(await raw_tcp.connect(side)))


def stream_link(stream: trio.abc.Stream) -> Link:
    """Return a link over a Trio stream."""
    return FramedLink(stream.send_all, lambda: stream.receive_some(READ_SIZE))


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides."""
    async with await connect(side) as stream:
        yield stream_link(stream)
