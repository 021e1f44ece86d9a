"""The worker's own control groups: made, limited and joined by itself before it gives up the right to (EXT-22)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.worker.request import Limits


THREADS: Final = 1024
"""Threads of a worker that may not fork, where a group counts them: root is under no other bound."""


def make(directories: Sequence[str], limits: Limits, *, extra: int = 0, alone: bool = False) -> str | None:
    """Make the groups at `directories` and set `limits`. One that cannot be made is left out.

    Args:
        directories: Each of a hierarchy of its own; none exists, their parents do.
        limits: Of the tree. Where the number of processes is bound, threads count as such.
        extra: Processes beyond the limit: the warden.
        alone: Whether seccomp keeps it from forking; then the group bounds its threads.

    Returns:
        The one of version 2, into which a process can be forked.
    """
    settings = {
        "memory.max": limits.memory,
        "memory.swap.max": 0,
        "memory.oom.group": 1,
        "memory.limit_in_bytes": limits.memory,
    }
    if limits.processes > 1:
        settings["pids.max"] = limits.processes + extra
    elif alone:
        settings["pids.max"] = THREADS
    second = None
    for directory in directories:
        try:
            os.mkdir(directory, 0o700)
        except OSError:
            continue
        for name, value in settings.items():
            _write(f"{directory}/{name}", str(value))
        if os.path.exists(f"{directory}/cgroup.events"):
            second = directory
    return second


def join(directories: Sequence[str]) -> None:
    """Enter the groups at `directories`; remove one that cannot be entered, so that nobody takes it for joined.

    To write to `tasks` moves the one thread that writes, which takes no lock of the whole machine. The file of whole
    processes, all there is in version 2, does: it may wait for 10 ms.
    """
    for directory in directories:
        if (
            _inside(directory)
            or _write(f"{directory}/tasks", "0")
            or _write(f"{directory}/cgroup.procs", "0")
        ):
            continue
        try:
            os.rmdir(directory)
        except OSError:
            continue


def remove(directories: Sequence[str]) -> None:
    """Remove groups that nobody came to be in."""
    for directory in directories:
        try:
            os.rmdir(directory)
        except OSError:
            continue


def _inside(directory: str) -> bool:
    """Whether this process was forked into the group, which only one of version 2 can be."""
    try:
        with open(f"{directory}/cgroup.procs", "rb", buffering=0) as file:
            return bool(file.read(64)) and not os.path.exists(f"{directory}/tasks")
    except OSError:
        return False


def bounded(directories: Sequence[str]) -> bool:
    """Whether the number of processes in one of the groups is bound."""
    for directory in directories:
        try:
            with open(f"{directory}/pids.max", "rb", buffering=0) as file:
                if file.read(32).strip().isdigit():
                    return True
        except OSError:
            continue
    return False


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
