"""The baselines' framing: a 4-byte big-endian length before each message."""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

READ_SIZE = 65536
"""Below the size from which glibc maps a fresh buffer for every read, which halves the rate and more."""
WRITE_SIZE = 96 * 1024
"""Likewise for what is written."""
_HEADER = struct.Struct("!I")


def frame(message: bytes) -> bytes:
    """Return the message with its length before it."""
    return _HEADER.pack(len(message)) + message


def frame_many(messages: list[bytes]) -> list[bytes]:
    """Return all messages, each with its length before it, as few buffers of at most `WRITE_SIZE`, or one message."""
    if sum(map(len, messages)) + 4 * len(messages) <= WRITE_SIZE:
        return [_join(messages)]
    if len(messages) == 1:
        return [_join(messages)]
    middle = len(messages) // 2
    return [*frame_many(messages[:middle]), *frame_many(messages[middle:])]


def _join(messages: list[bytes]) -> bytes:
    parts: list[bytes] = []
    for message in messages:
        parts += (_HEADER.pack(len(message)), message)
    return b"".join(parts)


class Splitter:
    """Cuts messages out of a byte stream. Bytes of a message that is not complete wait unjoined."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._missing = 0

    def split(self, data: bytes) -> list[bytes]:
        """Return the messages that these further bytes complete."""
        if len(data) < self._missing:
            self._parts.append(data)
            self._missing -= len(data)
            return []
        if self._parts:
            data = b"".join((*self._parts, data))
        messages: list[bytes] = []
        at, end, need = 0, len(data), 4
        while at + 4 <= end:
            (length,) = _HEADER.unpack_from(data, at)
            if at + 4 + length > end:
                need = 4 + length
                break
            messages.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        self._parts = [data[at:]]
        self._missing = need - (end - at)
        return messages


class FramedLink:
    """A link over two coroutines that write everything, and read something, of a byte stream."""

    def __init__(
        self, write: Callable[[bytes], Awaitable[object]], read: Callable[[], Awaitable[bytes | bytearray]]
    ) -> None:
        self._write = write
        self._read = read
        self._splitter = Splitter()
        self._ready: deque[bytes] = deque()

    async def send(self, message: bytes) -> None:
        """Write one message by itself."""
        await self._write(frame(message))

    async def send_many(self, messages: list[bytes]) -> None:
        """Write all messages, many at a time."""
        for data in frame_many(messages):
            await self._write(data)

    async def receive(self) -> bytes:
        """Return the next message; the stream is read only when none is left of the last read."""
        while not self._ready:
            await self._fill()
        return self._ready.popleft()

    async def receive_many(self) -> list[bytes]:
        """Return every complete message that is here; wait for at least one."""
        while not self._ready:
            await self._fill()
        messages = list(self._ready)
        self._ready.clear()
        return messages

    async def _fill(self) -> None:
        data = await self._read()
        if not data:
            raise EOFError("the stream ended inside a figure")
        self._ready += self._splitter.split(bytes(data))
