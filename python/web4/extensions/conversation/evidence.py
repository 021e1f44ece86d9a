"""What a worker's end says about why it ended: read from evidence, never guessed (EXT-28). Pure."""

from __future__ import annotations

import signal as signals
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from web4.extensions.outcome import Outcome
    from web4.extensions.processes import Exit

_OUT_OF_MEMORY: Final = ("MemoryError", "std::bad_alloc", "memory allocation of ")
"""How Python, C++ and Rust say on standard error that the kernel gave them no memory."""


class Cause(NamedTuple):
    """Why a worker ended while it had a call."""

    code: str
    outcome: Outcome
    reason: str


def cause_of(
    exit_: Exit, *, memory_by: str, cpu_ns: int | None, cpu_limit_ns: int, stderr: str | None
) -> Cause:
    """Tell why a worker ended that nobody killed.

    Args:
        exit_: How it ended.
        memory_by: What limits its memory, of `Protections`: only where an address space is limited does a program
            learn that there is no more, and say so.
        cpu_ns: What the call used, as far as known.
        cpu_limit_ns: What it may use.
        stderr: The end of what it wrote there.
    """
    if exit_.oom:
        return Cause("extension_memory_exceeded", "killed", "the kernel ended it: it was over its memory")
    if exit_.signal == signals.SIGXFSZ:
        return Cause("extension_disk_exceeded", "killed", "the kernel ended it: a file was over its size")
    over = cpu_ns is not None and cpu_ns >= cpu_limit_ns
    if exit_.signal == signals.SIGXCPU or (exit_.signal == signals.SIGKILL and over):
        return Cause(
            "extension_cpu_exceeded", "killed", "the kernel ended it: it was over its processor time"
        )
    if memory_by == "rlimit" and stderr is not None and _says_no_memory(stderr):
        return Cause("extension_memory_exceeded", "crashed", "it ended because it got no more memory")
    return Cause("extension_crashed", "crashed", f"the worker {describe(exit_)} before it had answered")


def is_memory_error(code: str, memory_by: str) -> bool:
    """Whether an extension's own error is the SDK's for memory that it asked for and did not get."""
    return memory_by != "off" and code == "memory"


def describe(exit_: Exit) -> str:
    """How it ended, in words."""
    if exit_.signal is not None:
        try:
            return f"was ended by {signals.Signals(exit_.signal).name}"
        except ValueError:
            return f"was ended by signal {exit_.signal}"
    if exit_.status is not None:
        return f"exited with status {exit_.status}"
    return "ended"


def _says_no_memory(stderr: str) -> bool:
    """Whether the last line tells of it: an earlier one may have been caught."""
    lines = stderr.rstrip().splitlines()
    return bool(lines) and any(word in lines[-1] for word in _OUT_OF_MEMORY)
