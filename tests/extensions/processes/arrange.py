"""What the tests of worker processes share: victims, and a count of what is left of them."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from web4.extensions.processes import Processes, StartSpec, WorkerProcess, open_processes
from web4.worker.request import CommandEntry, Limits, PythonEntry, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from web4.extensions.processes.processes import Mechanism

VICTIMS = Path(__file__).parent / "victims"
SERVE = "tests.extensions.processes.plain:serve"
ROUNDS = int(os.environ.get("WEB4_ROUNDS", "1"))
PATIENCE = 60 + 2 * ROUNDS
"""Seconds after which a test has hung."""


class Telemetry:
    """Keeps what was emitted."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, /, **fields: Any) -> None:
        self.events.append((kind, fields))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [fields for one, fields in self.events if one == kind]


def spec(
    victim: str = "echo",
    *,
    processes: int = 1,
    memory: int = 256 << 20,
    environment: dict[str, str] | None = None,
    user: tuple[int, int] | None = None,
    open_files: int = 64,
    directory: Path = VICTIMS,
    extension: str = "acme.victim",
    command: tuple[str, ...] | None = None,
    **sandbox: Any,
) -> StartSpec:
    return StartSpec(
        extension=extension,
        version="1.0.0",
        entry=CommandEntry(command) if command else PythonEntry("attacks", victim),
        directory=str(directory),
        environment=environment or {},
        limits=Limits(
            memory=memory, cpu_seconds=60, open_files=open_files, processes=processes, file=64 << 20
        ),
        sandbox=Sandbox(**sandbox),
        user=user,
    )


@asynccontextmanager
async def opened(
    directory: Path,
    *,
    emit: Any = None,
    without: Collection[Mechanism] = (),
    preload: tuple[str, ...] = (),
) -> AsyncIterator[Processes]:
    with trio.fail_after(PATIENCE):
        async with open_processes(
            runtime=directory,
            emit=emit or Telemetry(),
            preload=("tests.extensions.processes.plain", *preload),
            serve=SERVE,
            without=without,
        ) as processes:
            yield processes


async def read(worker: WorkerProcess, size: int = 65536) -> bytes:
    """What the worker sends next; empty at its end."""
    while True:
        try:
            return worker.socket.recv(size)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(worker.socket)
        except ConnectionResetError:
            return b""


async def underway(worker: WorkerProcess) -> bytes:
    """Wait until the victim does what it is for; what it says of it."""
    said = await read(worker)
    assert said.startswith(b"up"), complaint(worker)
    return said[2:]


def complaint(worker: WorkerProcess) -> str:
    """What is on its standard error."""
    try:
        return os.read(worker.stderr, 65536).decode()
    except BlockingIOError:
        return "no word"


def survivors(worker: WorkerProcess) -> bool:
    """Whether any descendant still holds the pipe that all of them inherited as standard output."""
    try:
        while os.read(worker.stdout, 65536):
            pass
    except BlockingIOError:
        return True
    return False


def named(extension: str) -> list[int]:
    """Processes that bear the name of an extension, by which a worker and all it forks are known."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == f"web4:{extension}"[:15]:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def zombies() -> bool:
    """Whether a child of this process waits to be reaped."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found


OTHERS: set[int] = set()
"""Children that were there before the test: the workers of other modules' fixtures."""


def children() -> set[int]:
    """Process ids of the children that this test has made."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(word) for word in (task / "children").read_text().split()}
    return found - OTHERS


def groups() -> set[str]:
    """Control groups of any run of Web4."""
    return {str(path) for path in Path("/sys/fs/cgroup").glob("**/web4.*/**/")}


async def settled(processes: Processes) -> None:
    """Wait until everything that ended is cleaned up too."""
    while processes.living:
        await trio.sleep(0.001)
