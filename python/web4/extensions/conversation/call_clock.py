"""When a call has had its time: its own limit, its run's, its silence, and the pause for a person (EXT-18, EXT-20).

Pure: seconds of one monotonic clock come in, the moment of expiry comes out.
"""

from __future__ import annotations

from math import inf


class CallClock:
    """The clocks of one call.

    Args:
        now: When it was handed over.
        limit: Seconds of its own limit.
        remaining: Seconds left of its run; this clock never stops.
        silence: Seconds that may pass without progress; infinite if it is off.
        patience: Seconds in all for which questions to a person stop its own clock.
    """

    __slots__ = ("_heard", "_left", "_patience", "_questions", "_run_ends", "_silence", "_since")

    def __init__(
        self, now: float, limit: float, *, remaining: float = inf, silence: float = inf, patience: float = 0.0
    ) -> None:
        self._since = now
        self._left = limit
        self._run_ends = now + remaining
        self._silence = silence
        self._heard = now
        self._patience = patience
        self._questions = 0

    def expiry(self) -> float:
        """The moment at which its time is over, if nothing changes."""
        pause = self._patience if self._questions else 0.0
        heard = max(self._heard, self._since) + pause if self._questions else self._heard
        return min(self._run_ends, self._since + pause + self._left, heard + self._silence)

    def heard(self, now: float) -> None:
        """It made progress. Extends its silence and nothing else."""
        self._heard = now

    def ask(self, now: float) -> None:
        """A person is asked: its clock stops, if it has patience left."""
        if not self._questions:
            self._left -= now - self._since
            self._since = now
        self._questions += 1

    def answered(self, now: float) -> None:
        """A question is over; when none is open, its clock goes on."""
        self._questions -= 1
        if not self._questions:
            stopped = min(now - self._since, self._patience)
            self._patience -= stopped
            self._left -= now - self._since - stopped
            self._heard = max(self._heard, self._since + stopped)
            self._since = now

    def cause(self, now: float) -> str:
        """Which of its clocks ran out, in words, at or after `expiry`."""
        if now >= self._run_ends:
            return "the time of its run was over"
        pause = self._patience if self._questions else 0.0
        if now >= self._since + pause + self._left:
            return "it had not answered within its time"
        return "it had said nothing for too long"
