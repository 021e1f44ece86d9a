"""Runs functions inside a sandbox: a fresh interpreter enters it and tells what each function met.

The functions are imported before the sandbox is entered, as the SDK is in a worker. Each gives something that JSON can
carry; what it raises is told by the name of its errno, or of its type.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from web4.worker.request import (
    CommandEntry,
    Entered,
    Limits,
    NotEntered,
    Protections,
    PythonEntry,
    Report,
    Sandbox,
    WorkerRequest,
)
from web4.worker.sandbox import Unprotected, enter, libc

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.worker.request import Level, Network

MEBIBYTE = 1024 * 1024
PATIENCE = 60
BOOT = "import sys; sys.path[:] = sys.argv[1:]; from tests.worker.sandbox.inside import main; main()"

Call = tuple[Any, ...]
"""A function of a module, and its arguments."""


class Ran(NamedTuple):
    """What came of it: the report, what each call met, and how the process ended (negative: by a signal)."""

    report: Report | str
    outcomes: list[Any]
    status: int
    errors: str

    @property
    def protections(self) -> Protections:
        assert isinstance(self.report, Entered), (self.report, self.errors)
        return self.report.protections

    @property
    def outcome(self) -> Any:
        assert len(self.outcomes) == 1, self
        return self.outcomes[0]


def asked(
    directory: Path,
    *,
    level: Level = "standard",
    network: Network = "deny",
    entry: PythonEntry | CommandEntry = PythonEntry("m", "o"),  # noqa: B008 - frozen
    memory: int = 512 * MEBIBYTE,
    processes: int = 1,
    user: tuple[int, int] | None = None,
    groups: tuple[str, ...] = (),
    **sandbox: tuple[str, ...],
) -> WorkerRequest:
    """A request for a worker whose directory and `tmp` are made in `directory`."""
    for name in ("extension", "tmp"):
        (directory / name).mkdir(exist_ok=True)
        if user:
            os.chown(directory / name, *user)
    return WorkerRequest(
        worker_id="worker",
        extension="acme.attack",
        entry=entry,
        directory=str(directory / "extension"),
        tmp=str(directory / "tmp"),
        environment={},
        limits=Limits(
            memory=memory, cpu_seconds=PATIENCE, open_files=64, processes=processes, file=MEBIBYTE
        ),
        sandbox=Sandbox(level=level, network=network, **sandbox),
        user=user,
        groups=groups,
    )


def run(request: WorkerRequest, *calls: Call) -> Ran:
    """Enter in a process of its own, make the calls there one after the other, and tell."""
    named = [(call[0].__module__, call[0].__qualname__, list(call[1:])) for call in calls]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", BOOT, *sys.path],
        input=msgspec.msgpack.encode((request, named)),
        capture_output=True,
        timeout=PATIENCE,
        start_new_session=True,
        check=False,
    )
    report, *outcomes = [json.loads(line) for line in done.stdout.splitlines()] or [done.stderr.decode()]
    if isinstance(report, dict):
        report = msgspec.convert(report, Entered | NotEntered)
    return Ran(report, outcomes, done.returncode, done.stderr.decode(errors="replace"))


def met(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives, or the name of the error it meets."""
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    """In the process: standard input has what to do."""
    request, named = msgspec.msgpack.decode(
        sys.stdin.buffer.read(), type=tuple[WorkerRequest, list[tuple[str, str, list[Any]]]]
    )
    calls = [(getattr(importlib.import_module(module), name), given) for module, name, given in named]
    if "parent_death" not in request.sandbox.without:
        libc.set_parent_death_signal(signal.SIGKILL)
    os.chdir(request.directory)
    report: Report
    try:
        report = Entered(os.getpid(), enter(request))
    except Unprotected as error:
        report = NotEntered("extension_unprotected", error.reason)
    except Exception as error:
        report = NotEntered("extension_start_failed", f"{type(error).__name__}: {error}")
    _say(msgspec.to_builtins(report))
    if isinstance(report, Entered):
        for function, given in calls:
            _say(met(function, *given))


def _say(something: Any) -> None:
    os.write(1, json.dumps(something).encode() + b"\n")
