"""What the machine says of its load, read from `/proc` and `/sys`: kernel memory, so no read ever waits for a disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from web4.agent.pacing.lri import Readings

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIELDS: Final = 8
"""Of a `cpu` line that count: user, nice, system, idle, iowait, irq, softirq, steal."""
_IDLE: Final = 3
_IO_WAIT: Final = 4
_MOST: Final = 65_536
"""Bytes of a file that are read; `/proc/stat` of a large machine is longer, and its first line is what counts."""


class Sensors(Protocol):
    """Measures the machine."""

    def read(self) -> Readings:
        """What the sensors say now. Does not block, and never raises: what cannot be read is left out."""
        ...


class _Ticks(NamedTuple):
    total: int
    idle: int
    io_wait: int


class LinuxSensors:
    """The sensors of a Linux machine, of the control group that this process is in where that has limits.

    Args:
        root: Where `proc` and `sys` are.
    """

    def __init__(self, root: str | os.PathLike[str] = "/") -> None:
        self._proc = Path(root) / "proc"
        self._sys = Path(root) / "sys"
        self._group = self._own_group()
        self._ticks: _Ticks | None = None
        self._zones = sorted((self._sys / "class" / "thermal").glob("thermal_zone*/temp"))

    def read(self) -> Readings:
        """See `Sensors.read`. CPU use and I/O wait are those since the last reading: the first has none."""
        before, self._ticks = self._ticks, self._read_ticks()
        busy = io_wait = None
        if before is not None and self._ticks is not None and self._ticks.total > before.total:
            passed = self._ticks.total - before.total
            busy = 1 - (self._ticks.idle - before.idle) / passed
            io_wait = 100 * (self._ticks.io_wait - before.io_wait) / passed
        pressure = self._pressure()
        return Readings(
            cpu=busy if pressure is None else pressure,
            memory=self._memory(),
            io_wait=io_wait,
            temperature=self._temperature(),
        )

    def _pressure(self) -> float | None:
        """The share of the last 10 s in which some task waited for a processor."""
        return next(
            (
                share
                for path in (self._group / "cpu.pressure", self._proc / "pressure" / "cpu")
                if (share := _some_avg10(_read(path))) is not None
            ),
            None,
        )

    def _memory(self) -> float | None:
        limit, used = (
            _number(_read(self._group / "memory.max")),
            _number(_read(self._group / "memory.current")),
        )
        known = dict(_pairs(_read(self._proc / "meminfo")))
        total, available = known.get("MemTotal:"), known.get("MemAvailable:")
        shares = []
        if total and available is not None:
            shares.append(1 - available / total)
        if limit and used is not None:
            # What the kernel can drop at once is free: the group's page cache that nobody uses.
            cache = dict(_pairs(_read(self._group / "memory.stat"))).get("inactive_file", 0)
            shares.append((used - cache) / limit)
        return max(shares, default=None)

    def _temperature(self) -> float | None:
        read = [_number(_read(zone)) for zone in self._zones]
        return max((one / 1_000 for one in read if one is not None), default=None)

    def _read_ticks(self) -> _Ticks | None:
        words = _read(self._proc / "stat").partition("\n")[0].split()
        numbers = [int(word) for word in words[1 : _FIELDS + 1] if word.isdigit()]
        if words[:1] != ["cpu"] or len(numbers) <= _IO_WAIT:
            return None
        waited = numbers[_IO_WAIT]
        return _Ticks(total=sum(numbers), idle=numbers[_IDLE] + waited, io_wait=waited)

    def _own_group(self) -> Path:
        """The directory of this process's control group, version 2; the root of them where there is none."""
        at = self._sys / "fs" / "cgroup"
        for line in _read(self._proc / "self" / "cgroup").splitlines():
            if line.startswith("0::/"):
                return at / line[4:]
        return at


def _read(path: Path) -> str:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(handle, _MOST).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(handle)


def _number(text: str) -> int | None:
    """A number in a file of its own; None for what is none, as the word `max`."""
    word = text.strip()
    return int(word) if word.removeprefix("-").isdecimal() else None


def _pairs(text: str) -> Iterable[tuple[str, int]]:
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].isdecimal():
            yield words[0], int(words[1])


def _some_avg10(text: str) -> float | None:
    for line in text.splitlines():
        if line.startswith("some "):
            for word in line.split():
                name, _, value = word.partition("=")
                if name == "avg10":
                    try:
                        return float(value) / 100
                    except ValueError:
                        return None
    return None
