"""What a peer is to the harness: a module that opens a `Link` at either side.

A peer module has `LOOP` (`"blocking"` or `"trio"`), `ENCRYPTED`, and `open_link(side)`, an async context manager.
The loads are written once, as coroutines. A blocking peer's coroutines never suspend, so they run without a
loop, at the price of a coroutine call per message.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import msgspec
import trio

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

T = TypeVar("T")


class Link(Protocol):
    """Whole messages over one connection, in order."""

    async def send(self, message: bytes) -> None:
        """Hand over one message."""

    async def send_many(self, messages: list[bytes]) -> None:
        """Hand over a batch by one call."""

    async def receive(self) -> bytes:
        """Wait for the next message."""

    async def receive_many(self) -> list[bytes]:
        """Wait for one message and return every one that is here."""


class Side:
    """One of the two processes: its role, and its pipe to the parent (one JSON value a line)."""

    def __init__(self, role: Literal["server", "client"], *, on_trio: bool, credentials: Path) -> None:
        self.role = role
        self.on_trio = on_trio
        self.credentials = credentials
        self._buffer = b""
        self._output = os.dup(1)
        os.dup2(2, 1)  # a stray print must not look like a report

    async def read(self, kind: type[T]) -> T | None:
        """Return the parent's next line, or None when it closed the pipe."""
        while b"\n" not in self._buffer:
            if self.on_trio:
                await trio.lowlevel.wait_readable(sys.stdin.fileno())
            data = os.read(sys.stdin.fileno(), 65536)
            if not data:
                return None
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return msgspec.json.decode(line, type=kind)

    def write(self, value: object) -> None:
        """Send one line to the parent."""
        os.write(self._output, msgspec.json.encode(value) + b"\n")

    def announce(self, address: str) -> None:
        """Tell the client, through the parent, how to reach this server."""
        self.write(address)

    async def address(self) -> str:
        """Return what the server announced."""
        address = await self.read(str)
        if address is None:
            raise EOFError("the parent went away before the server was up")
        return address


class Peer(Protocol):
    """The names a peer module has."""

    LOOP: Literal["blocking", "trio"]
    ENCRYPTED: bool

    @staticmethod
    def open_link(side: Side) -> AbstractAsyncContextManager[Link]:
        """Connect this side, authenticated if the peer is; leaving the block disconnects."""
