"""The baselines' framing: a 4-byte big-endian length before each message."""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

READ_SIZE = 65536
"""Below the size from which glibc maps a fresh buffer for every read, which halves the rate and more."""
_HEADER = struct.Struct("!I")


def frame(message: bytes) -> bytes:
    """Return the message with its length before it."""
    return _HEADER.pack(len(message)) + message


def frame_many(messages: list[bytes]) -> bytes:
    """Return all messages, each with its length before it, as one buffer."""
    parts: list[bytes] = []
    for message in messages:
        parts += (_HEADER.pack(len(message)), message)
    return b"".join(parts)


class Splitter:
    """Cuts messages out of a byte stream."""

    def __init__(self) -> None:
        self._rest = b""

    def split(self, data: bytes | bytearray) -> list[bytes]:
        """Return the messages that these further bytes complete."""
        data = self._rest + data
        messages = []
        at, end = 0, len(data)
        while at + 4 <= end:
            (length,) = _HEADER.unpack_from(data, at)
            if at + 4 + length > end:
                break
            messages.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        self._rest = data[at:]
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
        """Write all messages by one call."""
        await self._write(frame_many(messages))

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
        self._ready += self._splitter.split(data)
