"""A fork whose child is a sibling: the template forks, the node is the parent (EXT-35, EXT-36).

`CLONE_PARENT` is what lets workers outlive their template, and the node wait for them and be told of their resources.
`os.fork` cannot ask for it, so the system call is made here, between the interpreter's own preparations for a fork.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import sys
import threading
from typing import Any, Final

import cffi

from web4.worker.sandbox import libc

_CLONE_PARENT_SETTID: Final = 0x100000
_CLONE_CHILD_CLEARTID: Final = 0x200000
_CLONE_CHILD_SETTID: Final = 0x1000000
_PR_GET_TID_ADDRESS: Final = 40
ENOUGH: Final = 12
"""Times that Python must see code run before it stops rewriting it."""
_CLONE_ARGUMENTS: Final = struct.Struct("=11Q")
"""flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup."""


def refusal() -> str | None:
    """Why this machine starts no workers; None if it does."""
    if not libc.LINUX:
        return f"workers need Linux; this is {sys.platform}"
    if not libc.MACHINE:
        return f"the system calls of {platform.machine()} are not known, only those of x86_64 and aarch64"
    return None


class Slots:
    """Numbers that the kernel writes: the process id of a child, in memory that outlives whoever forked it.

    Args:
        memory: A writable shared mapping. One slot takes four bytes.
    """

    def __init__(self, memory: Any) -> None:
        self._ffi = cffi.FFI()
        self._numbers: Any = self._ffi.from_buffer("int[]", memory, require_writable=True)

    def __getitem__(self, slot: int) -> int:
        return int(self._numbers[slot])

    def __setitem__(self, slot: int, number: int) -> None:
        self._numbers[slot] = number

    def address(self, slot: int) -> int:
        """Where it lies."""
        return int(self._ffi.cast("uintptr_t", self._numbers + slot))


def fork(flags: int = 0, *, slot: int = 0, group: str | None = None) -> int:
    """Fork this single-threaded process.

    Args:
        flags: Of clone(2): `CLONE_PARENT`, `CLONE_NEWPID`, `CLONE_NEWUSER`. The signal is SIGCHLD.
        slot: An address at which the kernel leaves the child's process id before the child runs; 0 for none.
        group: A control group of version 2 for the child to begin in. Where the kernel does not do that, the child
            begins in this process's.

    Returns:
        The child's process id, 0 in the child.

    Raises:
        OSError: The kernel refused. EPERM and EINVAL speak of the flags, EAGAIN of a limit.
        RuntimeError: This process has other threads: the child would wait for locks that they hold.
    """
    if threading.active_count() > 1:
        raise RuntimeError("a process with threads cannot be forked safely")
    tid = _tid_address()
    if slot:
        flags |= _CLONE_PARENT_SETTID
    if tid:  # libc remembers the id of its thread; without this the child would act on its parent's
        flags |= _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID
    interpreter = (
        ctypes.pythonapi
    )  # holds the GIL during the call, which these three need and cffi does not do
    interpreter.PyOS_BeforeFork()
    pid = -1
    try:
        pid = _clone_into(flags, slot, tid, group) if group is not None else -1
        if pid < 0:
            pid = _clone(flags, slot, tid)
    finally:
        if pid == 0:
            interpreter.PyOS_AfterFork_Child()
        else:
            interpreter.PyOS_AfterFork_Parent()
    return pid


def rehearse() -> None:
    """Do what the interpreter does in each child, without a fork, until it has learned it: children share that.

    Where there is no other thread it changes nothing that matters: locks that nobody holds are made anew.

    Raises:
        RuntimeError: This process has other threads.
    """
    if threading.active_count() > 1:
        raise RuntimeError("a process with threads cannot be forked safely")
    for _ in range(ENOUGH):
        ctypes.pythonapi.PyOS_BeforeFork()
        ctypes.pythonapi.PyOS_AfterFork_Child()


def _clone(flags: int, slot: int, tid: int) -> int:
    last = (0, tid) if libc.MACHINE == "aarch64" else (tid, 0)
    return libc.syscall(libc.SYS_CLONE, flags | signal.SIGCHLD, 0, slot, *last)


def _clone_into(flags: int, slot: int, tid: int, group: str) -> int:
    """As `_clone`, by clone3, which can put the child into a group; -1 where that cannot be done."""
    try:
        descriptor = os.open(group, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
    number = 0 if flags & libc.CLONE_PARENT else signal.SIGCHLD  # a sibling has the signal of this process
    arguments = _CLONE_ARGUMENTS.pack(
        flags | libc.CLONE_INTO_CGROUP, 0, tid, slot, number, 0, 0, 0, 0, 0, descriptor
    )
    try:
        return libc.syscall(libc.SYS_CLONE3, libc.address(arguments), len(arguments))
    except OSError:  # an older kernel, or a container's filter that knows clone but not clone3
        return -1
    finally:
        os.close(descriptor)


def _tid_address() -> int:
    """Where libc keeps the id of this thread; 0 if the kernel does not tell, or tells of something else."""
    where = bytearray(8)
    try:
        libc.prctl(_PR_GET_TID_ADDRESS, libc.address(where))
    except OSError:
        return 0
    address = int.from_bytes(where, sys.byteorder)
    if address == 0 or ctypes.c_int.from_address(address).value != threading.get_native_id():
        return 0
    return address
