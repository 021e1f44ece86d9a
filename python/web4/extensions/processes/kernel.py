"""What this machine gives to workers: for `web4 doctor`, and to choose how a tree is killed (EXT-22, EXT-32)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import msgspec

from web4.worker import forking
from web4.worker.request import TreeKill

if TYPE_CHECKING:
    from web4.extensions.processes.groups import Hierarchy
    from web4.worker.template import Prepared


class KernelReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found by trying it.

    Args:
        refusal: Why no worker can start on this machine; None if they can.
        template: Whether a template is ready; without one every worker starts cold.
        template_failed: Modules that the template could not import, each with why.
        pid_namespace: Whether a warden can be the init of a PID namespace: by its own privilege, inside a user
            namespace, or not.
        cgroup: The best version of control groups in which this node may make its own.
        cgroup_kill: Whether such a group can be killed as one.
        memory_by: What bounds memory: a control group the tree's, `rlimit` each process's address space.
        processes_by: What bounds the processes of a worker that may fork; `warden` counts, and kills the tree.
        tree_kill_single: How a worker dies that may not fork; as one that may, where nothing keeps it from forking.
        tree_kill_many: How a tree dies.
        user: `root`, or the uid in decimal, of a worker for which no other is configured.
    """

    refusal: str | None = None
    template: bool
    template_failed: tuple[str, ...] = ()
    pid_namespace: Literal["privileged", "user", "off"]
    cgroup: Literal["v2", "v1", "off"]
    cgroup_kill: bool
    memory_by: Literal["cgroup", "rlimit"]
    processes_by: Literal["cgroup", "warden"]
    tree_kill_single: TreeKill
    tree_kill_many: TreeKill
    user: str


def report(prepared: Prepared | None, hierarchies: tuple[Hierarchy, ...], *, ready: bool) -> KernelReport:
    """What the machine gives, by what the last template and the control groups showed."""
    controllers = {name for one in hierarchies for name in one.controllers}
    kills = any(one.kills for one in hierarchies)
    pid_namespace = prepared.pid_namespace if prepared else "off"
    many: TreeKill = "cgroup" if kills else "pid_namespace" if pid_namespace != "off" else "best_effort"
    return KernelReport(
        refusal=forking.refusal(),
        template=ready,
        template_failed=prepared.failed if prepared else (),
        pid_namespace=pid_namespace,
        cgroup="off" if not hierarchies else "v2" if any(one.version == 2 for one in hierarchies) else "v1",
        cgroup_kill=kills,
        memory_by="cgroup" if "memory" in controllers else "rlimit",
        processes_by="cgroup" if "pids" in controllers else "warden",
        tree_kill_single="single_process" if prepared and prepared.seccomp else many,
        tree_kill_many=many,
        user="root" if os.getuid() == 0 else str(os.getuid()),
    )
