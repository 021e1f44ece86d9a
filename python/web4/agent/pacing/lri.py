"""The load of a node as one number: pure (PACE-1)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

_HIGH: Final = 0.85
"""A component from here on is named among the kernel signals."""
_CRITICAL: Final = 0.95
KERNEL_OVERLOAD: Final = "kernel_overload"
_OF_THE_MACHINE: Final = frozenset({"cpu", "memory", "temperature"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What the sensors say; None where there is no such sensor.

    Args:
        cpu: Share of the time in which work waited for a processor, 0 to 1.
        memory: Share of the memory that is taken, 0 to 1.
        io_wait: Per cent of the time in which processors idled because of a disk.
        temperature: Of the hottest part, degrees Celsius.
        queue: How full the fullest of the node's queues is, 0 to 1.
    """

    cpu: float | None = None
    memory: float | None = None
    io_wait: float | None = None
    temperature: float | None = None
    queue: float | None = None


def components(readings: Readings) -> dict[str, float]:
    """The readings that there are, each normalised and clamped to 0 to 1."""
    found = {}
    for one in fields(Readings):
        value = getattr(readings, one.name)
        if value is None or value != value:  # noqa: PLR0124 - a NaN is no reading
            continue
        if one.name == "io_wait":
            value /= 20
        elif one.name == "temperature":
            value = (value - 40) / 50
        found[one.name] = min(1.0, max(0.0, value))
    return found


def lri(readings: Readings) -> int:
    """round(100 · max(mean, worst)) of the components; 0 without any. Halves go to the even number."""
    found = components(readings).values()
    return round(100 * max(sum(found) / len(found), *found)) if found else 0


def kernel_signals(readings: Readings) -> tuple[str, ...]:
    """What is wrong, in words: `cpu_high` and its like; `kernel_overload` when the machine itself is at its end."""
    found = components(readings)
    signals = tuple(f"{name}_high" for name, value in found.items() if value >= _HIGH)
    if any(value >= _CRITICAL for name, value in found.items() if name in _OF_THE_MACHINE):
        signals += (KERNEL_OVERLOAD,)
    return signals
