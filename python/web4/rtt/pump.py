"""A pump: reads and writes one carrier of a session, for as long as that carrier lasts (RTT-60, RTT-61).

One task at a time watches the socket. A task that waits in `Channel.receive` takes that turn itself, and returns with
its message without another task in between: it leads. The pump's own task is the relief: it watches when nobody
leads. While anybody waits for something of the session, somebody watches; when nobody does, at the latest ten
milliseconds after the last leader left, so that acknowledgements, credit and heartbeats are seen to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.lowlevel import notify_closing, wait_readable, wait_writable

from web4.rtt.bursts import BurstingPump
from web4.rtt.status import BLOCKED
from web4.rtt.timers import Alarm

if TYPE_CHECKING:
    from web4.rtt.channel import Channel
    from web4.rtt.session import RttSession
    from web4.rtt.timers import Timers

RELIEF = 0.005
"""Seconds after which it is looked whether a leader that left has come back: once or twice this until the relief."""


class Pump(BurstingPump):
    """Waits until the carrier can be read or written, and moves what there is.

    What comes of it is the session's business: it is told by `react`, with the status of a native call, and closes the
    pump when that status says that the carrier is over. A session has one pump per carrier, and none without one.
    """

    def __init__(
        self, session: RttSession, stream: trio.SocketStream, *, nursery: trio.Nursery, timers: Timers
    ) -> None:
        super().__init__(session, nursery)
        self._stream = stream
        self.stream: trio.abc.Stream = stream
        """What it reads and writes."""
        self._timers = timers
        self._alarm = Alarm(self._look)
        self._alarm_set = False
        self._leader: Channel | None = None
        self._leader_waits = False
        self._dismissed = False
        self._turns = 0
        """How often a leader left."""
        self._turns_seen = 0
        self._watching = False
        """Whether the relief waits for the socket."""
        self._standing_by: trio.lowlevel.Task | None = None
        self.draining = False
        """Whether the socket took less than there was, and a task waits for it to take more."""

    async def run(self) -> None:
        """Read whenever nobody else does, until the pump is closed. A carrier that breaks counts as one that ends."""
        try:
            self.advance()
            while not self.closed:
                if self._leader is None:
                    await self._watch()
                else:
                    await self._stand_by()
        except OSError:
            self._break()

    def advance(self) -> None:
        """Read what is there, do what is due, write what follows from it."""
        self._session.react(self.link.advance(now()))
        self._session.arm()

    # --- who reads ---------------------------------------------------------------------------------------

    @property
    def takes_leader(self) -> bool:
        """Whether a task that would wait for a message can watch the socket itself."""
        return self._leader is None and not self.closed

    async def lead(self, channel: Channel) -> None:
        """Read for everybody until `channel` has news, or the pump is closed.

        Cancelled, it leaves the turn to somebody else. It takes nothing out of the channel, so a receive that is
        cancelled here has taken nothing (RTT-63).
        """
        if self._watching:
            notify_closing(self._stream.socket)
        self._leader = channel
        self._dismissed = False
        try:
            while not self._dismissed and not self.closed:
                self._leader_waits = True
                try:
                    await wait_readable(self._stream.socket)
                except trio.ClosedResourceError:
                    # Woken by `dismiss`, or by the end.
                    continue
                finally:
                    self._leader_waits = False
                self.advance()
        except OSError:
            self._break()
        finally:
            self._leader = None
            self._pass_on()

    def dismiss(self, channel: Channel) -> None:
        """`channel` has news: if it is led for, its task need not read any more."""
        if self._leader is channel:
            self._dismissed = True
            if self._leader_waits:
                # Somebody else read: a deadline had come, and what had arrived was taken in first.
                notify_closing(self._stream.socket)

    def attend(self) -> None:
        """Somebody begins to wait for something of the session: see that somebody reads."""
        if self._leader is None and not self._watching:
            self._pass_on()

    def _pass_on(self) -> None:
        """Nobody leads any more: find who reads next."""
        if self.closed:
            return
        if self._session.parked:
            next(iter(self._session.parked)).wake()
        elif self._session.waited_for:
            self._relieve()
        self._turns += 1
        if not self._alarm_set:
            self._alarm_set = True
            self._turns_seen = self._turns
            self._timers.arm(self._alarm, trio.current_time() + RELIEF)

    def _look(self) -> None:
        """Whether nobody has led for a while. One alarm sees to any number of turns, so that they cost nothing each."""
        self._alarm_set = False
        if self._leader is None and not self._watching and not self.closed:
            if self._turns == self._turns_seen:
                self._relieve()
            else:
                self._alarm_set = True
                self._turns_seen = self._turns
                self._timers.arm(self._alarm, trio.current_time() + RELIEF)

    def _relieve(self) -> None:
        if self._standing_by is not None:
            trio.lowlevel.reschedule(self._standing_by)
            self._standing_by = None

    async def _watch(self) -> None:
        self._watching = True
        try:
            await wait_readable(self._stream.socket)
        except trio.ClosedResourceError:
            # A leader took over, or the carrier was let go of.
            return
        finally:
            self._watching = False
        self.advance()

    async def _stand_by(self) -> None:
        self._standing_by = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._standing_by = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _break(self) -> None:
        if not self.closed:
            self._session.react(self.link.carrier_lost(now()))

    # --- writing, and the end ----------------------------------------------------------------------------

    def drain(self) -> None:
        """The socket is full: write on when it takes more again."""
        if not self.draining and not self.closed:
            self.draining = True
            self._nursery.start_soon(self._drain)

    async def _drain(self) -> None:
        try:
            # The carrier may have ended before this task began, or between the socket's word and ours.
            while not self.closed:
                try:
                    await wait_writable(self._stream.socket)
                except trio.ClosedResourceError:
                    # Meant for who reads, or for everybody.
                    continue
                status = self.link.write()
                if not status & BLOCKED:
                    break
                # Room in the queues is news, even while the socket takes only a little at a time.
                self._session.react(status)
            else:
                return
        except OSError:
            return
        finally:
            self.draining = False
        self._session.react(status)

    def leave(self) -> None:
        """Close the socket, which the native session has let go of. Who waits for it is woken, and leaves."""
        if not self.closed:
            self.closed = True
            self._alarm.cancel()
            self.leave_bursts()
            self._stream.socket.close()
            self._relieve()


def now() -> int:
    """Trio's clock, in the nanoseconds of the native session."""
    return int(trio.current_time() * 1e9)
