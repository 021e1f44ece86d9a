"""The worker's own control groups: made, limited and joined by itself before it gives up the right to (EXT-22)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

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


def join(directories: Sequence[str], limits: Limits) -> Joined:
    """Make the groups at `directories`, set `limits`, and enter them. One that cannot be had is left out."""
    entered = [directory for directory in directories if _enter(directory, limits)]
    return joined(entered)


def joined(directories: Sequence[str]) -> Joined:
    """What the groups at `directories` give to a process that is in them."""
    second = [one for one in directories if os.path.exists(f"{one}/cgroup.events")]
    memory = any(os.path.exists(f"{one}/{name}") for one in directories for name in _MEMORY)
    version: Literal["v2", "v1", "off"] = "v2" if second else "v1" if directories else "off"
    return Joined(
        version=version,
        kills=any(os.path.exists(f"{one}/cgroup.kill") for one in second),
        memory=memory,
        processes=any(os.path.exists(f"{one}/pids.max") for one in directories),
    )


_MEMORY = ("memory.max", "memory.limit_in_bytes")


def _enter(directory: str, limits: Limits) -> bool:
    try:
        os.mkdir(directory, 0o700)
        settings = {
            "memory.max": limits.memory,
            "memory.swap.max": 0,
            "memory.oom.group": 1,
            "memory.limit_in_bytes": limits.memory,
            "pids.max": limits.processes,
        }
        for name, value in settings.items():
            _write(f"{directory}/{name}", str(value))
        return _write(f"{directory}/cgroup.procs", "0")
    except OSError:
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
