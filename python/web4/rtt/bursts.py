"""Single sends of a burst share a write: who says when a burst ends.

The first message that a session sends after a pause is written at once. What single sends add after it waits until
16 KiB are together, until the loop has nothing left to run and would sleep, or until a millisecond has passed,
whichever comes first. A burst ends when the loop sleeps, or when a millisecond brought nothing. An accepted message is
thus written, if the socket takes it, when the pass of the loop ends in which its millisecond does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import trio

from web4.rtt.status import BURST

if TYPE_CHECKING:
    from web4._core import SessionLink
    from web4.rtt.session import RttSession

LONGEST = 0.001
"""Seconds that a message is held while the loop is busy, at most, rounded up to a whole pass. They are real ones: what
is held is in the way of real work, and a clock that stands still would hold it for ever."""


@runtime_checkable
class _Jumping(Protocol):
    autojump_threshold: float


class Bursts(trio.abc.Instrument):
    """The bursts of one Trio run. Installed while a pump that ever sent is open."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        # A clock that jumps when nothing runs never lets the loop sleep: there every pass may be the last.
        clock = trio.lowlevel.current_clock()
        self._clock = clock if isinstance(clock, _Jumping) else None
        self._pumps: set[BurstingPump] = set()
        self._bursting: dict[BurstingPump, None] = {}
        self._look_at = 0.0

    @classmethod
    def of(cls, pump: BurstingPump) -> Bursts:
        """The bursts of this run, of which `pump` becomes a part until it leaves."""
        bursts = _bursts.get(None)
        if bursts is None:
            bursts = cls()
            trio.lowlevel.add_instrument(bursts)
            _bursts.set(bursts)
        bursts._pumps.add(pump)
        return bursts

    def leave(self, pump: BurstingPump) -> None:
        """A pump is closed. The last one takes the instrument along."""
        self._bursting.pop(pump, None)
        self._pumps.discard(pump)
        if not self._pumps:
            trio.lowlevel.remove_instrument(self)
            _bursts.set(None)

    def begin(self, pump: BurstingPump) -> None:
        """A burst has begun on a pump."""
        if not self._bursting:
            self._look_at = perf_counter() + LONGEST
        self._bursting[pump] = None

    def before_io_wait(self, timeout: float) -> None:
        """Trio: a pass of the loop is over, and the next begins in `timeout` seconds, or earlier."""
        if self._bursting:
            sleeps = timeout > 0 or (self._clock is not None and self._clock.autojump_threshold < inf)
            if sleeps or perf_counter() >= self._look_at:
                self._end(sleeps)

    def _end(self, sleeps: bool) -> None:
        for pump in list(self._bursting):
            status = pump.link.end_burst(sleeps)
            if not status & BURST:
                del self._bursting[pump]
            if status & ~BURST:
                # A task that is woken here would wait until the sleep is over. This interrupts it.
                with suppress(trio.RunFinishedError):
                    self._token.run_sync_soon(pump.react_soon, status & ~BURST)
        self._look_at = perf_counter() + LONGEST


_bursts: trio.lowlevel.RunVar[Bursts | None] = trio.lowlevel.RunVar("web4.rtt.bursts")


class BurstingPump(ABC):
    """What every pump does about bursts, whatever it moves bytes on."""

    def __init__(self, session: RttSession, nursery: trio.Nursery) -> None:
        self._session = session
        self.link: SessionLink = session.link
        self._nursery = nursery
        self._bursts: Bursts | None = None
        self.closed = False
        """Whether the carrier was let go of. Nothing waits for it any more."""

    def begin_burst(self) -> None:
        """A single message was written after a pause: those that follow may share writes."""
        if not self.closed:
            if self._bursts is None:
                self._bursts = Bursts.of(self)
            self._bursts.begin(self)

    def react_soon(self, status: int) -> None:
        """React in a task of the endpoint: here nobody may raise, nor be woken."""
        if not self.closed:
            self._nursery.start_soon(self._react, status)

    async def _react(self, status: int) -> None:
        self._session.react(status)

    @abstractmethod
    def leave(self) -> None:
        """Leave the carrier, of which the native session has let go: it may have another one already."""

    def close(self) -> None:
        """Let the native session go of the carrier, and leave that."""
        if not self.closed:
            self.link.release()
            self.leave()

    def leave_bursts(self) -> None:
        """The pump is closed."""
        if self._bursts is not None:
            self._bursts.leave(self)
