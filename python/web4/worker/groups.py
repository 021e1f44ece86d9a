"""The worker's own control groups: made, limited and joined by itself before it gives up the right to (EXT-22)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.worker.request import Limits


def join(directories: Sequence[str], limits: Limits, *, extra: int = 0) -> None:
    """Make the groups at `directories`, set `limits`, and enter them. One that cannot be had is left out.

    Args:
        directories: Each of a hierarchy of its own; none exists, their parents do.
        limits: Of the tree. Where the number of processes is bound, threads count as such.
        extra: Processes beyond the limit: the warden.
    """
    settings = {
        "memory.max": limits.memory,
        "memory.swap.max": 0,
        "memory.oom.group": 1,
        "memory.limit_in_bytes": limits.memory,
    }
    if limits.processes > 1:  # one alone is kept by seccomp, which lets threads be
        settings["pids.max"] = limits.processes + extra
    for directory in directories:
        _enter(directory, settings)


def bounded(directories: Sequence[str]) -> bool:
    """Whether the number of processes in one of the groups is bound."""
    for directory in directories:
        try:
            with open(f"{directory}/pids.max", "rb", buffering=0) as file:  # noqa: PTH123 - no pathlib in a worker
                if file.read(32).strip().isdigit():
                    return True
        except OSError:
            continue
    return False


def _enter(directory: str, settings: dict[str, int]) -> None:
    try:
        os.mkdir(directory, 0o700)  # noqa: PTH102 - no pathlib in a worker
    except OSError:
        return
    for name, value in settings.items():
        _write(f"{directory}/{name}", str(value))
    if not _write(f"{directory}/cgroup.procs", "0"):
        os.rmdir(directory)  # noqa: PTH106


def _write(path: str, text: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:  # this hierarchy has no such controller
        return False
    try:
        os.write(descriptor, text.encode())
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
