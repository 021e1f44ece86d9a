"""The template: an interpreter that is ready, is alone, and knows nothing of any extension (EXT-35).

The node executes it early. It imports the SDK once, and from then on answers each request on its control socket with a
fork of itself whose parent is the node. A page that no worker writes to exists once for all of them.
"""

from __future__ import annotations

import gc
import importlib
import mmap
import os
import signal
import socket
import sys
from typing import Final, Literal, NoReturn

import msgspec

from web4.worker import forking, groups, starting, warden
from web4.worker.request import WorkerRequest
from web4.worker.sandbox import libc, places, prepare

MAX_MESSAGE: Final = 128 * 1024
"""Bytes of one request, all of its environment included."""
SLOTS_BYTES: Final = 4096
_PR_GET_SECCOMP: Final = 21
PidNamespace = Literal["privileged", "user", "off"]
_DESCRIPTORS: Final = 6
_REHEARSALS: Final = ("web4.worker.starting:rehearse", "web4.worker.forking:rehearse")


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """From the node: start a worker. With it come stdout, stderr, socket, report, and control for a warden.

    Args:
        request: What to become.
        slot: Where the kernel leaves the process id, in the memory that node and template share.
    """

    request: WorkerRequest
    slot: int


class Prepared(msgspec.Struct, frozen=True, tag="prepared", kw_only=True):
    """To the node, once: this template forks.

    Args:
        pid_namespace: How it can make one: with its own privilege, inside a user namespace, or not at all.
        seccomp: Whether the kernel filters system calls, and so can keep a worker from forking.
        failed: Modules that were to be imported and could not be, each with why.
    """

    pid_namespace: PidNamespace
    seccomp: bool
    failed: tuple[str, ...] = ()


class Forked(msgspec.Struct, frozen=True, tag="forked", kw_only=True):
    """To the node: the process that was asked for, in the node's eyes; a warden where one was asked for."""

    worker_id: str
    pid: int


class NotForked(msgspec.Struct, frozen=True, tag="not_forked", kw_only=True):
    """To the node: there is no such process, and why."""

    worker_id: str
    reason: str


FROM_TEMPLATE: Final = msgspec.msgpack.Decoder(Prepared | Forked | NotForked)
_REQUESTS: Final = msgspec.msgpack.Decoder(Fork)
_ENCODER: Final = msgspec.msgpack.Encoder()


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the node tells the template as it executes it, as JSON in argv.

    Args:
        path: What workers import from: an isolated interpreter has no path of its own.
        program: What the node alone imports from. Nobody writes there.
        control: Descriptor of the control socket.
        slots: Descriptor of the memory that both share.
        preload: Modules to import before the first fork; with `:function`, what to call there when all are in.
        serve: `module:function` of the SDK that runs a Python extension.
    """

    path: list[str]
    program: list[str]
    control: int
    slots: int
    preload: list[str]
    serve: str


def main(orders: str) -> NoReturn:
    """Be a template until the node goes."""
    told = msgspec.json.decode(orders, type=Orders)
    places.tell_program(told.program)
    _forget_the_host()
    libc.set_parent_death_signal(signal.SIGKILL)
    starting.name_process("web4:template")
    control = socket.socket(fileno=told.control)
    memory = mmap.mmap(told.slots, SLOTS_BYTES)
    memory.madvise(mmap.MADV_DONTFORK)  # a worker that could write it would choose what the node kills
    os.close(told.slots)
    importlib.import_module("encodings.ascii")  # else each fork looks for it on its own
    preload = (*told.preload, *_REHEARSALS) if told.preload else ()  # without, it is to fork but once
    failed = tuple(reason for one in preload if (reason := _import(one)))
    pid_namespace = _pid_namespace()
    gc.collect()
    gc.disable()
    prepared = Prepared(pid_namespace=pid_namespace, seccomp=_seccomp(), failed=failed)
    control.send(_ENCODER.encode(prepared))
    slots = forking.Slots(memory)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    while True:
        message, received, _flags, _address = socket.recv_fds(
            control, MAX_MESSAGE, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        if not message:
            sys.exit(0)
        order = _REQUESTS.decode(message)
        answer = _fork(order, slots, (nothing, *received), told.serve, pid_namespace)
        for descriptor in received:
            os.close(descriptor)
        control.send(_ENCODER.encode(answer))


def _fork(
    order: Fork, slots: forking.Slots, sources: tuple[int, ...], serve: str, pid_namespace: PidNamespace
) -> Forked | NotForked:
    request = order.request
    flags = libc.CLONE_PARENT
    if request.pid_namespace:
        flags |= libc.CLONE_NEWPID | (libc.CLONE_NEWUSER if pid_namespace == "user" else 0)
    identity = os.getuid(), os.getgid()
    group = groups.make(request.groups, request.limits, extra=1, alone=not request.forks)
    try:
        prepare(request)
        gc.freeze()  # a collection in the worker must not touch, and so copy, what it shares with its template
        pid = forking.fork(flags, slot=slots.address(order.slot), group=group)
    except Exception as error:  # of this request: the next one may do better
        groups.remove(request.groups)
        return NotForked(worker_id=request.worker_id, reason=starting.said(error))
    if pid == 0:
        if request.warden:
            warden.stand(request, sources, serve, identity)
        starting.start(request, sources, serve)
    return Forked(worker_id=request.worker_id, pid=pid)


def _forget_the_host() -> None:
    """Undo what an embedding program may have set up for itself and an execution keeps: signals and their mask."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):  # libc keeps a few to itself
            continue
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as every Python program has it
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _import(preload: str) -> str | None:
    module, _, function = preload.partition(":")
    try:
        found = importlib.import_module(module)
        if function:
            getattr(found, function)()
    except Exception as error:
        return f"{preload}: {type(error).__name__}: {error}"
    return None


def _seccomp() -> bool:
    try:
        return libc.prctl(_PR_GET_SECCOMP) >= 0
    except OSError:
        return False


def _pid_namespace() -> PidNamespace:
    """Find out by making one, and throwing it away."""
    for kind, flags in (("privileged", 0), ("user", libc.CLONE_NEWUSER)):
        try:
            pid = forking.fork(libc.CLONE_NEWPID | flags)
        except OSError:
            continue
        if pid == 0:
            os._exit(0 if os.getpid() == 1 else 1)
        _, status = os.waitpid(pid, 0)
        if status == 0:
            return kind  # type: ignore[return-value]  # one of the two
    return "off"
