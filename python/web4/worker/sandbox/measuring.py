"""What is in force: asked of the kernel from inside the sandbox, by trying (EXT-32)."""

from __future__ import annotations

import errno
import os
import signal
import socket
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec.structs

from web4.worker.request import PROTECTIONS, Protections
from web4.worker.sandbox import landlock, libc
from web4.worker.sandbox.errors import Unprotected
from web4.worker.sandbox.syscalls import numbers

if TYPE_CHECKING:
    from web4.worker.request import TreeKill, WorkerRequest
    from web4.worker.sandbox.joined import Joined

_PTRACE_CONT: Final = 7
_NO_DESCRIPTOR: Final = 0xFFFFFFFF
_CLONE_SIGHAND: Final = 0x800
_DISCARD_PORT: Final = 9
_REFUSALS: Final = (errno.EPERM, errno.EACCES)
_IN_EVERY_LEVEL: Final = frozenset(
    {"no_new_privs", "capabilities", "tree_kill", "memory", "processes", "parent_death"}
)
_IN_A_SANDBOX: Final = _IN_EVERY_LEVEL | {"landlock", "seccomp", "network", "signals"}
_SYSTEM_CALLS: Final = numbers()


class Entering(NamedTuple):
    """What was put in force as far as calls succeeded, before anything was measured.

    Args:
        landlock: The ABI of the rules, 0 without.
        scoped: Whether they keep signals in.
        root_granted: Whether `/` itself may be listed, by a grant.
        seccomp: Whether a filter was taken.
        self_only: Whether it refuses signals to others.
        address_space: Whether `RLIMIT_AS` was set.
        groups: See there.
    """

    landlock: int
    scoped: bool
    root_granted: bool
    seccomp: bool
    self_only: bool
    address_space: bool
    groups: Joined


_FIELDS: Final = ("Threads", "Uid", "NSpid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def status_of(descriptor: int) -> dict[str, list[bytes]]:
    """Fields of `/proc/self/status`, from a descriptor that was opened before the sandbox was entered."""
    text = os.pread(descriptor, 8_192, 0)
    found = {}
    for name in _FIELDS:
        at = text.find(b"\n%b:" % name.encode())
        end = text.find(b"\n", at + 1)
        found[name] = text[at + len(name) + 2 : end].split() if at >= 0 else []
    return found


def measure(request: WorkerRequest, done: Entering, status: dict[str, list[bytes]]) -> Protections:
    """Try what must fail, read what the kernel tells.

    Raises:
        Unprotected: Strict, or `required`, demands what is not in force.
    """
    if status["Threads"] != [b"1"]:
        raise Unprotected("a sandbox is entered with one thread: rules hold for the thread that lays them on")
    no_new_privs = libc.prctl(libc.PR_GET_NO_NEW_PRIVS) == 1
    processes = _processes(request, done)
    found = Protections(
        level=request.sandbox.level,
        no_new_privs=no_new_privs,
        capabilities="capabilities" not in request.sandbox.without
        and _no_capabilities(status, no_new_privs=no_new_privs),
        landlock=done.landlock if done.landlock and (done.root_granted or _root_is_closed()) else 0,
        seccomp=_seccomp(request, done),
        network=_network(done),
        signals=_signals(request, done, status),
        cgroup=done.groups.version,
        tree_kill=_tree_kill(request, done, status, processes),
        memory="cgroup" if done.groups.memory else "rlimit" if done.address_space else "off",
        processes=processes,
        parent_death=libc.parent_death_signal() == signal.SIGKILL,
        user="root" if b"0" in status["Uid"] else str(os.getuid()),
    )
    return _judge(request, found)


def _judge(request: WorkerRequest, found: Protections) -> Protections:
    wish = request.sandbox
    there = {
        "no_new_privs": found.no_new_privs,
        "capabilities": found.capabilities,
        "landlock": found.landlock >= landlock.WHOLE_FILES,
        "seccomp": found.seccomp != "off",
        "network": found.network == "denied",
        "signals": found.signals != "off",
        "cgroup": found.cgroup != "off",
        "tree_kill": found.tree_kill != "best_effort",
        "memory": found.memory != "off",
        "processes": found.processes != "off",
        "parent_death": found.parent_death,
    }
    promised = _IN_A_SANDBOX if wish.level != "none" else _IN_EVERY_LEVEL
    if wish.level == "none" and wish.network == "deny":
        promised |= {"network"}
    missing = tuple(one for one in PROTECTIONS if one in promised and not there[one])
    if wish.level == "strict" and missing:
        raise Unprotected(f"strict needs what this machine does not give: {', '.join(missing)}")
    lacking = [one for one in wish.required if not there[one]]
    if lacking:
        raise Unprotected(f"required, and not given by this machine: {', '.join(lacking)}")
    return msgspec.structs.replace(found, missing=missing) if missing else found


def refused(name: str, *arguments: int) -> bool:
    """Whether a system call answers that it is not permitted, with arguments that make it fail or harmless anyway."""
    try:
        answer = libc.syscall(_SYSTEM_CALLS.get(name, -1), *arguments)
    except OSError as error:
        return error.errno in _REFUSALS
    if name == "socket":
        os.close(answer)
    return False


def _no_capabilities(status: dict[str, list[bytes]], *, no_new_privs: bool) -> bool:
    """None held. A bounding set that only root could have emptied does not matter once no program gains privileges."""
    held = any(int(value, 16) for one in ("CapInh", "CapPrm", "CapEff", "CapAmb") for value in status[one])
    return not held and (no_new_privs or not int(status["CapBnd"][0], 16))


def _root_is_closed() -> bool:
    """Whether the root directory, which no rule allows, cannot be listed: then the rules are in force."""
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except PermissionError:
        return True
    return False


def _seccomp(
    request: WorkerRequest, done: Entering
) -> Literal["deny_list", "allow_list", "limits_only", "off"]:
    if not done.seccomp:
        return "off"
    if request.sandbox.level == "none":
        return "limits_only" if refused("unshare", 0) else "off"
    if not refused("ptrace", _PTRACE_CONT, 0, 0, 0):
        return "off"
    if request.sandbox.level == "standard":
        return "deny_list"
    return "allow_list" if refused("vmsplice", _NO_DESCRIPTOR, 0, 0, 0) else "off"


def _network(done: Entering) -> Literal["denied", "tcp_only", "allowed"]:
    kinds = (
        (socket.AF_UNIX, socket.SOCK_STREAM),
        (socket.AF_INET, socket.SOCK_STREAM),
        (socket.AF_INET, socket.SOCK_DGRAM),
    )
    if all(refused("socket", family, kind, 0) for family, kind in kinds):
        return "denied"
    return "tcp_only" if done.landlock and _tcp_is_closed() else "allowed"


def _tcp_is_closed() -> bool:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as one:
            return one.connect_ex(("127.0.0.1", _DISCARD_PORT)) == errno.EACCES
    except OSError:
        return True


def _signals(
    request: WorkerRequest, done: Entering, status: dict[str, list[bytes]]
) -> Literal["landlock", "seccomp", "pid_namespace", "off"]:
    parent_is_safe = refused("kill", os.getppid(), 0)
    if done.scoped and parent_is_safe:
        return "landlock"
    # The filter lets it signal its process group, which must be its own then.
    if done.self_only and parent_is_safe and os.getpgrp() == os.getpid():
        return "seccomp"
    alone = request.pid_namespace and _in_a_namespace(status) and request.sandbox.level != "none"
    return "pid_namespace" if alone and "signals" not in request.sandbox.without else "off"


def _in_a_namespace(status: dict[str, list[bytes]]) -> bool:
    """Whether its PID namespace is a newer one than that of `/proc`."""
    return len(status["NSpid"]) > 1


def _processes(request: WorkerRequest, done: Entering) -> Literal["seccomp", "cgroup", "off"]:
    # Without CLONE_VM these flags are nonsense to the kernel: nothing is started if the filter does not catch them.
    if done.seccomp and request.limits.processes == 1 and refused("clone", _CLONE_SIGHAND, 0, 0, 0, 0):
        return "seccomp"
    # Of a worker that may not fork, a group bounds only the threads.
    return "cgroup" if done.groups.processes and request.limits.processes > 1 else "off"


def _tree_kill(
    request: WorkerRequest, done: Entering, status: dict[str, list[bytes]], processes: str
) -> TreeKill:
    if "tree_kill" in request.sandbox.without:
        return "best_effort"
    if done.groups.kills:
        return "cgroup"
    if request.pid_namespace and _in_a_namespace(status):
        return "pid_namespace"
    return "single_process" if processes == "seccomp" else "best_effort"
