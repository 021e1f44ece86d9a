"""Time as it is given to us: nothing below a door reads a clock of its own (WEB-2)."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.(\d{3})Z", re.ASCII)


class Clock(Protocol):
    """Where time comes from. Tests bring their own."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC. May jump."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds from an arbitrary origin. Never goes back."""
        ...


class SystemClock:
    """The operating system's clocks."""

    def wall_ms(self) -> int:
        """See `Clock.wall_ms`."""
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        """See `Clock.monotonic_ns`."""
        return time.monotonic_ns()


def has_passed(since_ms: int, length_ms: int, now_ms: int) -> bool:
    """Whether a wait that began at `since_ms`, by a clock that may jump, is over.

    Also when the clock is further back than a whole wait before its beginning: it was set back, and nobody waits for
    it to come there again. So a wait lasts twice its length at most, whatever becomes of the clock.
    """
    return not since_ms - length_ms <= now_ms < since_ms + length_ms


def format_timestamp(wall_ms: int) -> str:
    """Write milliseconds since the epoch as an envelope does: exactly `YYYY-MM-DDTHH:MM:SS.mmmZ`.

    Raises:
        OverflowError: The moment lies outside the years 1 to 9999.
    """
    moment = _EPOCH + timedelta(milliseconds=wall_ms)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_timestamp(timestamp: str) -> int:
    """Read what `format_timestamp` writes, and no other spelling; milliseconds since the epoch.

    Raises:
        ValueError: Another spelling, or no moment of the calendar. Quotes nothing of the input.
    """
    match = _TIMESTAMP.fullmatch(timestamp)
    if match is None:
        raise ValueError("not of the form YYYY-MM-DDTHH:MM:SS.mmmZ")
    year, month, day, hour, minute, second, millisecond = map(int, match.groups())
    moment = datetime(year, month, day, hour, minute, second, millisecond * 1000, tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND
