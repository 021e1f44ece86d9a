"""A byte stream inside one process: bounded, in order, and as late as it is told to be."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

CAPACITY = 64 * 1024
"""Bytes that are sent and not read, before a sender waits."""


class OneAtATime:
    """Refuses a second task with `trio.BusyResourceError`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._held = False

    def __enter__(self) -> None:
        if self._held:
            raise trio.BusyResourceError(self._text)
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False


class _Direction:
    """What is under way in one direction."""

    def __init__(self, capacity: int, delay: Callable[[], float]) -> None:
        self._capacity = capacity
        self._delay = delay
        self._pieces: deque[tuple[float, memoryview]] = deque()
        self._held = 0
        self._latest = 0.0
        self._ends: float | None = None
        self._room = trio.lowlevel.ParkingLot()
        self._news = trio.lowlevel.ParkingLot()
        self.reader_gone = False
        self.cut = False

    @property
    def ended(self) -> bool:
        return self._ends is not None

    @property
    def is_full(self) -> bool:
        return self._held >= self._capacity

    def put(self, data: memoryview) -> int:
        """Take as much as there is room for; how much."""
        size = min(self._capacity - self._held, len(data))
        if size:
            self._pieces.append((self._due(), memoryview(bytes(data[:size]))))
            self._held += size
            self._news.unpark_all()
        return size

    def take(self, most: int) -> bytes | None:
        """What has arrived, empty at the end; None when nothing has, and more may."""
        now = trio.current_time()
        parts: list[memoryview] = []
        while most and self._pieces and self._pieces[0][0] <= now:
            due, piece = self._pieces.popleft()
            parts.append(piece[:most])
            if len(piece) > most:
                self._pieces.appendleft((due, piece[most:]))
            most -= len(parts[-1])
            self._held -= len(parts[-1])
        if parts:
            self._room.unpark_all()
            return b"".join(parts)
        over = not self._pieces and self._ends is not None and self._ends <= now
        return b"" if over else None

    async def wait_for_room(self) -> None:
        await self._room.park()

    async def wait_for_news(self) -> None:
        arrives = self._pieces[0][0] if self._pieces else self._ends
        with trio.move_on_at(float("inf") if arrives is None else arrives):
            await self._news.park()

    def end(self) -> None:
        if self._ends is None:
            self._ends = self._due()
            self.wake()

    def abandon(self) -> None:
        """Nobody reads any more."""
        self.reader_gone = True
        self._pieces.clear()
        self.wake()

    def wake(self) -> None:
        self._room.unpark_all()
        self._news.unpark_all()

    def _due(self) -> float:
        self._latest = max(self._latest, trio.current_time() + self._delay())
        return self._latest


class PipeStream(trio.abc.HalfCloseableStream):
    """One end of a stream inside this process. Behaves as a socket does, but for `cut`."""

    def __init__(
        self, incoming: _Direction, outgoing: _Direction, forget: Callable[[PipeStream], None]
    ) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._forget = forget
        self._closed = False
        self._sending = OneAtATime("another task is sending on this stream")
        self._receiving = OneAtATime("another task is receiving from this stream")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream.send_all`. Cancelled, some of the data may have been sent."""
        with self._sending, memoryview(data) as view:
            await trio.lowlevel.checkpoint()
            self._check_sending()
            sent = 0
            while sent < len(view):
                with view[sent:] as rest:
                    size = self._outgoing.put(rest)
                sent += size
                if not size:
                    await self._outgoing.wait_for_room()
                    self._check_sending()

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_sending()
            while self._outgoing.is_full:
                await self._outgoing.wait_for_room()
                self._check_sending()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream.receive_some`. Cancelled, it has taken nothing."""
        most = checked_most(max_bytes)
        with self._receiving:
            await trio.lowlevel.checkpoint()
            while True:
                if self._closed:
                    raise trio.ClosedResourceError
                if self._incoming.cut:
                    raise trio.BrokenResourceError("the stream was cut")
                data = self._incoming.take(most)
                if data is not None:
                    return data
                await self._incoming.wait_for_news()

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream.send_eof`."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError
            self._outgoing.end()

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource.aclose`."""
        if not self._closed:
            self._closed = True
            self._outgoing.end()
            self._incoming.abandon()
            self._forget(self)
        await trio.lowlevel.checkpoint()

    def cut(self) -> None:
        """Break the stream for both ends, at once; what was under way is lost."""
        for direction in (self._incoming, self._outgoing):
            direction.cut = True
            direction.wake()

    def _check_sending(self) -> None:
        if self._closed or self._outgoing.ended:
            raise trio.ClosedResourceError
        if self._outgoing.cut:
            raise trio.BrokenResourceError("the stream was cut")
        if self._outgoing.reader_gone:
            raise trio.BrokenResourceError("the other end was closed")


def pipe_pair(
    capacity: int, delay: Callable[[], float], open_streams: set[PipeStream]
) -> tuple[PipeStream, PipeStream]:
    """Both ends of a stream. They are in `open_streams` until they are closed."""
    there, back = _Direction(capacity, delay), _Direction(capacity, delay)
    pair = (
        PipeStream(back, there, open_streams.discard),
        PipeStream(there, back, open_streams.discard),
    )
    open_streams.update(pair)
    return pair


def checked_most(max_bytes: int | None) -> int:
    """What `receive_some` reads at most, or the error that Trio's contract asks for."""
    if max_bytes is None:
        return CAPACITY
    if not isinstance(max_bytes, int):
        raise TypeError(f"max_bytes is a whole number or None, not {max_bytes!r}")
    if max_bytes < 1:
        raise ValueError(f"max_bytes is a number of bytes from 1 or None, not {max_bytes}")
    return max_bytes
