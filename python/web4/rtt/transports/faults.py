"""What can go wrong with a byte stream, done on purpose: pieces, cuts, half-closes and stalls (RTT-67, RTT-69)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

import trio

from web4.rtt.transports.pipe import OneAtATime, checked_most

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_AT_ONCE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Break:
    """Where one direction of a stream ends, and how.

    `cut`: both directions break, and the other end sees the stream end without a word. `end`: this direction ends as
    by a half-close. `stall`: nothing more passes in this direction, and nothing says so.
    """

    after: int
    """Bytes that still pass."""
    then: Literal["cut", "end", "stall"] = "cut"


@dataclass(frozen=True, slots=True)
class Faults:
    """What one end of a stream suffers. Without any argument: nothing, but it is no socket to the core any more."""

    chunks: tuple[int, int] | None = None
    """Fewest and most bytes that are read or written at once, drawn anew each time."""
    seed: int = 0
    """For what is drawn: equal seeds give equal pieces."""
    sending: Break | None = None
    receiving: Break | None = None

    def __post_init__(self) -> None:
        if self.chunks is not None and not 1 <= self.chunks[0] <= self.chunks[1]:
            raise ValueError(f"chunks are at least one byte, and fewest comes before most: {self.chunks}")
        for direction in (self.sending, self.receiving):
            if direction is not None and direction.after < 0:
                raise ValueError(f"a stream breaks after 0 bytes or more, not after {direction.after}")


class FaultyStream(trio.abc.HalfCloseableStream):
    """A stream that suffers `Faults`. Otherwise it is the stream that it is given, which it owns."""

    def __init__(self, stream: trio.abc.Stream, faults: Faults) -> None:
        self.stream = stream
        self.sent = 0
        """Bytes that this end has written."""
        self.received = 0
        """Bytes that this end has read."""
        self._faults = faults
        self._random = random.Random(faults.seed)  # noqa: S311 - repeatable on purpose
        self._cut = False
        self._closed = trio.Event()
        self._sending = OneAtATime("another task is sending")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream.send_all`."""
        with self._sending, memoryview(data) as view:
            await self._check()
            limit = self._faults.sending
            done = 0
            while done < len(view):
                size = self._piece()
                if limit is not None:
                    # Where exactly is the point: the last bytes before it still pass.
                    size = min(size, limit.after - self.sent)
                if size:
                    with _Translated(self), view[done : done + size] as piece:
                        await self.stream.send_all(piece)
                        done += len(piece)
                        self.sent += len(piece)
                if limit is not None and self.sent >= limit.after:
                    await self._break_sending(limit)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream.receive_some`."""
        most = checked_most(max_bytes)
        await self._check()
        limit = self._faults.receiving
        size = min(self._piece(), most)
        if limit is not None:
            if self.received >= limit.after:
                return await self._break_receiving(limit)
            size = min(size, limit.after - self.received)
        with _Translated(self):
            data = await self.stream.receive_some(size)
        self.received += len(data)
        if limit is not None and limit.then == "cut" and self.received >= limit.after:
            # At once, not when somebody reads on: the other end learns of it, too.
            await self._break()
        return data

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream.send_eof`."""
        with self._sending:
            await self._check()
            await _half_close(self.stream)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream.wait_send_all_might_not_block`."""
        await self._check()
        with _Translated(self):
            await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource.aclose`."""
        self._closed.set()
        await self.stream.aclose()

    async def _check(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._closed.is_set():
            raise trio.ClosedResourceError
        if self._cut:
            raise trio.BrokenResourceError("cut on purpose")

    def _piece(self) -> int:
        return MOST_AT_ONCE if self._faults.chunks is None else self._random.randint(*self._faults.chunks)

    async def _break(self) -> None:
        self._cut = True
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self.stream)

    async def _break_sending(self, limit: Break) -> NoReturn:
        if limit.then == "stall":
            await self._closed.wait()
            raise trio.ClosedResourceError
        if limit.then == "end":
            await _half_close(self.stream)
        else:
            await self._break()
        raise trio.BrokenResourceError("cut on purpose")

    async def _break_receiving(self, limit: Break) -> bytes:
        if limit.then == "stall":
            await self._closed.wait()
            raise trio.ClosedResourceError
        if limit.then == "end":
            return b""
        await self._break()
        raise trio.BrokenResourceError("cut on purpose")

    @property
    def cut(self) -> bool:
        """Whether it was cut."""
        return self._cut


class _Translated:
    """Closed by a cut is broken, not closed: whoever uses the stream did not close it."""

    def __init__(self, stream: FaultyStream) -> None:
        self._stream = stream

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, trio.ClosedResourceError) and self._stream.cut:
            raise trio.BrokenResourceError("cut on purpose") from None


async def _half_close(stream: trio.abc.Stream) -> None:
    if not isinstance(stream, trio.abc.HalfCloseableStream):
        raise TypeError(f"a {type(stream).__name__} cannot be half-closed")
    await stream.send_eof()


def suffering(stream: trio.abc.Stream, plan: Iterator[Faults | None]) -> trio.abc.Stream:
    """The stream with the next faults of a plan; itself, when the plan has None, or is over."""
    faults = next(plan, None)
    return stream if faults is None else FaultyStream(stream, faults)
