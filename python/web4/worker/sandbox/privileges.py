"""What a worker gives up of its user: limits, capabilities, the user itself (EXT-33, section 6)."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import struct
from typing import TYPE_CHECKING, Final

from web4.worker.request import PythonEntry
from web4.worker.sandbox import libc

if TYPE_CHECKING:
    from web4.worker.request import WorkerRequest

_CAPABILITIES_VERSION: Final = 0x20080522
_MORE_THAN_THERE_ARE: Final = 64
# NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE, all locked, KEEP_CAPS too: uid 0 is a user like others, for good.
_SECUREBITS: Final = 0b11101111
_SIGNALS_QUEUED: Final = 256
_TASKS: Final = 16_384


def limit(request: WorkerRequest, *, address_space: bool) -> None:
    """Lower the limits of section 6, soft and hard. One that is lower already stays.

    Args:
        request: Whose `limits` hold.
        address_space: Whether memory is to be limited here, no control group doing it.
    """
    limits = request.limits
    lower = {
        resource.RLIMIT_CPU: limits.cpu_seconds + 1,  # SIGXCPU comes a second earlier
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file,
        # Not 0: a core pattern that is a pipe ignores every value but 1, which also is less than any core file.
        resource.RLIMIT_CORE: 1,
    }
    if address_space:
        lower[resource.RLIMIT_AS] = limits.memory + _mapped(request)
    if libc.LINUX:
        # Shared by all processes of the user, the node's too: half of what there is stays with the others.
        tasks = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        lower[resource.RLIMIT_NPROC] = tasks // 2 if tasks != resource.RLIM_INFINITY else _TASKS
        lower[resource.RLIMIT_SIGPENDING] = _SIGNALS_QUEUED
        lower |= dict.fromkeys((resource.RLIMIT_MSGQUEUE, resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO), 0)
    for which, value in lower.items():
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)  # noqa: PLW2901
        resource.setrlimit(which, (value - 1 if which == resource.RLIMIT_CPU else value, value))


def _mapped(request: WorkerRequest) -> int:
    """Bytes of address space that are the interpreter's and the SDK's: they do not count against the extension."""
    if not isinstance(request.entry, PythonEntry):
        return 0
    with contextlib.suppress(OSError), open("/proc/self/statm", "rb") as statm:  # noqa: PTH123
        return int(statm.read().split()[0]) * resource.getpagesize()
    return 0


def drop_bounding_set() -> None:
    """Empty the bounding and ambient sets; uid 0 gets nothing by exec. It tries: `measuring` sees what it did."""
    with contextlib.suppress(OSError):
        libc.prctl(libc.PR_CAP_AMBIENT, libc.PR_CAP_AMBIENT_CLEAR_ALL)
    with contextlib.suppress(
        OSError
    ):  # EINVAL ends the list of those there are; EPERM: nothing is ours to drop
        for capability in range(_MORE_THAN_THERE_ARE):
            libc.prctl(libc.PR_CAPBSET_DROP, capability)
    with contextlib.suppress(OSError):
        libc.prctl(libc.PR_SET_SECUREBITS, _SECUREBITS)


def become(user: tuple[int, int] | None) -> None:
    """Change to uid and gid, or make real, effective and saved ids one, and keep the parent-death signal.

    Raises:
        OSError: The kernel refuses.
    """
    death = libc.parent_death_signal() if libc.LINUX else 0
    if user is not None:
        os.setgroups([])
    uid, gid = user if user is not None else (os.geteuid(), os.getegid())
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if death:  # a change of user clears it
        libc.set_parent_death_signal(signal.Signals(death))


def drop_capabilities() -> None:
    """Empty the permitted, effective and inheritable sets.

    Raises:
        OSError: The kernel refuses.
    """
    header, sets = struct.pack("=Ii", _CAPABILITIES_VERSION, 0), bytes(24)
    libc.syscall(libc.SYS_CAPSET, libc.address(header), libc.address(sets))
