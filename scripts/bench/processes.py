"""Two child processes, pinned apart, and the lines that go between them and the parent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import msgspec

from scripts.bench.disturbance import Watch
from scripts.bench.figures import Measurement, Task

if TYPE_CHECKING:
    from types import TracebackType

_ROOT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


def cores() -> tuple[int, int] | None:
    """Return one core for each side, or None when there are not two."""
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else None


class _Child:
    def __init__(self, peer: str, role: str, credentials: Path, cpu: int | None, path: list[str]) -> None:
        command = [sys.executable, "-m", "scripts.bench.child", "--peer", peer, "--role", role]
        command += ["--credentials", str(credentials)]
        if cpu is not None:
            command += ["--cpu", str(cpu)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *path])}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def write(self, value: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(value) + b"\n")

    def read(self, kind: type[T]) -> T:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        return msgspec.json.decode(line, type=kind)

    def end(self, *, kill: bool) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if kill:
            self._process.kill()
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Pair:
    """A server and a client of one peer, linked and ready.

    Args:
        peer: Import name of the peer: a module, or `module:attribute`.
        credentials: Directory with the certificate and key of the TLS baselines.
        pin: One core for the server and one for the client; None leaves both to the scheduler.
        path: Further directories for the children's imports.
    """

    def __init__(self, peer: str, credentials: Path, *, pin: tuple[int, int] | None, path: list[str]) -> None:
        server, client = pin or (None, None)
        self._server = _Child(peer, "server", credentials, server, path)
        self._client = _Child(peer, "client", credentials, client, path)
        try:
            self._client.write(self._server.read(str))
            for child in (self._server, self._client):
                child.read(str)
        except BaseException:
            self._end(kill=True)
            raise

    def measure(self, task: Task) -> tuple[dict[str, Measurement], float]:
        """Run one figure: what each side saw, by role, and how many cores others kept busy meanwhile."""
        watch = Watch([self._server.pid, self._client.pid])
        self._server.write(task)
        self._client.write(task)
        seen = {"client": self._client.read(Measurement), "server": self._server.read(Measurement)}
        return seen, watch.cores()

    def _end(self, *, kill: bool) -> None:
        self._client.end(kill=kill)
        self._server.end(kill=kill)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kill=kind is not None)
