"""Clocks for tests: time moves when the test says so, or with Trio's own clock."""

from __future__ import annotations

import trio

_MS = 1_000_000
START_MS = 1_800_000_000_000
"""Where test clocks begin unless told: 2027-01-15T08:00:00Z."""


class ManualClock:
    """A `Clock` that stands still until `advance` is called; `set_wall` moves its two faces apart."""

    def __init__(self, wall_ms: int = START_MS) -> None:
        self._wall_ms = wall_ms
        self._monotonic_ns = 0

    def wall_ms(self) -> int:
        """See `Clock.wall_ms`."""
        return self._wall_ms

    def monotonic_ns(self) -> int:
        """See `Clock.monotonic_ns`."""
        return self._monotonic_ns

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds pass.

        Raises:
            ValueError: `ms` is negative; time does not run backwards.
        """
        if ms < 0:
            raise ValueError("time does not run backwards; use set_wall for a clock that was corrected")
        self._wall_ms += ms
        self._monotonic_ns += ms * _MS

    def set_wall(self, wall_ms: int) -> None:
        """Correct the wall clock, in either direction; the monotonic clock does not notice."""
        self._wall_ms = wall_ms


class TrioClock:
    """A `Clock` that follows `trio.current_time()`, so that `trio.testing.MockClock` moves both at once."""

    def __init__(self, wall_ms: int = START_MS) -> None:
        self._wall_ms = wall_ms
        self._started = trio.current_time()

    def set_wall(self, wall_ms: int) -> None:
        """Correct the wall clock, in either direction; the monotonic clock does not notice."""
        self._wall_ms = wall_ms - self.monotonic_ns() // _MS

    def wall_ms(self) -> int:
        """See `Clock.wall_ms`."""
        return self._wall_ms + self.monotonic_ns() // _MS

    def monotonic_ns(self) -> int:
        """See `Clock.monotonic_ns`."""
        return round((trio.current_time() - self._started) * 1e9)
