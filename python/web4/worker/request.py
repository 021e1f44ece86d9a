"""What the node asks the template for: a worker, with its limits and its sandbox; and what it got (EXT-32, EXT-35)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Level = Literal["none", "standard", "strict"]
Network = Literal["deny", "allow"]
TreeKill = Literal["cgroup", "pid_namespace", "single_process", "best_effort"]
"""How the whole tree dies (EXT-22), best first. `single_process`: seccomp lets it have no child, so the tree is one."""

PROTECTIONS: Final = (
    "no_new_privs",
    "capabilities",
    "landlock",
    "seccomp",
    "network",
    "signals",
    "cgroup",
    "tree_kill",
    "memory",
    "processes",
    "parent_death",
)
"""What `sandbox.required` may name, what `web4 doctor` shows, and what a test build can switch off (EXT-32)."""


class PythonEntry(msgspec.Struct, frozen=True, tag="python"):
    """`entry.python`: an `Extension` object of a module that is found in the extension's directory."""

    module: str
    object: str


class CommandEntry(msgspec.Struct, frozen=True, tag="command"):
    """`entry.command`: argv of any program; its first word is absolute, or relative to the directory."""

    argv: tuple[str, ...]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel holds a worker to (section 6), in bytes, seconds and numbers of things.

    Args:
        memory: Bytes, of the whole tree where a control group counts them, else of each process's address space.
        cpu_seconds: Of the worker's whole life, each process; the last line behind the accounting per call.
        open_files: Descriptors of each process.
        processes: Processes of the tree; 1 forbids to fork. Threads are free.
        file: Bytes of any one file.
    """

    memory: int
    cpu_seconds: int
    open_files: int
    processes: int
    file: int


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker may touch (section 8).

    Args:
        level: Of the table.
        network: `allow` exists in level `none` alone (EXT-30).
        read: Granted beside the system's own, absolute.
        write: Granted beside `tmp`, absolute.
        hidden: What no grant may reach: the node's keys, journal, sockets and configuration (EXT-31).
        required: Protections without which the worker does not start, in `standard` too.
        without: Kernel features to do without, by their names in `PROTECTIONS`: how a test proves degradation.
    """

    level: Level = "standard"
    network: Network = "deny"
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


class WorkerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Start a worker.

    Args:
        worker_id: Of the node's making, unique in its life.
        extension: Its name, for the process title and for errors.
        entry: What runs once the sandbox is entered.
        directory: The extension's, absolute; the worker's working directory.
        tmp: The worker's own, absolute, there already and empty.
        environment: What every worker has; `WEB4_WORKER_FD` is added. What the manifest lets through may be secret and
            is not here, for later workers inherit the template's memory: the node sends it on the report's socket.
        limits: See there.
        sandbox: See there.
        user: Uid and gid to become, or None to stay.
        groups: Directories of control groups to join before anything else.
        warden: Whether a warden stands over it: a parent that is the init of a PID namespace or a subreaper, and
            ends when the whole tree has (EXT-22). Needed when it may fork.
        pid_namespace: Whether the warden is the init of a PID namespace.
        forks: Whether the worker may have a second process, or nothing keeps it from it: then the warden counts.
    """

    worker_id: str
    extension: str
    entry: PythonEntry | CommandEntry
    directory: str
    tmp: str
    environment: dict[str, str]
    limits: Limits
    sandbox: Sandbox
    user: tuple[int, int] | None = None
    groups: tuple[str, ...] = ()
    warden: bool = False
    pid_namespace: bool = False
    forks: bool = True


class Protections(msgspec.Struct, frozen=True, kw_only=True):
    """What is really in force, feature by feature (EXT-32). Measured by the worker as it enters; none is assumed.

    Args:
        level: What was asked for.
        no_new_privs: Whether no program can gain privileges.
        capabilities: Whether the worker has none, the bounding set included.
        landlock: The ABI whose rules are in force; 0 when none are.
        seccomp: `deny_list`, `allow_list`, `limits_only` (level `none`), or `off`.
        network: `denied`, `tcp_only` (Landlock without seccomp), or `allowed`.
        signals: What keeps it from signalling others: `landlock`, `seccomp`, `pid_namespace`, or `off`.
        cgroup: `v2`, `v1` or `off`.
        tree_kill: See `TreeKill`.
        memory: `cgroup`, `rlimit` or `off`.
        processes: `seccomp`, `cgroup` or `off`.
        parent_death: Whether the kernel ends it with the node (EXT-34).
        user: `root`, or the uid in decimal.
        missing: Those of `PROTECTIONS` that the level promises and the kernel did not give.
    """

    level: Level
    no_new_privs: bool
    capabilities: bool
    landlock: int
    seccomp: Literal["deny_list", "allow_list", "limits_only", "off"]
    network: Literal["denied", "tcp_only", "allowed"]
    signals: Literal["landlock", "seccomp", "pid_namespace", "off"]
    cgroup: Literal["v2", "v1", "off"]
    tree_kill: TreeKill
    memory: Literal["cgroup", "rlimit", "off"]
    processes: Literal["seccomp", "cgroup", "off"]
    parent_death: bool
    user: str
    missing: tuple[str, ...] = ()


class Entered(msgspec.Struct, frozen=True, tag="entered"):
    """The worker's report: its sandbox is complete, the first line of the extension is next (EXT-36)."""

    pid: int
    protections: Protections


class NotEntered(msgspec.Struct, frozen=True, tag="not_entered"):
    """The worker's report: it did not start. `code` is `extension_unprotected` or `extension_start_failed`."""

    code: str
    reason: str


Report = Entered | NotEntered
REPORT_DECODER: Final = msgspec.msgpack.Decoder(Report)
