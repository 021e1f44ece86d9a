"""Which control groups a worker is in, and what they hold it to."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple


class Joined(NamedTuple):
    """What is in force.

    Args:
        version: Of the hierarchy whose group kills, or limits; `v2` if one does.
        kills: Whether `cgroup.kill` is there.
        memory: Whether memory is limited.
        processes: Whether the number of tasks is.
    """

    version: Literal["v2", "v1", "off"] = "off"
    kills: bool = False
    memory: bool = False
    processes: bool = False


def joined(groups: tuple[str, ...]) -> Joined:
    """Compare the groups that were to be joined with those the kernel says this process is in."""
    if not groups:
        return Joined()
    lines = [line.split(":", 2) for line in _read("/proc/self/cgroup").splitlines()]
    found = Joined()
    for group in groups:
        real = os.path.realpath(group)
        for number, controllers, path in lines:
            unified = number == "0"
            if path == "/" or not real.endswith(path) or unified != _exists(real, "cgroup.controllers"):
                continue
            named = controllers.split(",")
            found = Joined(
                "v2" if unified or found.version == "v2" else "v1",
                found.kills or (unified and _exists(real, "cgroup.kill")),
                found.memory
                or (unified and _limits(real, "memory.max"))
                or ("memory" in named and _limits(real, "memory.limit_in_bytes")),
                found.processes or ((unified or "pids" in named) and _limits(real, "pids.max")),
            )
    return found


def _exists(group: str, name: str) -> bool:
    return os.path.exists(f"{group}/{name}")  # noqa: PTH110


def _limits(group: str, name: str) -> bool:
    """Whether a limit is set. Of v1, no limit is a number of pages near the end of 63 bits."""
    try:
        value = _read(f"{group}/{name}").strip()
    except OSError:
        return False
    return value.isdigit() and int(value) < 1 << 62


def _read(path: str) -> str:
    """Without the text layer of files, whose code is spread over a hundred pages that the worker would copy."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 16_384).decode()
    finally:
        os.close(descriptor)
