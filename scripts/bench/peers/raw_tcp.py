"""Blocking TCP without encryption: what the machine can do."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from scripts.bench.framing import READ_SIZE, FramedLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

LOOP = "blocking"
ENCRYPTED = False


async def connect(side: Side) -> socket.socket:
    """Return this side's end of a loopback connection with `TCP_NODELAY`."""
    if side.role == "server":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            side.announce(listener.getsockname()[1])
            connection, _ = listener.accept()
    else:
        connection = socket.create_connection(("127.0.0.1", (await side.address()).port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def blocking_link(connection: socket.socket) -> Link:
    """Return a link over a blocking socket; its coroutines never suspend."""

    async def write(data: bytes) -> None:
        connection.sendall(data)

    async def read() -> bytes:
        return connection.recv(READ_SIZE)

    return FramedLink(write, read)


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides."""
    with await connect(side) as connection:
        yield blocking_link(connection)
