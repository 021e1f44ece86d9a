"""What this machine gives, for `web4 doctor`: tried out in processes made for it, the node itself never forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from typing import Final

import msgspec

from web4.worker.request import (
    REPORT_DECODER,
    Entered,
    Level,
    Limits,
    NotEntered,
    PythonEntry,
    Report,
    Sandbox,
    WorkerRequest,
)
from web4.worker.sandbox import landlock, libc
from web4.worker.sandbox.entering import enter
from web4.worker.sandbox.errors import Unprotected

_LEVELS: Final[tuple[Level, ...]] = ("none", "standard", "strict")
_PATIENCE: Final = 60
_START: Final = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from web4.worker.sandbox.probing import answer; answer(sys.stdin.buffer.read())"
)


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker of each level would have here, control groups and wardens aside: those are the node's to make.

    Args:
        release: Of the kernel.
        machine: Its instruction set.
        landlock: The ABI, as far as it is made use of; 0 without.
        levels: What was in force when it was tried, or why nothing started.
    """

    release: str
    machine: str
    landlock: int
    levels: dict[Level, Report]


def probe(*, user: tuple[int, int] | None = None, hidden: tuple[str, ...] = ()) -> Kernel:
    """Enter each level in a process of its own, and tell. Blocks for about a tenth of a second; call it in a thread.

    Args:
        user: Uid and gid of `worker_user`, where one is configured.
        hidden: What no worker may read (EXT-31).
    """
    system = os.uname()
    return Kernel(
        release=system.release,
        machine=system.machine,
        landlock=landlock.abi(),
        levels={level: _try(level, user, hidden) for level in _LEVELS},
    )


def _try(level: Level, user: tuple[int, int] | None, hidden: tuple[str, ...]) -> Report:
    with tempfile.TemporaryDirectory(prefix="web4-probe-") as directory:
        request = WorkerRequest(
            worker_id="probe",
            extension="probe",
            entry=PythonEntry("probe", "probe"),
            directory=directory,
            tmp=directory,
            environment={},
            limits=Limits(memory=1 << 30, cpu_seconds=_PATIENCE, open_files=64, processes=1, file=1 << 20),
            sandbox=Sandbox(level=level, hidden=hidden),
            user=user,
        )
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter
                [sys.executable, "-I", "-S", "-c", _START, *sys.path],
                input=msgspec.msgpack.encode(request),
                capture_output=True,
                timeout=_PATIENCE,
                start_new_session=True,
                check=True,
            )
            report: Report = REPORT_DECODER.decode(done.stdout)
        except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
            return NotEntered("extension_start_failed", f"the probe of level {level}: {error}")
        return report


def answer(request: bytes) -> None:
    """In the process made for it: enter, and write the report to standard output."""
    report: Report
    try:
        if libc.LINUX:
            libc.set_parent_death_signal(signal.SIGKILL)
        protections = enter(msgspec.msgpack.decode(request, type=WorkerRequest))
        report = Entered(os.getpid(), protections)
    except Unprotected as error:
        report = NotEntered("extension_unprotected", error.reason)
    except OSError as error:
        report = NotEntered("extension_start_failed", str(error))
    os.write(1, msgspec.msgpack.encode(report))
