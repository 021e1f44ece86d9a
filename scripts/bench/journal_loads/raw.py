"""What the disk gives: append the bytes of as many records as there are callers, `fdatasync`, again (JRN-26a).

A loop of two system calls; what Python adds to them is less than a microsecond. Only payloads are written: a record's
header, salt and hashes are the journal's own affair.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bench.journal_task import PAYLOAD, Counting, Task, now

if TYPE_CHECKING:
    from scripts.bench.figures import Measurement


def measure(task: Task) -> Measurement:
    """Append and sync for as long as the task says."""
    data = os.urandom(PAYLOAD * task.callers)
    counting = Counting()
    file = os.open(Path(task.directory) / "raw", os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        _loop(file, data, task.warm_up, counting.latencies)
        counting.begin()
        _loop(file, data, task.seconds, counting.latencies)
        found = counting.end()
    finally:
        os.close(file)
    for name in ("messages", "rate"):
        found[name] *= task.callers
    for name in ("cpu_us", "cpu_main_us"):
        found[name] /= task.callers
    return found


def _loop(file: int, data: bytes, seconds: float, latencies: list[int]) -> None:
    write, sync, size = os.write, os.fdatasync, len(data)
    begun = now()
    until = begun + int(seconds * 1e9)
    while begun < until:
        if write(file, data) != size:
            raise OSError("a short write")
        sync(file)
        ended = now()
        latencies.append(ended - begun)
        begun = ended
