"""The worker's own control groups: made, limited and joined by itself before it gives up the right to (EXT-22)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.worker.request import Limits, Protections, TreeKill, WorkerRequest


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """What the groups give: all of it is off where none could be joined."""

    version: Literal["v2", "v1", "off"] = "off"
    kills: bool = False
    memory: bool = False
    processes: bool = False

    def tell(self, request: WorkerRequest, protections: Protections) -> Protections:
        """The protections of a worker that the sandbox measured, with what its groups and its warden add."""
        return msgspec.structs.replace(
            protections,
            cgroup=self.version,
            tree_kill=self._tree_kill(request, protections),
            memory="cgroup" if self.memory else protections.memory,
            processes="cgroup" if self.processes and protections.processes == "off" else protections.processes,
        )

    def _tree_kill(self, request: WorkerRequest, protections: Protections) -> TreeKill:
        if not request.warden:
            return "single_process" if protections.processes == "seccomp" else "best_effort"
        if self.kills:
            return "cgroup"
        return "pid_namespace" if request.pid_namespace else "best_effort"


def join(directories: Sequence[str], limits: Limits, *, extra: int = 0) -> Joined:
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
    return joined([directory for directory in directories if _enter(directory, settings)])


def joined(directories: Sequence[str]) -> Joined:
    """What the groups at `directories` give to a process that is in them, as they say themselves."""
    there = [directory for directory in directories if os.path.exists(f"{directory}/cgroup.procs")]
    second = [directory for directory in there if os.path.exists(f"{directory}/cgroup.events")]
    return Joined(
        version="v2" if second else "v1" if there else "off",
        kills=any(os.path.exists(f"{directory}/cgroup.kill") for directory in second),
        memory=any(_bound(f"{directory}/{name}") for directory in there for name in _MEMORY),
        processes=any(_bound(f"{directory}/pids.max") for directory in there),
    )


_MEMORY: Final = ("memory.max", "memory.limit_in_bytes")
_UNBOUND: Final = 2**62


def _bound(path: str) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:
            said = file.read().strip()
    except OSError:
        return False
    return said.isdigit() and int(said) < _UNBOUND


def _enter(directory: str, settings: dict[str, int]) -> bool:
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        pass
    except OSError:
        return False
    for name, value in settings.items():
        _write(f"{directory}/{name}", str(value))
    if _write(f"{directory}/cgroup.procs", "0"):
        return True
    os.rmdir(directory)
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
