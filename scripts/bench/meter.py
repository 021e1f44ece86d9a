"""Time, CPU and memory of the process that measures itself."""

from __future__ import annotations

import gc
import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bench.figures import Measurement

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Meter:
    """Wall and CPU time since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._process = time.process_time()
        self._thread = time.thread_time()

    def read(self, messages: int) -> Measurement:
        """Return what `messages` messages took."""
        seconds = time.perf_counter() - self._wall
        share = 1e6 / max(messages, 1)
        return {
            "messages": messages,
            "seconds": seconds,
            "cpu_us": (time.process_time() - self._process) * share,
            "cpu_main_us": (time.thread_time() - self._thread) * share,
        }


def percentiles(nanoseconds: Sequence[int], prefix: str = "") -> Measurement:
    """Return the median, the 95th, the 99th percentile and the largest in microseconds."""
    ordered = sorted(nanoseconds)
    found = {f"p{part}": ordered[len(ordered) * part // 100] for part in (50, 95, 99)}
    found["max"] = ordered[-1]
    return {f"{prefix}{name}_us": value / 1e3 for name, value in found.items()}


def resident() -> int:
    """Return the bytes this process has in memory, once its garbage is gone."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def peak() -> int:
    """Return the most bytes this process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
