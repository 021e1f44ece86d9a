"""The few words that the start sequence says to the kernel itself."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, Final

import cffi

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36


def set_parent_death_signal(signal: int) -> None:
    """Have `signal` sent to this process when the thread that is its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signal)


def become_subreaper() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def forbid_inspection() -> None:
    """Let no process of the same user trace this one or read its memory."""
    _prctl(_PR_SET_DUMPABLE, 0)


def name_process(name: str) -> None:
    """Set what `ps` shows; the kernel keeps fifteen bytes."""
    ffi, library = _libc()
    text = ffi.new("char[]", name.encode(errors="replace")[:15])
    library.prctl(_PR_SET_NAME, int(ffi.cast("uintptr_t", text)), 0, 0, 0)


def _prctl(option: int, argument: int) -> None:
    ffi, library = _libc()
    if library.prctl(option, argument, 0, 0, 0) != 0:
        error = ffi.errno
        raise OSError(error, os.strerror(error))


@lru_cache(maxsize=1)
def _libc() -> tuple[Any, Any]:
    ffi = cffi.FFI()
    ffi.cdef("int prctl(int, uintptr_t, unsigned long, unsigned long, unsigned long);")
    return ffi, ffi.dlopen(None)
