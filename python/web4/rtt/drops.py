"""What a drop policy dropped, said in few events that together tell of every message (RTT-40, RTT-70)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from web4.rtt.timers import Alarm

if TYPE_CHECKING:
    from web4.rtt.channel import Channel
    from web4.rtt.session import RttSession

PERIOD = 1.0
"""Seconds between two events of a channel."""


class Drops:
    """The drops of one channel: the first is reported at once, those of the following second together at its end."""

    __slots__ = ("_alarm", "_channel", "_reported", "_session", "_silent_until")

    def __init__(self, session: RttSession, channel: Channel) -> None:
        self._session = session
        self._channel = channel
        self._alarm = Alarm(self.report)
        self._reported = 0
        self._silent_until = -float("inf")

    def happened(self) -> None:
        """Some were dropped. Costs little while another event would be too early."""
        if trio.current_time() < self._silent_until:
            self._session.timers.arm(self._alarm, self._silent_until)
        else:
            self.report()

    def report(self) -> None:
        """Say how many were dropped since the last event, if any were; also at the end of the channel or session."""
        dropped = self._channel.stats().get("dropped", 0)
        if dropped > self._reported:
            self._silent_until = trio.current_time() + PERIOD
            self._session.lifecycle.report(
                "backpressure",
                severity="warning",
                channel=self._channel.id,
                kind=self._channel.kind,
                dropped=dropped - self._reported,
            )
            self._reported = dropped

    def end(self) -> None:
        """The channel or its session is over: say what is left to say, for the last time."""
        self.report()
        self._alarm.cancel()
