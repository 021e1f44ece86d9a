"""The parent of a worker that may fork: it ends when the whole tree has ended, and not before (EXT-21, EXT-22).

As init of a PID namespace it need do nothing for that: the kernel kills what is left when an init ends, and the node's
SIGKILL ends it. Where no namespace can be made it is a child subreaper: every orphan of the tree becomes its child,
and it kills until it has none. Then it learns of the node's wish by the end of its control
socket, and of its death by a signal.
"""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from web4.worker import descriptors, groups, starting
from web4.worker.descendants import descendants
from web4.worker.request import NotEntered
from web4.worker.sandbox import libc

if TYPE_CHECKING:
    from web4.worker.request import WorkerRequest

CONTROL: Final = 5
"""Where the warden finds its end of the control socket."""
_LOOK: Final = 50
"""Milliseconds between two counts of the tree, where no control group bounds it."""
_SETTLE: Final = 0.0005
"""Seconds to let the killed die before the next look at those who are left."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The warden's word to the node: how the worker ended. What it left behind is being killed.

    Args:
        status: Exit status of a worker that ended by itself.
        signal: The number of the signal that ended it.
        exceeded: Whether the tree had more processes than it may have, and was ended for that.
    """

    status: int | None = None
    signal: int | None = None
    exceeded: bool = False


ENDED_DECODER: Final = msgspec.msgpack.Decoder(Ended)
_ENCODER: Final = msgspec.msgpack.Encoder()


def stand(
    request: WorkerRequest, sources: tuple[int, ...], serve: str, identity: tuple[int, int]
) -> NoReturn:
    """Start the worker that `request` describes, and stand over it to its end. Never returns.

    Args:
        request: What to start.
        sources: As for `starting.start`, and the control socket behind them.
        serve: As for `starting.start`.
        identity: Uid and gid of the template, as seen outside: those to keep in a user namespace.
    """
    node = os.getppid()
    try:
        descriptors.arrange(sources)
        try:
            worker, bounded = _begin(request, serve, identity)
        except starting.NodeGone:
            return  # type: ignore[misc]  # `finally` does not return
        except Exception as error:
            starting.say(NotEntered(code="extension_start_failed", reason=starting.said(error)))
            return  # type: ignore[misc]
        for descriptor in (0, 1, 2, descriptors.WORKER, descriptors.REPORT):
            os.close(descriptor)
        _prefer()
        _watch(worker, node, None if bounded or not request.forks else request.limits.processes)
        if not request.pid_namespace:  # else the end of this process is that of all others in it
            _end_all(worker)
    finally:
        os._exit(0)


def _begin(request: WorkerRequest, serve: str, identity: tuple[int, int]) -> tuple[int, bool]:
    os.set_inheritable(descriptors.REPORT, False)
    os.set_inheritable(CONTROL, False)
    os.setsid()
    starting.name_process("web4:warden")
    if request.pid_namespace:
        alone = _keep_identity(identity)
        starting.die_with_parent()  # and the namespace with it
    else:
        alone = False
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    groups.join(request.groups)
    worker = os.fork()
    if worker == 0:
        os.close(CONTROL)
        starting.start(request, tuple(range(descriptors.REPORT + 1)), serve, alone=alone)
    libc.prctl(libc.PR_SET_DUMPABLE, 0)  # nobody of the same user traces it or reads its memory
    return worker, groups.bounded(request.groups)


def _keep_identity(identity: tuple[int, int]) -> bool:
    """In a user namespace of its own a process is nobody until it says who it was. Whether it is in one."""
    with open("/proc/self/uid_map", "rb", buffering=0) as file:
        if file.read(64):  # it is still in the node's, where everybody has a name
            return False
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{identity[0]} {identity[0]} 1"),
        ("gid_map", f"{identity[1]} {identity[1]} 1"),
    ):
        with open(f"/proc/self/{name}", "wb", buffering=0) as file:
            file.write(text.encode())
    return True


def _prefer() -> None:
    """Come before the tree in the queue for a processor, where the privilege is there: it may be a crowd."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    except OSError:
        return


def _watch(worker: int, node: int, limit: int | None) -> None:
    """Reap until the worker ends, the node dies or closes the control socket, or the tree outgrows `limit`.

    The end of the socket is not enough: a program that embeds a node may have forked, and its child holds a copy.
    """
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    if libc.parent_death_signal() == 0:  # else it is SIGKILL, and the namespace ends with this process
        signal.signal(signal.SIGUSR1, lambda *_: None)
        libc.set_parent_death_signal(signal.SIGUSR1)
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    poll.register(CONTROL, select.POLLIN)
    own = int(os.readlink("/proc/self"))  # `/proc` may be of another namespace than this process's id
    while _reap(worker) and os.getppid() == node:
        ready = poll.poll(None if limit is None else _LOOK)
        if any(descriptor == CONTROL for descriptor, _ in ready):  # the node never writes: this is its end
            break
        if ready:
            _drain(woken)
        if limit is not None and len(descendants(own)) > limit:
            _send(Ended(exceeded=True))
            break
    signal.set_wakeup_fd(-1)


def _end_all(worker: int) -> None:
    """Kill and reap until there is no child left. What is killed while it forks has its child inherited by us."""
    while True:
        for pid in descendants(os.getpid()):
            _kill(pid)
        if not _reap(worker, all_of_them=True):
            return
        select.select((), (), (), _SETTLE)


def _reap(worker: int, *, all_of_them: bool = False) -> bool:
    """Reap what has ended; whether the worker lives (or, `all_of_them`, whether anything of the tree does)."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        if pid == worker:
            _tell(status)
            if not all_of_them:
                return False


def _tell(status: int) -> None:
    code = os.waitstatus_to_exitcode(status)
    _send(Ended(status=code) if code >= 0 else Ended(signal=-code))


def _send(ended: Ended) -> None:
    try:
        os.write(CONTROL, _ENCODER.encode(ended))
    except OSError:  # the node has gone, or has heard enough
        return


def _drain(descriptor: int) -> None:
    try:
        os.read(descriptor, 4096)
    except BlockingIOError:
        return


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
