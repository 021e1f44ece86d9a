"""A SQLite store under test, with every ability that the contract suite knows of: on a simulated disk."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import apsw
import trio

from web4.journal.backends.sqlite import SqliteLimits, open_sqlite
from web4.journal.errors import NotCommittedError, OutcomeUnknownError
from web4.testing.disk import SimulatedDisk
from web4.testing.journal import StoreUnderTest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from web4.journal.backends.backend import Backend
    from web4.journal.backends.sqlite import SqliteBackend
    from web4.journal.lane import Lane
    from web4.journal.record import Commit
    from web4.testing.journal import Column, FailureKind, StoreFactory

_NUMBERS = count()
LIMITS = SqliteLimits(wal_pages=200)


class Openings:
    """The openings of one store, each in a task of its own, so that all of them can be ended at any moment."""

    def __init__(self, directory: Path, disk: SimulatedDisk, nursery: trio.Nursery) -> None:
        self._directory = directory
        self._disk = disk
        self._nursery = nursery
        self._open: dict[trio.Event, trio.Event] = {}
        self._planned: list[FailureKind] = []

    def fail(self, kind: FailureKind, times: int) -> None:
        """See `StoreUnderTest.fail`."""
        self._planned += [kind] * times

    @asynccontextmanager
    async def opened(self, *, read_only: bool = False) -> AsyncGenerator[Backend]:
        """One opening."""
        end, ended = trio.Event(), trio.Event()
        try:
            backend = await self._nursery.start(self._hold, read_only, end, ended)
            if isinstance(backend, BaseException):
                raise backend
            yield backend
        finally:
            end.set()
            with trio.CancelScope(shield=True):
                await ended.wait()

    async def _hold(self, read_only: bool, end: trio.Event, ended: trio.Event, task_status: Any) -> None:
        self._open[end] = ended
        try:
            async with open_sqlite(
                self._directory, read_only=read_only, vfs=self._disk.name, limits=LIMITS
            ) as backend:
                self._break(backend)
                task_status.started(backend)
                await end.wait()
        except Exception as error:
            task_status.started(error)
        finally:
            del self._open[end]
            ended.set()

    async def kill(self) -> None:
        """Cut the power under all of them: what `kill -9` leaves, and less."""
        self._disk.cut()
        for end, ended in list(self._open.items()):
            end.set()
            await ended.wait()
        self._disk.restore()

    def _break(self, backend: SqliteBackend) -> None:
        """Have commits fail as planned, each at the place where the engine would fail."""
        writer: Any = backend._writer
        if writer is None:
            return
        commit = writer.commit

        def failing(what: Commit) -> int:
            kind = self._planned.pop(0) if self._planned else None
            if kind == "not_committed":
                raise NotCommittedError("planned")
            if kind == "torn":
                self._disk.arm("write")
            number: int = 0 if kind == "unknown" else commit(what)
            if kind is not None:
                writer._unknown = True
                writer._drop()
                raise OutcomeUnknownError("planned")
            return number

        writer.commit = failing


def sqlite_factory(directory: Path) -> StoreFactory:
    """Stores in directories below `directory`."""

    @asynccontextmanager
    async def make() -> AsyncGenerator[StoreUnderTest]:
        number = next(_NUMBERS)
        place = directory / str(number)
        disk = SimulatedDisk(f"contract-{number}", seed=number)
        async with trio.open_nursery() as nursery:
            openings = Openings(place, disk, nursery)

            def opens(*, read_only: bool = False) -> AbstractAsyncContextManager[Backend]:
                return openings.opened(read_only=read_only)

            async def damage(lane: Lane, seq: int, column: Column) -> None:
                flip(place / "journal.db", lane, seq, column)

            async def holds(needle: bytes) -> bool:
                return any(needle in path.read_bytes() for path in place.iterdir())

            try:
                yield StoreUnderTest(
                    open=opens, kill=openings.kill, fail=openings.fail, damage=damage, holds=holds
                )
            finally:
                nursery.cancel_scope.cancel()
        disk.unregister()

    return make


def flip(path: Path, lane: Lane, seq: int, column: str) -> None:
    """Flip a bit of a stored record."""
    connection = apsw.Connection(str(path))
    where = "lane = (SELECT id FROM lane WHERE kind = ? AND name = ?) AND seq = ?"
    rows: Any = connection.execute(
        f"SELECT {column} FROM record WHERE {where}", (lane.kind, lane.id, seq)
    ).fetchall()
    was = bytearray(rows[0][0])
    was[7] ^= 1
    connection.execute(f"UPDATE record SET {column} = ? WHERE {where}", (bytes(was), lane.kind, lane.id, seq))
    connection.close()
