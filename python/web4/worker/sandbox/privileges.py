"""What a worker gives up of its user: limits, capabilities, the user itself (EXT-33, section 6)."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import struct
from typing import TYPE_CHECKING, Final

from web4.worker.request import PythonEntry
from web4.worker.sandbox import libc

if TYPE_CHECKING:
    from web4.worker.request import Limits, WorkerRequest

_CAPABILITIES_VERSION: Final = 0x20080522
_CAP_SETPCAP: Final = 8
_MORE_THAN_THERE_ARE: Final = 64
# NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE, all locked, KEEP_CAPS too: uid 0 is a user like others, for good.
_SECUREBITS: Final = 0b11101111
_SIGNALS_QUEUED: Final = 256
_TASKS: Final = 16_384


@functools.lru_cache(maxsize=32)
def lower_limits(limits: Limits) -> tuple[tuple[int, tuple[int, int]], ...]:
    """The limits of section 6, soft and hard, and of what all processes of a user share. None is raised by them."""
    tasks = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    lower = {
        resource.RLIMIT_CPU: limits.cpu_seconds + 1,  # SIGXCPU comes a second earlier
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file,
        # Not 0: a core pattern that is a pipe ignores every value but 1, which also is less than any core file.
        resource.RLIMIT_CORE: 1,
        # Half of what there is stays with the others of this user, the node among them.
        resource.RLIMIT_NPROC: tasks // 2 if tasks != resource.RLIM_INFINITY else _TASKS,
        resource.RLIMIT_SIGPENDING: _SIGNALS_QUEUED,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NICE: 0,
        resource.RLIMIT_RTPRIO: 0,
    }
    return tuple((which, _pair(which, value)) for which, value in lower.items())


def _pair(which: int, value: int) -> tuple[int, int]:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    return (value - (which == resource.RLIMIT_CPU), value)


def limit(request: WorkerRequest, *, address_space: bool) -> None:
    """Put the limits in force.

    Args:
        request: Whose `limits` hold.
        address_space: Whether memory is to be limited here, no control group doing it.
    """
    for which, pair in lower_limits(request.limits):
        resource.setrlimit(which, pair)
    if address_space:
        own = _pair(resource.RLIMIT_AS, request.limits.memory + _mapped(request))
        resource.setrlimit(resource.RLIMIT_AS, own)


def _mapped(request: WorkerRequest) -> int:
    """Bytes of address space that are the interpreter's and the SDK's: they do not count against the extension."""
    if not isinstance(request.entry, PythonEntry):
        return 0
    descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 64).split(None, 1)[0]) * resource.getpagesize()
    finally:
        os.close(descriptor)


def drop_bounding_set() -> None:
    """Empty the bounding and ambient sets; uid 0 gets nothing by exec. It tries: `measuring` sees what it did.

    The template may do this once for all its children: it keeps what it has itself.
    """
    try:
        if not libc.prctl(libc.PR_CAPBSET_READ, _CAP_SETPCAP):
            return  # the last to go
        libc.prctl(libc.PR_CAP_AMBIENT, libc.PR_CAP_AMBIENT_CLEAR_ALL)
        libc.prctl(libc.PR_SET_SECUREBITS, _SECUREBITS)
        with contextlib.suppress(OSError):  # EINVAL: these are all there are
            for capability in range(_MORE_THAN_THERE_ARE):
                if capability != _CAP_SETPCAP:
                    libc.prctl(libc.PR_CAPBSET_DROP, capability)
        libc.prctl(libc.PR_CAPBSET_DROP, _CAP_SETPCAP)
    except OSError:
        return  # EPERM: this user has none to drop


def become(user: tuple[int, int] | None) -> None:
    """Change to uid and gid, or make real, effective and saved ids one, and keep the parent-death signal.

    Raises:
        OSError: The kernel refuses.
    """
    death = libc.parent_death_signal()
    if user is not None:
        os.setgroups([])
    uid, gid = user if user is not None else (os.geteuid(), os.getegid())
    if os.getresgid() != (gid, gid, gid):
        os.setresgid(gid, gid, gid)
    if os.getresuid() != (uid, uid, uid):
        os.setresuid(uid, uid, uid)
    if death != libc.parent_death_signal():  # a change of user clears it
        libc.set_parent_death_signal(death)


def drop_capabilities() -> None:
    """Empty the permitted, effective and inheritable sets.

    Raises:
        OSError: The kernel refuses.
    """
    header, sets = struct.pack("=Ii", _CAPABILITIES_VERSION, 0), bytes(24)
    libc.syscall(libc.SYS_CAPSET, libc.address(header), libc.address(sets))
