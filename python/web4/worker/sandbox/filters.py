"""Which system calls a worker may make, level by level (EXT-29)."""

from __future__ import annotations

import functools
import signal
from typing import TYPE_CHECKING, Final, NamedTuple

from web4.worker.sandbox import libc
from web4.worker.sandbox.bpf import ABSENT, ALLOW, DENY, REFUSE, SELF, Case, Check, If, Program, assemble
from web4.worker.sandbox.calls_allowed import ALLOWED, IOCTLS_ALLOWED, PRCTLS_ALLOWED
from web4.worker.sandbox.calls_denied import DENIED, IOCTLS_DENIED, METADATA
from web4.worker.sandbox.syscalls import numbers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.worker.request import Level
    from web4.worker.sandbox.bpf import Decision

_AF_UNIX: Final = 1
_SOCK_STREAM: Final = 1
_SOCK_SEQPACKET: Final = 5
_SOCK_TYPE_MASK: Final = 0xF
_F_SETOWN: Final = 8
_F_SETSIG: Final = 10
_F_SETOWN_EX: Final = 15
_F_SETLEASE: Final = 1024
_F_SETPIPE_SZ: Final = 1031
_CLOSE_RANGE_UNSHARE: Final = 2
_MFD_NOEXEC_SEAL: Final = 8
_PER_LINUX: Final = 0
_PER_QUERY: Final = 0xFFFFFFFF
_PRIO_PROCESS: Final = 0
_IOPRIO_WHO_PROCESS: Final = 1
_FCNTLS_DENIED: Final = (_F_SETLEASE, _F_SETPIPE_SZ)
"""A lease holds up whoever else opens a file; pages of pipes have one bound for all processes of a user."""
_SOCKETS: Final = ("socket", "connect", "bind", "listen", "accept", "accept4")
_DIES_WITH_ITS_PARENT: Final = Case((If(0, libc.PR_SET_PDEATHSIG), If(1, signal.SIGKILL)), ALLOW)


class Wish(NamedTuple):
    """What a filter depends on.

    Args:
        level: Of section 8; `none` has a filter too, for what all levels promise.
        forks: Whether it may have more than one process.
        network: Whether sockets may be made (level none).
        memory_files: Whether memory may be had that is no address space: a control group counts it then.
        self_only: Whether a signal to another process is refused here, and not by Landlock.
        programs: Whether it may execute programs at all.
        shares_user: Whether files of its own user can be the node's: then nobody changes modes and owners.
    """

    level: Level
    forks: bool
    network: bool
    memory_files: bool
    self_only: bool
    programs: bool
    shares_user: bool


@functools.lru_cache(maxsize=64)
def filter_for(wish: Wish, machine: str = libc.MACHINE) -> Program:
    """The program. The first time for a wish takes about a millisecond; the template does that before it forks.

    Raises:
        ValueError: The machine's numbers are not known.
    """
    known = numbers(machine)
    decisions: dict[str, Decision] = dict.fromkeys(known, DENY if wish.level == "strict" else ALLOW)
    if wish.level == "strict":
        decisions.update(dict.fromkeys(ALLOWED.split(), ALLOW))
    decisions.update(_in_every_level(wish))
    if wish.level != "none":
        decisions.update(_in_a_sandbox(wish))
    if wish.level == "strict":
        decisions.update(_in_strict(wish))
    return assemble(machine, {known[name]: one for name, one in decisions.items() if name in known}, ABSENT)


def _one_of(argument: int, values: Iterable[int], answer: int, otherwise: int) -> Check:
    return Check(tuple(Case((If(argument, one),), answer) for one in values), otherwise)


def _in_every_level(wish: Wish) -> dict[str, Decision]:
    """Forks, the network and what would undo the promises that even `none` makes."""
    decisions: dict[str, Decision] = {
        "clone": _clone(forks=wish.forks),
        # Its flags lie in memory, where no filter sees them; C libraries fall back to clone.
        "clone3": ABSENT,
        # A user namespace would give capabilities back, and clear the parent-death signal.
        "unshare": DENY,
        "setns": DENY,
        "prctl": Check((_DIES_WITH_ITS_PARENT, Case((If(0, libc.PR_SET_PDEATHSIG),), DENY)), ALLOW),
    }
    if not wish.forks:
        # A second table of descriptors would have a limit of its own, and nobody would look into it.
        one_table = Check((Case((If(2, 0, _CLOSE_RANGE_UNSHARE),), ALLOW),), DENY)
        decisions |= {"fork": DENY, "vfork": DENY, "close_range": one_table}
        if not wish.programs:
            # A program that a thread executes is rid of the parent-death signal, and nobody stands over this process.
            decisions |= {"execve": DENY, "execveat": DENY}
    if not wish.memory_files:
        decisions |= dict.fromkeys(("memfd_create", "memfd_secret", "shmget"), ABSENT)
    if not wish.network:
        decisions |= _no_network()
    return decisions


def _clone(*, forks: bool) -> Check:
    """Threads, and processes where they may be; no namespace, and no sibling behind its parent's back."""
    mask = libc.CLONE_NEW_ANYTHING | libc.CLONE_PARENT
    if forks:
        return Check((Case((If(0, 0, mask),), ALLOW),), DENY)
    thread = libc.CLONE_THREAD | libc.CLONE_FILES
    return Check((Case((If(0, thread, mask | thread),), ALLOW),), DENY)


def _no_network() -> dict[str, Decision]:
    """No socket of any family; pairs stay, but not of datagrams: those could be sent to any socket with a name."""
    pairs = tuple(
        Case((If(0, _AF_UNIX), If(1, one, _SOCK_TYPE_MASK)), ALLOW) for one in (_SOCK_STREAM, _SOCK_SEQPACKET)
    )
    to_nobody_else = Check((Case((If(4, 0), If(4, 0, high=True)), ALLOW),), REFUSE)
    return {
        **dict.fromkeys(_SOCKETS, REFUSE),
        "socketpair": Check(pairs, REFUSE),
        "sendto": to_nobody_else,
        # A ring makes and connects sockets without these calls.
        **dict.fromkeys(("io_uring_setup", "io_uring_enter", "io_uring_register"), DENY),
    }


def _in_a_sandbox(wish: Wish) -> dict[str, Decision]:
    """Of standard and strict."""
    decisions: dict[str, Decision] = dict.fromkeys(DENIED.split(), DENY)
    decisions |= {
        "personality": _one_of(0, (_PER_LINUX, _PER_QUERY), ALLOW, DENY),
        "ioctl": _one_of(1, IOCTLS_DENIED, DENY, ALLOW),
        "fcntl": _one_of(1, _FCNTLS_DENIED, DENY, ALLOW),
        # Limits, priority and processors: its own, nobody else's.
        "prlimit64": _of_itself(0),
        "get_robust_list": _of_itself(0),
        "sched_setaffinity": _of_itself(0),
        "sched_setattr": _of_itself(0),
        "sched_setparam": _of_itself(0),
        "sched_setscheduler": _of_itself(0),
        "setpriority": Check(_own(1, (If(0, _PRIO_PROCESS),)), DENY),
        "ioprio_set": Check(_own(1, (If(0, _IOPRIO_WHO_PROCESS),)), DENY),
    }
    if wish.shares_user:
        decisions |= dict.fromkeys(METADATA.split(), DENY)
    if wish.self_only:
        decisions |= _signals_to_itself()
    return decisions


def _own(argument: int, also: tuple[If, ...] = ()) -> tuple[Case, ...]:
    return (Case((*also, If(argument, 0)), ALLOW), Case((*also, If(argument, SELF)), ALLOW))


def _of_itself(argument: int) -> Check:
    return Check(_own(argument), DENY)


def _signals_to_itself() -> dict[str, Decision]:
    """Every way to signal: by process, thread or descriptor, and as the owner of a descriptor's events."""
    to_self = Check((Case((If(0, SELF),), ALLOW),), DENY)
    return {
        "kill": _of_itself(0),  # 0 is its own process group, which none but its own kin can be in
        **dict.fromkeys(("tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"), to_self),
        "pidfd_send_signal": DENY,
        "fcntl": _one_of(1, (_F_SETOWN, _F_SETOWN_EX, _F_SETSIG, *_FCNTLS_DENIED), DENY, ALLOW),
    }


def _in_strict(wish: Wish) -> dict[str, Decision]:
    """What the allow list lets through by its arguments."""
    decisions: dict[str, Decision] = {
        "prctl": Check(
            (_DIES_WITH_ITS_PARENT, *(Case((If(0, one),), ALLOW) for one in PRCTLS_ALLOWED)), DENY
        ),
        "ioctl": _one_of(1, IOCTLS_ALLOWED, ALLOW, DENY),
        "execve": ALLOW if wish.programs else DENY,
        "execveat": DENY,
    }
    if wish.forks:
        decisions |= {"fork": ALLOW, "vfork": ALLOW}
    if wish.memory_files:  # which could be executed as programs
        never_executed = Case((If(1, _MFD_NOEXEC_SEAL, _MFD_NOEXEC_SEAL),), ALLOW)
        decisions["memfd_create"] = Check((never_executed,), DENY)
    if wish.network:  # never asked for, but switched off by a test
        decisions |= dict.fromkeys(_SOCKETS, ALLOW)
    return decisions
