"""Splitting a stream of bytes into lines, within bounds: on the byte 0x0A alone (NDJ-11, NDJ-17)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.doors.control.wire import LINE_BYTES

if TYPE_CHECKING:
    import trio

_PIECE: Final = 65_536
PATIENCE: Final = 8
"""A line that is so many times longer than the limit closes its connection."""


class Lines:
    """The lines of a stream.

    Args:
        stream: Where bytes come from.
        limit: Bytes that a line may have, without its end.
    """

    def __init__(self, stream: trio.abc.ReceiveStream, *, limit: int = LINE_BYTES) -> None:
        self._stream = stream
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._skipped = 0

    async def next(self) -> bytes | None:
        """The next line without its end, or None at the end of the stream; b"" may be a blank one.

        Raises:
            LineTooLong: At the end of a line that was discarded as it came; the next call goes on after it.
            trio.BrokenResourceError: The other end is gone, or sent a line of more than eight times the limit.
        """
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                length, self._skipped = self._skipped + len(line), 0
                if length > PATIENCE * self._limit:
                    raise EndlessLine
                if length > self._limit:
                    raise LineTooLong(self._limit)
                return line
            self._searched = len(self._buffer)
            if self._searched > self._limit:
                self._skipped += self._searched
                self._buffer.clear()
                self._searched = 0
                if self._skipped > PATIENCE * self._limit:
                    raise EndlessLine
            piece = await self._stream.receive_some(_PIECE)
            if not piece:
                return None  # what has no end is no line
            self._buffer += piece


class LineTooLong(Exception):  # noqa: N818 - it becomes a response
    """A line was longer than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"line_too_long: limit {limit}")


class EndlessLine(Exception):  # noqa: N818 - it ends a connection
    """A line does not end."""
