"""The node's end of a worker's socket: frames out and in, never blocking, with a bound on everything (EXT-14)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from web4.worker.frames import HEADER, Frame, FrameError, FrameReader, encode, length_of

if TYPE_CHECKING:
    import socket

READ: Final = 64 * 1024
"""Bytes read at once."""
CHARGE: Final = 64
"""Bytes that a frame counts for beside its own: many small ones cost the node more than a large one."""


class BacklogError(FrameError):
    """The other end asks and does not read what it is answered."""


class WireEndedError(Exception):
    """The other end is closed. `unread` says that it went without having read all that was sent."""

    def __init__(self, *, unread: bool) -> None:
        super().__init__("the worker's socket has ended")
        self.unread = unread


class Wire:
    """Sends and receives frames. One task receives; any may send.

    Args:
        end: Non-blocking.
        limit: Bytes of the largest frame.
    """

    __slots__ = (
        "_end",
        "_flushing",
        "_limit",
        "_out",
        "_reader",
        "_recv",
        "_send",
        "_whole",
        "ahead",
        "received",
        "sent",
    )

    def __init__(self, end: socket.socket, limit: int) -> None:
        self._end = end
        # Looked up once: a short call is little more than these two.
        self._send, self._recv = end.send, end.recv
        self._limit = limit
        self._whole = limit + HEADER
        self._reader = FrameReader(limit)
        self._out = bytearray()
        self._flushing = False
        self.ahead = 0
        """Bytes that were read and belong to no frame that was taken."""
        self.received = 0
        """Bytes that count against `output_bytes`, in all."""
        self.sent = 0
        """Frames, in all."""

    @property
    def flushing(self) -> bool:
        """Whether a task sends on what waits."""
        return self._flushing

    @property
    def waiting(self) -> int:
        """Bytes that the socket has not taken yet."""
        return len(self._out)

    def send(self, frame: Frame) -> bool:
        """Send a frame, or queue it behind others; whether all is gone.

        Raises:
            FrameError: It is too long, or holds what msgpack cannot say. Nothing was sent.
            WireEndedError: Nobody reads any more.
        """
        data = encode(frame, limit=self._limit)
        self.sent += 1
        if self._out:
            self._out += data
            return self.flush()
        try:
            count = self._send(data)
        except (BlockingIOError, InterruptedError):
            count = 0
        except OSError:
            raise WireEndedError(unread=True) from None
        if count == len(data):
            return True
        self._out += memoryview(data)[count:]
        return False

    def flush(self) -> bool:
        """Send on what waits, as far as it goes; whether all is gone.

        Raises:
            WireEndedError: Nobody reads any more.
        """
        out = self._out
        try:
            while out:
                with memoryview(out) as view:
                    count = self._end.send(view)
                del out[:count]
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            raise WireEndedError(unread=True) from None
        return True

    async def flushed(self) -> None:
        """Send on until nothing waits, unless another task does already.

        What ended the socket is told to the one who reads, not here.
        """
        if self._flushing:
            return
        self._flushing = True
        try:
            while not self.flush():
                with suppress(trio.ClosedResourceError):  # see `wake`
                    await trio.lowlevel.wait_writable(self._end)
        except WireEndedError:
            self._out.clear()
        finally:
            self._flushing = False

    def next(self) -> bytes | None:
        """The body of the next frame that has arrived whole; None until more is read.

        Raises:
            FrameError: It is longer than the limit, or empty.
        """
        body = self._reader.next()
        self.ahead = len(self._reader)
        if body is not None:
            self.received += CHARGE
        return body

    def read(self) -> bytes | None:
        """Read what is there. The body of the first frame that is whole; None if none is, or nothing was there.

        Raises:
            WireEndedError: Nothing is there, nor will be.
            FrameError: As `next`.
        """
        try:
            data = self._recv(READ)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise WireEndedError(unread=isinstance(error, ConnectionError)) from None
        if not data:
            raise WireEndedError(unread=False)
        length = len(data)
        self.received += length
        if not self.ahead and HEADER < length <= self._whole and length_of(data) == length - HEADER:
            self.received += CHARGE
            return data[HEADER:]  # nearly always: a frame, whole and alone
        self._reader.feed(data)
        self.ahead = 1  # until `next` has counted: a refusal leaves it like this
        return self.next()

    async def readable(self) -> None:
        """Wait until there may be something to read, or until somebody calls `wake`.

        Raises:
            WireEndedError: The socket was closed on this side.
        """
        try:
            await trio.lowlevel.wait_readable(self._end)
        except trio.ClosedResourceError:
            if self._end.fileno() < 0:
                raise WireEndedError(unread=False) from None
        except (OSError, ValueError):
            raise WireEndedError(unread=False) from None

    def wake(self) -> None:
        """Let the task that waits in `readable` go on. It is cheaper than a cancel scope around each wait."""
        if self._end.fileno() >= 0:
            trio.lowlevel.notify_closing(self._end)
