"""Time as it is given to us: nothing below a door reads a clock of its own (WEB-2)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


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


def format_timestamp(wall_ms: int) -> str:
    """Write milliseconds since the epoch as an envelope does: exactly `YYYY-MM-DDTHH:MM:SS.mmmZ`."""
    moment = datetime.fromtimestamp(wall_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{wall_ms % 1000:03d}Z"
