"""What a child process of the journal's benchmark is asked to measure, and how it counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from scripts.bench.meter import Meter, percentiles

if TYPE_CHECKING:
    from scripts.bench.figures import Measurement

PAYLOAD = 512
"""Bytes of an event's payload, and of what every other contender makes durable."""


class Task(msgspec.Struct, frozen=True):
    """One load, once.

    Args:
        load: Name of the load.
        callers: How many appenders wait for their append at the same time.
        directory: A directory of the load's own, empty or made by an earlier task of it.
        warm_up: Seconds before anything is counted.
        seconds: Seconds that are counted.
        conninfo: The PostgreSQL server, for a load that needs one.
        events: Of a store for boots: events in all.
        lanes: Of a store for boots: lanes they are spread over.
        began: `time.monotonic()` when the process was started.
    """

    load: str
    callers: int = 1
    directory: str = ""
    warm_up: float = 0.0
    seconds: float = 0.0
    conninfo: str = ""
    events: int = 0
    lanes: int = 0
    began: float = 0.0


class Counting:
    """Counts what callers finish between `begin` and `end`; before and after it, what they note is let go."""

    def __init__(self) -> None:
        self.latencies: list[int] = []
        """Nanoseconds of each append; callers add theirs."""
        self._meter = Meter()

    def begin(self) -> None:
        """Count from now on."""
        self.latencies.clear()
        self._meter = Meter()

    def end(self) -> Measurement:
        """What was finished since `begin`: rate, CPU of this process, and how long each took."""
        latencies = list(self.latencies)
        found = self._meter.read(len(latencies))
        found["rate"] = len(latencies) / found["seconds"]
        if latencies:
            found.update(percentiles(latencies))
        return found


def now() -> int:
    """The clock of latencies, nanoseconds."""
    return time.perf_counter_ns()
