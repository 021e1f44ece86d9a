"""pyzmq with CURVE, blocking.

There is no call for many messages: a batch is a loop of `send` and of `recv(NOBLOCK)`. As one message of many parts
it was half as fast.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import zmq

from scripts.bench.peers.zmq_sockets import PACKAGES, VERSIONS, open_socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.link import Link
    from scripts.bench.side import Side

__all__ = ["ENCRYPTED", "KINDS", "LOOP", "PACKAGES", "VERSIONS", "open_link"]

LOOP = "blocking"
ENCRYPTED = True
KINDS = frozenset({"one_way", "ping_pong", "resets", "stall"})
AT_ONCE = 256


class SocketLink:
    """A link over a socket."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket

    async def send(self, message: bytes) -> None:
        """Hand over one message."""
        self._socket.send(message, copy=False)

    async def send_many(self, messages: list[bytes]) -> None:
        """Hand over each message."""
        send = self._socket.send
        for message in messages:
            send(message, copy=False)

    async def receive(self) -> bytes:
        """Return the next message."""
        message: bytes = self._socket.recv()
        return message

    async def receive_many(self) -> list[bytes]:
        """Wait for one message and return what else is here."""
        receive = self._socket.recv
        messages = [receive()]
        try:
            while len(messages) < AT_ONCE:
                messages.append(receive(zmq.NOBLOCK))
        except zmq.Again:
            pass
        return messages


@asynccontextmanager
async def open_link(side: Side) -> AsyncIterator[Link]:
    """Connect both sides."""
    with zmq.Context() as context:
        async with open_socket(side, context) as socket:
            yield SocketLink(socket)
