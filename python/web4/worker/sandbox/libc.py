"""System calls that Python's standard library has no name for, through cffi in ABI mode: nothing is compiled.

Importing it works everywhere. What this machine has not raises `OSError` with `ENOSYS`, when it is called.
"""

from __future__ import annotations

import os
import sys
from errno import ENOSYS
from typing import Any, Final

from web4.worker.sandbox._libc import ffi

PR_SET_PDEATHSIG: Final = 1
PR_GET_PDEATHSIG: Final = 2
PR_GET_DUMPABLE: Final = 3
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_GET_SECUREBITS: Final = 27
PR_SET_SECUREBITS: Final = 28
PR_SET_CHILD_SUBREAPER: Final = 36
PR_GET_CHILD_SUBREAPER: Final = 37
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_NO_NEW_PRIVS: Final = 39
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

CLONE_VM: Final = 0x100
CLONE_FILES: Final = 0x400
CLONE_PIDFD: Final = 0x1000
CLONE_PARENT: Final = 0x8000
CLONE_THREAD: Final = 0x10000
CLONE_NEWNS: Final = 0x20000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
CLONE_INTO_CGROUP: Final = 0x200000000
CLONE_NEW_ANYTHING: Final = (
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
)

LINUX: Final = sys.platform == "linux"
MACHINE: Final = os.uname().machine if LINUX and sys.maxsize > 2**32 else ""
"""Whose system calls this process makes. Only `x86_64` and `aarch64` are known to `syscalls`."""

# These have one number on every machine: they came after the tables were unified.
SYS_PIDFD_OPEN: Final = 434
SYS_CLONE3: Final = 435
SYS_CLOSE_RANGE: Final = 436
SYS_LANDLOCK_CREATE_RULESET: Final = 444
SYS_LANDLOCK_ADD_RULE: Final = 445
SYS_LANDLOCK_RESTRICT_SELF: Final = 446
# These have not.
SYS_CLONE: Final = {"x86_64": 56, "aarch64": 220}.get(MACHINE, -1)
SYS_CAPSET: Final = {"x86_64": 126, "aarch64": 91}.get(MACHINE, -1)
SYS_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}.get(MACHINE, -1)

DECLARATIONS: Final = "long syscall(long number, ...); int prctl(int option, ...);"
"""`_libc.py` is compiled from this."""

_libc: Final[Any] = ffi.dlopen(None)
_ULONG: Final = ffi.typeof("unsigned long")
_ZERO: Final = ffi.cast(_ULONG, 0)


def _failure() -> OSError:
    number = ffi.errno
    return OSError(number, os.strerror(number))


def syscall(number: int, *arguments: int) -> int:
    """Call the kernel. Addresses come from `address`; their buffers must outlive the call.

    Raises:
        OSError: What the kernel answered; `ENOSYS` for a number below 0, and off Linux.
    """
    if not LINUX or number < 0:
        raise OSError(ENOSYS, os.strerror(ENOSYS))
    answer = int(_libc.syscall(number, *[ffi.cast(_ULONG, one) for one in arguments]))
    if answer < 0:
        raise _failure()
    return answer


def prctl(option: int, first: int = 0, second: int = 0) -> int:
    """Ask about, or change, the calling thread or its process, by one of the options above.

    Raises:
        OSError: What the kernel answered; `ENOSYS` off Linux.
    """
    if not LINUX:
        raise OSError(ENOSYS, os.strerror(ENOSYS))
    answer = int(_libc.prctl(option, ffi.cast(_ULONG, first), ffi.cast(_ULONG, second), _ZERO, _ZERO))
    if answer < 0:
        raise _failure()
    return answer


def address(buffer: bytes | bytearray) -> int:
    """Where the bytes of a buffer lie, for `syscall` and `prctl`. Keep the buffer alive until the call is over."""
    return int(ffi.cast("uintptr_t", ffi.from_buffer(buffer)))


def parent_death_signal() -> int:
    """The signal this process gets when its parent's thread dies; 0 for none (EXT-34)."""
    answer = bytearray(4)
    prctl(PR_GET_PDEATHSIG, address(answer))
    return int.from_bytes(answer, sys.byteorder)


def set_parent_death_signal(signal: int) -> None:
    """Have the kernel send `signal` when the parent's thread dies. Check the parent again afterwards (EXT-34)."""
    prctl(PR_SET_PDEATHSIG, signal)


def close_range(first: int, last: int = 2**32 - 1) -> None:
    """Close the descriptors `first` to `last`, both included; numbers that are not open do not matter.

    Raises:
        OSError: `ENOSYS` where the kernel is older than 5.9.
    """
    syscall(SYS_CLOSE_RANGE, first, last, 0)
