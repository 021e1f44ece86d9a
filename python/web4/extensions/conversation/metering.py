"""What a worker uses and writes, call by call (EXT-24 to EXT-28)."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from web4.extensions.conversation.terms import Terms
    from web4.extensions.conversation.wire import Wire
    from web4.extensions.processes import Exit, Usage, WorkerProcess

EACH: Final = 16
"""Calls from one count of a worker's descriptors to the next."""
LONG: Final = 0.01
"""Seconds of a call after which they are counted in any case."""


class Meter:
    """The meter of one worker."""

    __slots__ = (
        "_calls",
        "_clock",
        "_cpu",
        "_most",
        "_process",
        "_received",
        "_terms",
        "_wire",
        "_written",
        "peak",
        "usage",
    )

    def __init__(self, process: WorkerProcess, terms: Terms, wire: Wire) -> None:
        self._process = process
        self._terms = terms
        self._wire = wire
        self._most = terms.output_bytes
        self._calls = 0
        self._written = 0
        self._received = 0
        self._cpu = 0
        # The clock of one process is read in half a microsecond; of a tree only its usage tells.
        single = process.protections.tree_kill == "single_process"
        self._clock = (~process.pid << 3) | 2 if single else None
        self.peak: int | None = None
        """The most memory that it was seen to hold, bytes."""
        self.usage: Usage | None = None
        """As it was last looked at."""

    def begin(self) -> None:
        """A call begins."""
        self._written, self._received = 0, self._wire.received
        if self._clock is None:
            self._cpu = self._process.usage().cpu_ns or 0
            return
        try:
            self._cpu = time.clock_gettime_ns(self._clock)
        except OSError:  # it has ended
            self._cpu = 0

    def look(self, earlier: Usage | None = None) -> Usage:
        """Look at what it uses; of descriptors at what `earlier` says, if that is given."""
        usage = self.usage = self._process.usage(earlier)
        resident = usage.resident
        if resident is not None and (self.peak is None or resident > self.peak):
            self.peak = resident
        return usage

    def end(self, lasted: float = math.inf) -> float | None:
        """A call has ended and the worker lives: the processor time of the call, milliseconds.

        Memory is looked at after each call. Descriptors cost as much as all else here, and are looked at after its
        start, now and then (the second, fourth and eighth call, then each sixteenth), and after each that took long.
        So a worker that leaks may serve a few calls more before it is retired (EXT-25); the kernel holds it to
        `open_files` all the time.

        Args:
            lasted: Seconds that the call took.
        """
        self._written, self._received = 0, self._wire.received
        self._calls += 1
        calls = self._calls
        due = calls % EACH == 0 or lasted > LONG or (calls < EACH and calls & (calls - 1) == 0)
        cpu = self.look(None if due else self.usage).cpu_ns
        return None if cpu is None else max(0, cpu - self._cpu) / 1e6

    def end_by(self, exited: Exit | None) -> float | None:
        """A call has ended with its worker: the processor time of the call, milliseconds; None if it is not known."""
        if exited is None:
            return None
        self.peak = max(self.peak or 0, exited.peak_memory_bytes or 0) or None
        return None if exited.cpu_ms is None else round(max(0.0, exited.cpu_ms - self._cpu / 1e6), 3)

    def wrote(self, size: int) -> None:
        """It printed so many bytes."""
        self._written += size

    def excess(self) -> tuple[str, str] | None:
        """The code and the reason for which it must be ended, by what it wrote."""
        if self._written + self._wire.received - self._received <= self._most:
            return None
        return "extension_output_exceeded", f"it wrote more than {self._terms.output_bytes} bytes in one call"

    def excess_of_call(self) -> tuple[str, str] | None:
        """The code and the reason for which it must be ended, by what its call uses now."""
        usage, terms = self.look(), self._terms
        if usage.cpu_ns is not None and usage.cpu_ns - self._cpu > terms.cpu_ns:
            return "extension_cpu_exceeded", f"it used more than {terms.cpu_ns // 10**9} s of processor time"
        by_kernel = self._process.protections.memory == "cgroup"
        if usage.resident is not None and usage.resident > terms.memory and not by_kernel:
            return "extension_memory_exceeded", f"it holds more than {terms.memory} bytes"
        return None
