"""Two child processes, pinned apart, and the lines that go between them and the parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from scripts.bench.disturbance import Watch
from scripts.bench.figures import Measurement, Task
from scripts.bench.load_damage import Mark
from scripts.bench.side import Address, Failure, Hello

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

_ROOT = Path(__file__).resolve().parents[2]
_OPEN_LIMIT = 40.0
"""Seconds within which a pair says hello and is linked."""
_END_LIMIT = 10.0
_LINE_LIMIT = 5.0
"""Seconds within which a line that has begun is whole."""
_FAILURE = b'{"failed":'
T = TypeVar("T")


class PeerFailedError(RuntimeError):
    """A peer did not do what it was asked to; the text says what happened."""


def cores() -> tuple[int, int] | None:
    """Return one core for each side, or None when there are not two."""
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else None


class Child:
    """A process that is told what to do, a line at a time, and that never keeps its parent waiting for ever."""

    def __init__(self, command: list[str], path: list[str]) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *path])}
        # A session of its own: what it starts itself, a server for one, ends with it.
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._buffer = b""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def write(self, value: object) -> None:
        """Send a line."""
        try:
            self._stdin.write(msgspec.json.encode(value) + b"\n")
        except BrokenPipeError:
            raise PeerFailedError("the process is gone") from None

    @property
    def ready(self) -> bool:
        """Whether a line is here already."""
        return b"\n" in self._buffer

    def fileno(self) -> int:
        """Return what to wait on for a line."""
        return self._stdout.fileno()

    def read(self, kind: type[T] | Any, limit: float) -> T:
        """Return its next line.

        Raises:
            PeerFailedError: It gave up, ended, or took more than `limit` seconds.
        """
        give_up = time.monotonic() + limit
        while b"\n" not in self._buffer:
            if not select.select([self], [], [], max(0.0, give_up - time.monotonic()))[0]:
                raise PeerFailedError(f"no answer within {limit:.0f} s")
            data = os.read(self._stdout.fileno(), 65536)
            if not data:
                raise PeerFailedError(f"the process ended with {self._process.wait()}")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        if line.startswith(_FAILURE):
            raise PeerFailedError(msgspec.json.decode(line, type=Failure).failed)
        found: T = msgspec.json.decode(line, type=kind)
        return found

    def close_input(self) -> None:
        """Let it end."""
        self._stdin.close()

    def end(self, *, kill: bool) -> None:
        """Let it end, and see that nothing of it stays."""
        self.close_input()
        if not kill:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_LIMIT)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._stdout.close()


def first_ready(children: Mapping[str, Child], limit: float) -> str:
    """Return the name of a child that has something to say.

    Raises:
        PeerFailedError: None has within `limit` seconds.
    """
    names = {child: name for name, child in children.items()}
    for child, name in names.items():
        if child.ready:
            return name
    for child in select.select(list(names), [], [], max(0.0, limit))[0]:
        return names[child]
    raise PeerFailedError(f"no answer of {' and '.join(children)} in time")


class Pair:
    """A server and a client of one peer, linked and ready.

    Args:
        peer: Import name of the peer: a module, or `module:attribute`.
        credentials: Directory with the certificate and key of the TLS baselines.
        pin: One core for the server and one for the client; None leaves both to the scheduler.
        path: Further directories for the children's imports.
        through: Returns the address to give to the client for the server's: that of a proxy, for one.

    Raises:
        PeerFailedError: It could not be opened; the text says why.
    """

    def __init__(
        self,
        peer: str,
        credentials: Path,
        *,
        pin: tuple[int, int] | None,
        path: list[str],
        through: Callable[[Address], Address] | None = None,
    ) -> None:
        self.server, self.client = (
            Child(_command(peer, role, credentials, cpu), path)
            for role, cpu in zip(("server", "client"), pin or (None, None), strict=True)
        )
        self.children = {"server": self.server, "client": self.client}
        try:
            self.hello: Hello = self.server.read(Hello, _OPEN_LIMIT)
            self.client.read(Hello, _OPEN_LIMIT)
            address: Address = self.server.read(Address, _OPEN_LIMIT)
            self.client.write(through(address) if through else address)
            for child in (self.client, self.server):
                child.read(str, _OPEN_LIMIT)
        except BaseException:
            self._end(kill=True)
            raise

    def measure(
        self, task: Task, on_mark: Callable[[], object] | None = None
    ) -> tuple[dict[str, Measurement], float]:
        """Run one figure: what each side saw, by role, and how many cores others kept busy meanwhile.

        Args:
            task: The figure.
            on_mark: Called whenever the client asks for damage.

        Raises:
            PeerFailedError: A side gave up, or took too long.
        """
        watch = Watch([self.server.pid, self.client.pid])
        self.server.write(task)
        self.client.write(task)
        give_up = time.monotonic() + task.limit
        seen: dict[str, Measurement] = {}
        while len(seen) < 2:
            waiting = {role: child for role, child in self.children.items() if role not in seen}
            role = first_ready(waiting, give_up - time.monotonic())
            line: Mark | Measurement = waiting[role].read(Mark | Measurement, _LINE_LIMIT)
            if not isinstance(line, Mark):
                seen[role] = line
            elif on_mark is not None:
                on_mark()
        return seen, watch.cores()

    def _end(self, *, kill: bool) -> None:
        # Both at once, or each would wait in vain for the other's farewell.
        for child in self.children.values():
            child.close_input()
        self.client.end(kill=kill)
        self.server.end(kill=kill)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kill=kind is not None)


def _command(peer: str, role: str, credentials: Path, cpu: int | None) -> list[str]:
    command = ["-m", "scripts.bench.child", "--peer", peer, "--role", role, "--credentials", str(credentials)]
    return [*command, "--cpu", str(cpu)] if cpu is not None else command
