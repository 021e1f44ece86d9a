"""What a child process of the workers' benchmark is asked to measure, and how it counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from scripts.bench.meter import percentiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scripts.bench.figures import Measurement

PAYLOAD = os.urandom(1024)
"""What each call brings, and gets back."""
TIMEOUT = 0.05
"""Seconds after which a call that hangs is to end."""
PAUSE = 0.15
"""Seconds between two kills: in which whoever fills up by itself does so."""


class Task(msgspec.Struct, frozen=True):
    """One figure of one contender, once.

    Args:
        contender: See `workers_loads.child`.
        figure: What to measure.
        samples: Calls, starts or kills that count.
        warm_up: Of them before anything counts.
        callers: At the same time.
        workers: Processes that may work at the same time.
    """

    contender: str
    figure: str
    samples: int
    warm_up: int = 0
    callers: int = 1
    workers: int = 1


def latencies(nanoseconds: Sequence[int], seconds: float) -> Measurement:
    """What the report says of calls that were made one after another."""
    return {**percentiles(nanoseconds), "rate": len(nanoseconds) / seconds}


def private_kib(pids: Iterable[int]) -> float:
    """KiB that belong to each of some processes alone, on average."""
    each = []
    for pid in set(pids):
        fields = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        each.append(sum(int(line.split()[1]) for line in fields if line.startswith("Private_")))
    return sum(each) / len(each)
