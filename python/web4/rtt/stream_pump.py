"""A pump for streams without a descriptor: it reads and writes them through their methods (RTT-60, RTT-61, RTT-66)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from web4.rtt.bursts import BurstingPump
from web4.rtt.opening import FAREWELL, READ_BYTES
from web4.rtt.pump import now
from web4.rtt.status import BLOCKED

if TYPE_CHECKING:
    from web4.rtt.channel import Channel
    from web4.rtt.session import RttSession

_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class StreamPump(BurstingPump):
    """Does for any `trio.abc.Stream` what `Pump` does for a socket, and has the same face.

    One task reads, and gives what arrives to the native session. Another one writes while there is something to write:
    it takes at most 64 KiB, and the native session hands out no more before that is written, so that control never
    waits behind more than that and what is encrypted already (RTT-21).
    """

    def __init__(self, session: RttSession, stream: trio.abc.Stream, *, nursery: trio.Nursery) -> None:
        super().__init__(session, nursery)
        self._stream = stream
        self.stream: trio.abc.Stream = stream
        """What it reads and writes."""
        self._reading = trio.CancelScope()
        self._writing = trio.CancelScope()
        self._written = trio.Event()
        self._written.set()
        self._broken = False
        self._farewell: list[bytes] = []
        self.draining = False
        """Whether a task writes."""

    async def run(self) -> None:
        """Read until the pump is closed; then say the last words and close the stream.

        A carrier that breaks is reported like one that ends. Cancelled, it still closes the stream, within `FAREWELL`
        seconds.
        """
        try:
            with self._reading:
                await self._read()
        except BaseException:
            self._session.abort("cancelled")
            raise
        finally:
            self.close()
            with trio.CancelScope(shield=True):
                await self._end()

    async def _read(self) -> None:
        self.advance()
        while not self.closed:
            try:
                data = await self._stream.receive_some(READ_BYTES)
            except _BROKEN:
                data = b""
            if self.closed:
                return
            if data:
                self.link.feed(bytes(data))
            else:
                self.link.feed_end()
            self.advance()

    async def _end(self) -> None:
        with trio.move_on_after(FAREWELL):
            await self._written.wait()
            if self._farewell and not self._broken:
                with suppress(*_BROKEN):
                    for data in self._farewell:
                        await self._stream.send_all(data)
        await trio.aclose_forcefully(self._stream)

    def advance(self) -> None:
        """Take in what was read, do what is due, write what follows from it."""
        self._session.react(self.link.advance(now()))
        self._session.arm()

    # One task reads here whatever happens: nobody leads, and nobody has to be found.

    takes_leader = False

    async def lead(self, channel: Channel) -> None:
        """Not possible here, as `takes_leader` says."""
        raise RuntimeError("one task reads a stream without a descriptor, and nobody else")

    def dismiss(self, channel: Channel) -> None:
        """`channel` has news; nobody leads who could leave for it."""

    def attend(self) -> None:
        """Somebody begins to wait for something of the session; somebody reads already."""

    def drain(self) -> None:
        """There is something to write."""
        if not self.draining and not self.closed and not self._broken:
            self.draining = True
            self._written = trio.Event()
            self._nursery.start_soon(self._drain)

    async def _drain(self) -> None:
        try:
            # Only `close` ends a write, after a while: cut in the middle, it would spoil the last words.
            with trio.CancelScope(shield=True) as self._writing:
                while not self.closed:
                    data, status = self.link.take_output()
                    if status & ~BLOCKED:
                        # Room in the queues is news, even while the stream takes only a little at a time.
                        self._session.react(status & ~BLOCKED)
                    if not data:
                        break
                    # Also when that news has closed the pump: the last words come after this.
                    await self._stream.send_all(data)
        except _BROKEN:
            # Nothing more goes out. What can still be read says why.
            self._broken = True
        finally:
            self._broken |= self._writing.cancelled_caught
            self.draining = False
            self._written.set()

    def leave(self) -> None:
        """Leave the carrier: `run` closes the stream once the last words are said, or `FAREWELL` is over."""
        if not self.closed:
            self.closed = True
            self.leave_bursts()
            self._farewell = self.link.take_farewell()
            self._writing.deadline = trio.current_time() + FAREWELL
            self._reading.cancel()
