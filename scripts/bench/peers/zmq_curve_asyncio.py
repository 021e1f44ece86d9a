"""pyzmq with CURVE on asyncio (`zmq.asyncio`), run by uvloop.

A batch is one message of many parts, the only way to hand over several with one await.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import zmq.asyncio

from scripts.bench.peers.zmq_sockets import PACKAGES as _PACKAGES
from scripts.bench.peers.zmq_sockets import VERSIONS, open_socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

__all__ = ["ENCRYPTED", "LOOP", "PACKAGES", "VERSIONS", "open_link"]

LOOP = "uvloop"
ENCRYPTED = True
PACKAGES = (*_PACKAGES, "uvloop")


class SocketLink:
    """A link over a socket."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def send(self, message: bytes) -> None:
        """Hand over one message."""
        await self._socket.send(message, copy=False)

    async def send_many(self, messages: list[bytes]) -> None:
        """Hand over the batch as one message of many parts."""
        await self._socket.send_multipart(messages, copy=False)

    async def receive(self) -> bytes:
        """Return the next message."""
        message: bytes = await self._socket.recv()
        return message

    async def receive_many(self) -> list[bytes]:
        """Return the parts of the next message."""
        messages: list[bytes] = await self._socket.recv_multipart()
        return messages


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides."""
    with zmq.asyncio.Context() as context:
        async with open_socket(side, context) as socket:
            yield SocketLink(socket)
