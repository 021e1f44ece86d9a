# ruff: noqa: PTH123 - descriptors are what is passed here
"""Runs functions inside a sandbox: a process enters it and tells what each function met.

The processes are forked from one clean interpreter with one thread, like workers from their template; the functions
are imported before, as the SDK is. Each gives something that JSON can carry; what it raises is told by the name of its
errno, or of its type.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from web4.worker import groups
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
from web4.worker.sandbox import Unprotected, enter, landlock, libc, prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from web4.worker.request import Level, Network

MEBIBYTE = 1024 * 1024
PATIENCE = 60
BOOT = "import sys; sys.path[:] = sys.argv[2:]; from tests.worker.sandbox.inside import main; main()"

Call = tuple[Any, ...]
"""A function of a module, and its arguments."""


class Ran(NamedTuple):
    """What came of it: the report, what each call met, and how the process ended (negative: by a signal)."""

    report: Report
    outcomes: list[Any]
    status: int
    errors: str

    @property
    def protections(self) -> Protections:
        assert isinstance(self.report, Entered), (self.report, self.errors)
        return self.report.protections

    @property
    def refusal(self) -> str:
        assert isinstance(self.report, NotEntered), self.report
        assert self.outcomes == []
        return f"{self.report.code}: {self.report.reason}"

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
    read: tuple[str, ...] = (),
    write: tuple[str, ...] = (),
    hidden: tuple[str, ...] = (),
    required: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
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
        limits=Limits(memory=memory, cpu_seconds=PATIENCE, open_files=64, processes=processes, file=MEBIBYTE),
        sandbox=Sandbox(
            level=level,
            network=network,
            read=read,
            write=write,
            hidden=hidden,
            required=required,
            without=without,
        ),
        user=user,
        groups=groups,
    )


@functools.cache
def template() -> socket.socket:
    """The way to the interpreter that forks. It ends with this process."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOT, str(its.fileno()), *sys.path], pass_fds=(its.fileno(),)
        )
    return mine


def run(request: WorkerRequest, *calls: Call, joining: bool = True, abi: int = landlock.NEWEST) -> Ran:
    """Enter in a process of its own, make the calls there one after the other, and tell.

    Args:
        request: What to enter with.
        calls: Functions, and their arguments.
        joining: Whether the control groups of the request are joined before.
        abi: Landlock's, of the kernel to pretend to have.
    """
    named = [(call[0].__module__, call[0].__qualname__, list(call[1:])) for call in calls]
    (out, writes_out), (errors, writes_errors) = os.pipe(), os.pipe()
    socket.send_fds(
        template(), [msgspec.msgpack.encode((request, named, joining, abi))], [writes_out, writes_errors]
    )
    os.close(writes_out)
    os.close(writes_errors)
    with open(out, "rb") as reader, open(errors, "rb") as error_reader:
        lines, text = reader.read().splitlines(), error_reader.read().decode(errors="replace")
    status = struct.unpack("=i", template().recv(4))[0]
    assert lines, f"ended with {status}: {text}"
    report, *outcomes = [json.loads(line) for line in lines]
    return Ran(msgspec.convert(report, Report), outcomes, status, text)


def met(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives, or the name of the error it meets."""
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    """In the template: fork for every request, and answer how its process ended."""
    with socket.socket(fileno=int(sys.argv[1])) as control:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 1_000_000, 2)
            if not message:
                return
            request, named, joining, abi = msgspec.msgpack.decode(
                message, type=tuple[WorkerRequest, list[tuple[str, str, list[Any]]], bool, int]
            )
            calls = [(getattr(importlib.import_module(module), name), given) for module, name, given in named]
            prepare(request)
            pid = os.fork()
            if pid == 0:
                with contextlib.suppress(BaseException):
                    try:
                        for number, descriptor in enumerate(descriptors, 1):
                            os.dup2(descriptor, number)
                        os.closerange(3, 100)
                        if joining:
                            groups.join(request.groups)
                        landlock.abi = functools.partial(min, landlock.abi(), abi)
                        inside(request, calls)
                    except BaseException:
                        traceback.print_exc()
                        sys.stderr.flush()
                        os._exit(1)
                os._exit(0)
            for descriptor in descriptors:
                os.close(descriptor)
            control.send(struct.pack("=i", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))


def inside(request: WorkerRequest, calls: list[tuple[Callable[..., Any], list[Any]]]) -> None:
    """In the process that is forked: what a worker does before it enters, then the calls."""
    os.setsid()
    if "parent_death" not in request.sandbox.without:
        libc.set_parent_death_signal(signal.SIGKILL)
    os.chdir(request.directory)
    os.environ["TMPDIR"] = request.tmp
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
