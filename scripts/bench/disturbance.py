"""How much of the machine somebody else used while we measured."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def machine_seconds() -> float:
    """Return the CPU seconds all processes of the machine have used since it started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / _TICK


def process_seconds(pid: int) -> float:
    """Return the CPU seconds one process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


class Watch:
    """What processes other than the given ones use from now on."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self._begin = time.monotonic()
        self._others = self._seconds()

    def _seconds(self) -> float:
        return machine_seconds() - sum(process_seconds(pid) for pid in [*self._pids, os.getpid()])

    def cores(self) -> float:
        """Return how many cores the others have kept busy, on average."""
        return max(0.0, self._seconds() - self._others) / (time.monotonic() - self._begin)


def wait_until_quiet(limit: float, patience: float) -> None:
    """Wait until others keep fewer than `limit` cores busy, but no longer than `patience` seconds."""
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        watch = Watch([])
        time.sleep(0.3)
        if watch.cores() < limit:
            return
