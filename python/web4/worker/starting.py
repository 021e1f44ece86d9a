"""What a worker does between its fork and the first line of the extension (EXT-34, EXT-36).

The order is what makes it safe: nothing of the extension is looked at, not even its directory's module finder, before
the sandbox is complete and the node was told what is in force.
"""

from __future__ import annotations

import gc
import importlib
import os
import resource
import select
import signal
import socket
import sys
import tempfile
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from web4.worker import descriptors, forking, groups, sandbox
from web4.worker.request import (
    CommandEntry,
    Entered,
    Limits,
    NotEntered,
    PythonEntry,
    Report,
    Sandbox,
    WorkerRequest,
)
from web4.worker.sandbox import Unprotected, enter, libc

if TYPE_CHECKING:
    from web4.worker.request import Protections

EXIT_NOT_STARTED: Final = 125
"""Exit status of a worker that never came to the extension; the report has the reason."""
OOM_SCORE: Final = 500
"""Added, in thousandths of the memory there is, to what a worker holds when the kernel looks for whom to end."""
MAX_ENVIRONMENT: Final = 128 * 1024
"""Bytes of the variables that a manifest lets through, as MessagePack."""
_REASON_LIMIT: Final = 2_000
_ENCODER: Final = msgspec.msgpack.Encoder()
_ENVIRONMENT: Final = msgspec.msgpack.Decoder(dict[str, str])


class NodeGone(Exception):  # noqa: N818 - nobody is left to whom it would be an error
    """The node died between the fork and the parent-death signal (EXT-34)."""


def start(request: WorkerRequest, sources: tuple[int, ...], serve: str, *, alone: bool = False) -> NoReturn:
    """Become the worker that `request` describes. Never returns.

    Args:
        request: What to become.
        sources: Where standard input, output and error, the socket and the report are now; they become 0 to 4.
        serve: `module:function` of the SDK, called as `(descriptor, module, object, directory)`.
        alone: Whether its user namespace holds none but this worker, its descendants and its warden.
    """
    status = EXIT_NOT_STARTED
    try:
        descriptors.arrange(sources)
        try:
            protections = _enter(request)
            if alone and protections.processes != "seccomp":
                _bound(request.limits.processes + 1)
        except Unprotected as error:
            say(NotEntered(code="extension_unprotected", reason=str(error)[:_REASON_LIMIT]))
        except Exception as error:  # whatever it is, the node shall know why its worker did not start
            say(NotEntered(code="extension_start_failed", reason=said(error)))
        else:
            say(Entered(pid=os.getpid(), protections=protections))
            if isinstance(request.entry, CommandEntry):
                _execute(request.entry, request)
            else:
                status = _serve(request.entry, request.directory, serve)
    except NodeGone:
        pass
    finally:
        os._exit(status)  # a fork must never return into the loop of its template


def _enter(request: WorkerRequest) -> Protections:
    os.set_inheritable(descriptors.REPORT, False)
    if not request.warden:  # which has joined them for both
        groups.join(request.groups)
    os.setsid()
    _go_first()
    _settle(request, request.environment | passed())
    die_with_parent()
    return enter(request)


def _go_first() -> None:
    """When the machine's memory is out, let the kernel end workers before the node. None can take that back."""
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if int(os.read(descriptor, 16)) < OOM_SCORE:
            os.write(descriptor, b"%d" % OOM_SCORE)
    except (OSError, ValueError):
        return
    finally:
        os.close(descriptor)


def _settle(request: WorkerRequest, environment: dict[str, str]) -> None:
    for name in [*os.environ]:
        del os.environ[name]
    for name, value in environment.items():
        os.environ[name] = value
    os.environ["WEB4_WORKER_FD"] = str(descriptors.WORKER)
    os.umask(0o077)
    os.chdir(request.directory)
    tempfile.tempdir = None
    name_process(f"web4:{request.extension}")


def rehearse() -> None:
    """In the template: do what changes nothing, until Python has seen it often enough.

    Python rewrites code that it runs, and fills caches. What it has rewritten here is shared by all workers; what a
    worker rewrites, it copies first.
    """
    request = WorkerRequest(
        worker_id="",
        extension="template",
        entry=PythonEntry(module="", object=""),
        directory="/",
        tmp="/",
        environment=dict(os.environ),
        limits=Limits(memory=2**28, cpu_seconds=60, open_files=128, processes=1, file=2**28),
        sandbox=Sandbox(),
    )
    message = _ENCODER.encode(request)
    near, far = os.pipe()
    try:
        for _ in range(forking.ENOUGH):
            request = msgspec.msgpack.decode(message, type=WorkerRequest)
            _settle(request, request.environment)
            _is_gone(near)
            sandbox.rehearse(request)
    finally:
        os.close(near)
        os.close(far)
    del os.environ["WEB4_WORKER_FD"]


def _bound(processes: int) -> None:
    """Have the kernel refuse more: it counts a user's processes by user namespace. A warden counts them anyway."""
    try:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    except (OSError, ValueError):
        return


def passed() -> dict[str, str]:
    """The variables that the manifest lets through: sent before the fork, read by nobody but the worker (EXT-36)."""
    with socket.socket(fileno=os.dup(descriptors.REPORT)) as report:
        try:
            return _ENVIRONMENT.decode(report.recv(MAX_ENVIRONMENT, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return {}


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies, and look whether the node is there still (EXT-34).

    Raises:
        NodeGone: It is not.
    """
    libc.set_parent_death_signal(signal.SIGKILL)
    if _is_gone(descriptors.REPORT):  # the node holds the other end
        raise NodeGone


def _is_gone(descriptor: int) -> bool:
    """Whether nobody holds the other end."""
    watch = select.poll()
    watch.register(descriptor, 0)
    return bool(watch.poll(0))


def name_process(name: str) -> None:
    """Set what `ps` shows; the kernel keeps fifteen bytes."""
    text = name.encode(errors="replace")[:15] + b"\0"
    libc.prctl(libc.PR_SET_NAME, libc.address(text))


def say(report: Report) -> None:
    """Tell the node how the start went.

    Raises:
        NodeGone: It is not there to hear it.
    """
    try:
        os.write(descriptors.REPORT, _ENCODER.encode(report))
    except OSError:
        raise NodeGone from None


def said(error: BaseException) -> str:
    """An error, as a report says it."""
    return f"{type(error).__name__}: {error}"[:_REASON_LIMIT]


def _execute(entry: CommandEntry, request: WorkerRequest) -> None:
    program = os.path.join(request.directory, entry.argv[0])
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # an ignored signal stays so in the program
    try:
        os.execve(program, [program, *entry.argv[1:]], dict(os.environ))  # noqa: S606 - that is the entry
    except (OSError, ValueError) as error:
        reason = f"{entry.argv[0]}: {said(error)}"
        say(NotEntered(code="extension_start_failed", reason=reason))


def _serve(entry: PythonEntry, directory: str, serve: str) -> int:
    os.close(descriptors.REPORT)
    os.set_inheritable(descriptors.WORKER, False)  # what the extension starts has no business with the node
    gc.freeze()  # what the start has made lasts: a collection would only touch it, and copy what it refers to
    gc.enable()
    module, _, name = serve.partition(":")
    try:
        getattr(importlib.import_module(module), name)(
            descriptors.WORKER, entry.module, entry.object, directory
        )
    except SystemExit as error:
        return _exit_status(error)
    except BaseException:  # standard error is how the node learns of it
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        _flush()
    return 0


def _exit_status(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)  # noqa: T201 - what the interpreter does at its own end
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed, or nobody reads it any more
            continue
