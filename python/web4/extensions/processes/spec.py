"""What a worker process is started with, what it uses, and how it ends."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from web4.worker.request import CommandEntry, Limits, PythonEntry, Sandbox


class StartSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A worker to start.

    Args:
        extension: Its name.
        version: Its version.
        entry: What runs in the worker.
        directory: The extension's, absolute; the worker's working directory.
        environment: What the manifest lets through, and the node adds. `PATH`, `LANG`, `HOME`, `TMPDIR` and
            `PYTHONPYCACHEPREFIX` have values of their own unless they are here; nothing else of the node's environment
            reaches a worker.
        limits: Of section 6.
        sandbox: Of section 8.
        user: Uid and gid to become; None to stay what the node is.
        generation: Of the extension (EXT-39), for telemetry.
    """

    extension: str
    version: str
    entry: PythonEntry | CommandEntry
    directory: str
    environment: dict[str, str] = {}
    limits: Limits
    sandbox: Sandbox = Sandbox()
    user: tuple[int, int] | None = None
    generation: int = 0


class Usage(NamedTuple):
    """What a worker's tree uses at a moment. What could not be read is None, as it is of one that has ended.

    Args:
        cpu_ns: Processor time since it started, nanoseconds.
        resident: Memory, bytes; pages it shares with its template included.
        descriptors: Open ones of its first process.
        processes: How many it has.
    """

    cpu_ns: int | None
    resident: int | None
    descriptors: int | None
    processes: int | None


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker ended (EXT-28): evidence, no guess.

    Args:
        status: Exit status, when it ended by itself and nobody else reaped it.
        signal: The number of the signal that ended it.
        reason: What `WorkerProcess.kill` was given; `exited` or `signalled` when it was not called; `processes` when
            a warden ended a tree that had outgrown its limit.
        oom: Whether the kernel killed a process of it for want of memory.
        peak_memory_bytes: The most that it held: of the tree where a control group counts it, else of its largest
            process.
        cpu_ms: Processor time of the whole tree.
    """

    status: int | None = None
    signal: int | None = None
    reason: str
    oom: bool = False
    peak_memory_bytes: int | None = None
    cpu_ms: float | None = None
