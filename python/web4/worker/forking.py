"""A fork whose child is a sibling: the template forks, the node is the parent (EXT-35, EXT-36).

`CLONE_PARENT` is what lets workers outlive their template, and the node wait for them and be told of their resources.
`os.fork` cannot ask for it, so the system call is made here, between the interpreter's own preparations for a fork.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import threading
from functools import lru_cache
from typing import Any, Final

import cffi

CLONE_PARENT: Final = 0x8000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
_CLONE_PARENT_SETTID: Final = 0x100000
_CLONE_CHILD_CLEARTID: Final = 0x200000
_CLONE_CHILD_SETTID: Final = 0x1000000
_PR_GET_TID_ADDRESS: Final = 40
_NUMBERS: Final = {"x86_64": 56, "aarch64": 220}
"""`clone` by machine. A machine that is not here starts no worker, and says so."""


def refusal() -> str | None:
    """Why this machine cannot fork a sibling; None if it can."""
    if sys.platform != "linux":
        return f"workers need Linux; this is {sys.platform}"
    if platform.machine() not in _NUMBERS:
        return f"clone() is not known on {platform.machine()}, only on {', '.join(_NUMBERS)}"
    if sys.maxsize < 2**32:
        return "workers need a 64-bit interpreter"
    return None


class Slots:
    """Numbers that the kernel writes: the process id of a child, in memory that outlives whoever forked it.

    Args:
        memory: A writable shared mapping. One slot takes four bytes.
    """

    def __init__(self, memory: Any) -> None:
        ffi, _library = _libc()
        self._numbers = ffi.from_buffer("int[]", memory, require_writable=True)

    def __getitem__(self, slot: int) -> int:
        return int(self._numbers[slot])

    def __setitem__(self, slot: int, number: int) -> None:
        self._numbers[slot] = number

    def address(self, slot: int) -> int:
        """Where it lies."""
        ffi, _library = _libc()
        return int(ffi.cast("uintptr_t", self._numbers + slot))


def fork(flags: int = 0, *, slot: int = 0) -> int:
    """Fork this single-threaded process.

    Args:
        flags: Of clone(2): `CLONE_PARENT`, `CLONE_NEWPID`, `CLONE_NEWUSER`. The signal is SIGCHLD.
        slot: An address at which the kernel leaves the child's process id before the child runs; 0 for none.

    Returns:
        The child's process id, 0 in the child.

    Raises:
        OSError: The kernel refused. EPERM and EINVAL speak of the flags, EAGAIN of a limit.
        RuntimeError: This process has other threads: the child would wait for locks that they hold.
    """
    if threading.active_count() > 1:
        raise RuntimeError("a process with threads cannot be forked safely")
    ffi, library = _libc()
    tid = _tid_address()
    flags |= signal.SIGCHLD
    if slot:
        flags |= _CLONE_PARENT_SETTID
    if tid:  # libc remembers the id of its thread; without this the child would act on its parent's
        flags |= _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
    last = (0, tid) if platform.machine() == "aarch64" else (tid, 0)
    interpreter = ctypes.pythonapi  # holds the GIL during the call, which these three need and cffi does not do
    interpreter.PyOS_BeforeFork()
    pid = int(library.syscall(_NUMBERS[platform.machine()], flags, 0, slot, *last, 0))
    error = ffi.errno
    if pid == 0:
        interpreter.PyOS_AfterFork_Child()
        return 0
    interpreter.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, os.strerror(error))
    return pid


@lru_cache(maxsize=1)
def _libc() -> tuple[Any, Any]:
    ffi = cffi.FFI()
    ffi.cdef(
        "long syscall(long number, long, long, long, long, long, long);"
        "int prctl(int option, uintptr_t, unsigned long, unsigned long, unsigned long);"
    )
    return ffi, ffi.dlopen(None)


def _tid_address() -> int:
    """Where libc keeps the id of this thread; 0 if the kernel does not tell, or tells of something else."""
    ffi, library = _libc()
    where = ffi.new("int **")
    asked = library.prctl(_PR_GET_TID_ADDRESS, int(ffi.cast("uintptr_t", where)), 0, 0, 0)
    if asked != 0 or where[0] == ffi.NULL or where[0][0] != threading.get_native_id():
        return 0
    return int(ffi.cast("uintptr_t", where[0]))
