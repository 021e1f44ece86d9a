"""A pump: reads and writes one carrier of a session, for as long as that carrier lasts (RTT-60, RTT-61)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.lowlevel import wait_readable, wait_writable

from web4.rtt.status import BLOCKED

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4._core import SessionLink


class Pump:
    """Waits until the carrier can be read or written, and moves what there is.

    What comes of it is the session's business: it is told by `react`, with the status of a native call, and closes the
    pump when that status says that the carrier is over. A session has one pump per carrier, and none without one.
    """

    def __init__(
        self,
        link: SessionLink,
        stream: trio.SocketStream,
        *,
        nursery: trio.Nursery,
        react: Callable[[int], None],
        arm: Callable[[], None],
    ) -> None:
        self._link = link
        self._stream = stream
        self._nursery = nursery
        self._react = react
        self._arm = arm
        self.draining = False
        """Whether the socket took less than there was, and a task waits for it to take more."""
        self.closed = False
        """Whether the carrier was let go of. Nothing waits for it any more."""

    async def run(self) -> None:
        """Read until the pump is closed. A carrier that breaks is reported like one that ends."""
        try:
            self.advance()
            while not self.closed:
                await wait_readable(self._stream.socket)
                self.advance()
        except (trio.ClosedResourceError, OSError):
            if not self.closed:
                self._react(self._link.carrier_lost())

    def advance(self) -> None:
        """Read what is there, do what is due, write what follows from it."""
        self._react(self._link.advance(now()))
        self._arm()

    def drain(self) -> None:
        """The socket is full: write on when it takes more again."""
        if not self.draining and not self.closed:
            self.draining = True
            self._nursery.start_soon(self._drain)

    async def _drain(self) -> None:
        try:
            # The carrier may have ended before this task began, or between the socket's word and ours.
            while not self.closed:
                await wait_writable(self._stream.socket)
                status = self._link.write()
                if not status & BLOCKED:
                    break
                # Room in the queues is news, even while the socket takes only a little at a time.
                self._react(status)
            else:
                return
        except (trio.ClosedResourceError, OSError):
            return
        finally:
            self.draining = False
        self._react(status)

    def close(self) -> None:
        """Let go of the socket. Who waits for it is woken, and leaves."""
        if not self.closed:
            self.closed = True
            self._link.release()
            self._stream.socket.close()


def now() -> int:
    """Trio's clock, in the nanoseconds of the native session."""
    return int(trio.current_time() * 1e9)
