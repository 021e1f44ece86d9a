"""Workers for the tests of a conversation: small programs that speak frames by hand, well or badly.

They are real processes without a sandbox, so that a test shows the conversation alone. `PlainProcess` has what a
conversation uses of a `WorkerProcess`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from textwrap import dedent
from typing import TYPE_CHECKING, Any, cast

import trio

from web4.extensions.conversation.call import Call
from web4.extensions.conversation.conversation import Conversation, open_conversation
from web4.extensions.conversation.sampling import Sampler
from web4.extensions.conversation.terms import Terms
from web4.extensions.manifests.manifest import Manifest, Resources, Timeouts, Tool
from web4.extensions.processes import Exit, Usage, WorkerProcess
from web4.worker.request import CommandEntry, Protections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LONG = 60.0
"""Seconds after which a test is stuck."""

PROLOGUE = """
import os, signal, socket, struct, sys, time

def pack(v):  # msgpack by hand: an import would cost each of these processes more than all the rest
    if v is None: return b"\\xc0"
    if v is True: return b"\\xc3"
    if v is False: return b"\\xc2"
    if isinstance(v, int) and v < 0: return b"\\xd3" + struct.pack(">q", v)
    if isinstance(v, int): return bytes([v]) if v < 128 else b"\\xcf" + struct.pack(">Q", v)
    if isinstance(v, float): return b"\\xcb" + struct.pack(">d", v)
    if isinstance(v, str):
        v = v.encode()
        return b"\\xdb" + struct.pack(">I", len(v)) + v
    if isinstance(v, bytes): return b"\\xc6" + struct.pack(">I", len(v)) + v
    if isinstance(v, dict):
        return b"\\xdf" + struct.pack(">I", len(v)) + b"".join(pack(k) + pack(w) for k, w in v.items())
    return b"\\xdd" + struct.pack(">I", len(v)) + b"".join(map(pack, v))

def unpack(d):
    at = 0
    def take(n):
        nonlocal at
        at += n
        return d[at - n : at]
    def number(n, signed=False): return int.from_bytes(take(n), "big", signed=signed)
    def many(n): return [one() for _ in range(n)]
    def pairs(n): return {one(): one() for _ in range(n)}
    def one():
        h = number(1)
        if h < 0x80: return h
        if h < 0x90: return pairs(h & 15)
        if h < 0xa0: return many(h & 15)
        if h < 0xc0: return take(h & 31).decode()
        if h > 0xdf: return h - 256
        if h in (0xc0, 0xc2, 0xc3): return {0xc0: None, 0xc2: False, 0xc3: True}[h]
        if h in (0xc4, 0xc5, 0xc6): return take(number(1 << h - 0xc4))
        if h == 0xca: return struct.unpack(">f", take(4))[0]
        if h == 0xcb: return struct.unpack(">d", take(8))[0]
        if h < 0xd0: return number(1 << h - 0xcc)
        if h < 0xd4: return number(1 << h - 0xd0, True)
        if h in (0xd9, 0xda, 0xdb): return take(number(1 << h - 0xd9)).decode()
        return (many if h < 0xde else pairs)(number(2 if h in (0xdc, 0xde) else 4))
    return one()

s = socket.socket(fileno=int(os.environ["WEB4_WORKER_FD"]))
s.setblocking(True)
held = bytearray()

def raw(frame):
    body = frame if isinstance(frame, bytes) else pack(frame)
    return len(body).to_bytes(4, "big") + body

def say(**frame):
    s.sendall(raw(frame))

def hear():
    global held
    while len(held) < 4 or len(held) < 4 + int.from_bytes(held[:4], "big"):
        data = s.recv(65536)
        if not data:
            raise SystemExit(0)
        held += data
    end = 4 + int.from_bytes(held[:4], "big")
    body = bytes(held[4:end])
    del held[:end]
    return unpack(body)

def ready(**other):
    say(**{"t": "ready", "protocol": 1, "sdk": "by hand", "tools": ["echo"], "commands": [], "hooks": []} | other)

def result(call, value=None, **other):
    say(t="result", id=call["id"], value=value, **other)
"""
START = """
hello = hear()
ready()
"""
SERVE = """
while True:
    call = hear()
    if call["t"] == "call":
        result(call, call["arguments"])
    elif call["t"] == "drain":
        raise SystemExit(0)
"""


class PlainProcess:
    """A subprocess with a socket, as a conversation knows it. One process; its children are not looked for."""

    def __init__(self, program: str, tmp: str, *, memory: str = "off") -> None:
        self.worker_id = f"plain-{os.urandom(4).hex()}"
        self.tmp = tmp
        self.calls = 0
        self.exit: Exit | None = None
        self.oom = False
        self.start_ms = 0.0
        self.protections = Protections(
            level="none",
            no_new_privs=False,
            capabilities=False,
            landlock=0,
            seccomp="off",
            network="allowed",
            signals="off",
            cgroup="off",
            tree_kill="single_process",
            memory=cast("Any", memory),
            processes="off",
            parent_death=False,
            user="root",
        )
        self.socket, theirs = socket.socketpair()
        self.socket.setblocking(False)
        self.stdout, out = os.pipe()
        self.stderr, err = os.pipe()
        os.set_blocking(self.stdout, False)
        os.set_blocking(self.stderr, False)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=[theirs.fileno()],
                env={"WEB4_WORKER_FD": str(theirs.fileno()), "TMPDIR": tmp},
            )
        os.close(out)
        os.close(err)
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._statm = os.open(f"/proc/{self.pid}/statm", os.O_RDONLY)
        self._reason: str | None = None
        self._gone = trio.Event()

    def kill(self, reason: str) -> None:
        if self.exit is None:
            self._reason = self._reason or reason
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def wait(self) -> Exit:
        await self._gone.wait()
        assert self.exit is not None
        return self.exit

    def usage(self, earlier: Usage | None = None) -> Usage:
        if self.exit is not None:
            return Usage(None, None, None, None)
        try:
            cpu = time.clock_gettime_ns((~self.pid << 3) | 2)
            resident = int(os.pread(self._statm, 128, 0).split()[1]) * 4096
            return Usage(cpu, resident, None, 1)
        except (OSError, IndexError):
            return Usage(None, None, None, None)

    async def reap(self) -> None:
        await trio.lowlevel.wait_readable(self._pidfd)
        _, status, used = os.wait4(self.pid, 0)  # noqa: ASYNC222 - it has ended
        code = self._process.returncode = os.waitstatus_to_exitcode(status)
        self.exit = Exit(
            status=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            reason=self._reason or ("exited" if code >= 0 else "signalled"),
            oom=self.oom,
            peak_memory_bytes=used.ru_maxrss * 1024,
            cpu_ms=(used.ru_utime + used.ru_stime) * 1e3,
        )
        os.close(self._pidfd)
        os.close(self._statm)
        self._gone.set()

    def close(self) -> None:
        self.kill("closed")
        if self.socket.fileno() >= 0:
            self.socket.close()
            os.close(self.stdout)
            os.close(self.stderr)


def manifest(**changed: Any) -> Manifest:
    """A manifest with one tool, `echo`. `timeouts` and `resources` are what differs from their defaults."""
    timeouts = Timeouts(**{"cancel_ms": 200, **changed.pop("timeouts", {})})
    resources = Resources(**changed.pop("resources", {}))
    tool = Tool(**{"name": "echo", "description": "", "input_schema": {}, **changed.pop("tool", {})})
    return Manifest(
        **{
            "name": "acme.test",
            "version": "1.2.3",
            "description": "",
            "entry": CommandEntry(("x",)),
            "tools": (tool,),
            "timeouts": timeouts,
            "resources": resources,
            **changed,
        }
    )


def a_call(arguments: Any = None, **changed: Any) -> Call:
    """A call of `echo` with an id of its own."""
    return Call(
        **{
            "call_id": f"call-{os.urandom(4).hex()}",
            "kind": "tool",
            "name": "echo",
            "arguments": arguments,
            "timeout_ms": 15_000,
            **changed,
        }
    )


@asynccontextmanager
async def plain_process(program: str, **options: Any) -> AsyncIterator[PlainProcess]:
    """A process that runs `program` after `PROLOGUE`. It is dead and reaped afterwards."""
    with tempfile.TemporaryDirectory() as tmp:
        process = PlainProcess(PROLOGUE + dedent(program), tmp, **options)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.reap)
            try:
                yield process
            finally:
                process.close()


@asynccontextmanager
async def conversing(
    program: str = START + SERVE,
    *,
    terms: Terms | None = None,
    greets: bool = True,
    samples: bool = False,
    before: Callable[[PlainProcess], None] | None = None,
    memory: str = "off",
    **changed: Any,
) -> AsyncIterator[Conversation]:
    """A conversation with a worker that runs `program`."""
    with trio.fail_after(LONG):
        async with plain_process(program, memory=memory) as process:
            if before is not None:
                before(process)
            held = open_conversation(cast("WorkerProcess", process), terms or Terms(manifest(**changed)))
            async with held as conversation, trio.open_nursery() as nursery:
                if greets:
                    await conversation.greet()
                if samples:
                    sampler = Sampler()
                    sampler.add(conversation)
                    nursery.start_soon(sampler.run)
                yield conversation
                nursery.cancel_scope.cancel()
