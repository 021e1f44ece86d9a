"""How many workers a pool should start, and when it may (EXT-37). Pure: counts and times come in."""

from __future__ import annotations

from typing import Final, NamedTuple

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 30.0
SETTLED: Final = 10.0
"""Seconds after which a worker that dies is no sign that the next one will."""


class Staff(NamedTuple):
    """Who is there.

    Args:
        busy: Workers with a call.
        useful: Free workers which any call may have.
        bound: Free workers which only calls of one session may have.
        starting: On their way.
        leaving: Told to leave, or killed, and not gone yet.
        waiting: Calls without a worker.
    """

    busy: int
    useful: int
    bound: int
    starting: int
    leaving: int
    waiting: int


def to_start(staff: Staff, *, workers: int, spares: int) -> int:
    """How many workers to start now.

    One for each call that waits and may be served, and as many as the spares lack; never more than `workers +
    spares` in all. Those that leave count twice over: a worker which cannot be killed at once (it sits in the kernel)
    must not let the pool grow without end.
    """
    unmet = min(staff.waiting, workers - staff.busy)
    wanted = unmet + spares - staff.useful - staff.starting
    here = staff.busy + staff.useful + staff.bound + staff.starting
    room = min(workers + spares - here, 2 * (workers + spares) - here - staff.leaving)
    return max(0, min(wanted, room))


class StartPauses:
    """Lets a start that fails again and again be tried ever more rarely, from 0.1 to 30 seconds apart."""

    __slots__ = ("failures", "until")

    def __init__(self) -> None:
        self.failures = 0
        """Failed starts in a row; a worker that died young counts."""
        self.until = 0.0
        """When the next start may be made, on the clock of the caller."""

    def failed(self, now: float, *, lived: float = 0.0) -> None:
        """A start failed, or what it started died after `lived` seconds without having served a call."""
        self.failures = self.failures + 1 if lived < SETTLED else 1
        self.until = now + min(FIRST_PAUSE * 2.0 ** min(self.failures - 1, 16), LONGEST_PAUSE)

    def succeeded(self) -> None:
        """A worker served a call."""
        self.failures = 0
        self.until = 0.0
