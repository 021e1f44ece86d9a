"""What the kernel and the interpreter take by themselves: nobody can be faster (EXT-45)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import trio

from scripts.bench.meter import percentiles
from scripts.bench.workers_task import PAYLOAD, Task, latencies

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.bench.figures import Measurement

_now = time.perf_counter_ns
SAME_MODULES = "import web4.worker.template, web4.ext.serving, trio"
"""What a template imports before it forks."""


def ping_pong(task: Task) -> Measurement:
    """F: 1 KiB over a socketpair to another process and back, blocking."""
    with _Echoing() as (near, _):
        return _serial(task, lambda: _exchange(near))


def ping_pong_trio(task: Task) -> Measurement:
    """The same, with Trio waiting at the near end: what an asynchronous node cannot go below."""
    with _Echoing() as (near, _):
        near.setblocking(False)

        async def exchange() -> None:
            near.send(PAYLOAD)
            left = len(PAYLOAD)
            while left:
                await trio.lowlevel.wait_readable(near)
                left -= len(near.recv(left))

        async def calls() -> Measurement:
            for _ in range(task.warm_up):
                await exchange()
            taken = []
            begun = _now()
            for _ in range(task.samples):
                start = _now()
                await exchange()
                taken.append(_now() - start)
            return latencies(taken, (_now() - begun) / 1e9)

        return trio.run(calls)


def fork(task: Task) -> Measurement:
    """S: a bare fork of this small process, and waiting for it to end."""

    def once() -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)

    return _serial(task, once)


def interpreter(task: Task) -> Measurement:
    """A fresh interpreter that imports what a template has imported, until it says so."""
    program = f"{SAME_MODULES}; import os; os.write(1, b'.')"
    path = ":".join(sys.path)

    def once() -> None:
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": path}) as process:
            assert process.stdout is not None
            assert process.stdout.read(1) == b"."
            taken.append(_now() - start)

    taken: list[int] = []
    for _ in range(task.samples):
        start = _now()
        once()
    return percentiles(taken)


class _Echoing:
    """A process at the far end of a socketpair that sends back what it gets."""

    def __enter__(self) -> tuple[socket.socket, int]:
        self._near, far = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            self._near.close()
            while data := far.recv(len(PAYLOAD), socket.MSG_WAITALL):
                far.sendall(data)
            os._exit(0)
        far.close()
        return self._near, self._pid

    def __exit__(self, *_: object) -> None:
        self._near.close()
        os.waitpid(self._pid, 0)


def _exchange(near: socket.socket) -> None:
    near.sendall(PAYLOAD)
    near.recv(len(PAYLOAD), socket.MSG_WAITALL)


def _serial(task: Task, once: Callable[[], None]) -> Measurement:
    for _ in range(task.warm_up):
        once()
    taken = []
    begun = _now()
    for _ in range(task.samples):
        start = _now()
        once()
        taken.append(_now() - start)
    return latencies(taken, (_now() - begun) / 1e9)
