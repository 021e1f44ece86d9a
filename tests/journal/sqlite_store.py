"""A store in SQLite under test: on a simulated disk that fails, with every ability that the contract suite knows of."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

import apsw

from web4.journal.backends.sqlite import SqliteLimits, open_sqlite
from web4.testing.disk import SimulatedDisk
from web4.testing.journal import StoreUnderTest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from web4.journal.backends.backend import Durability
    from web4.journal.backends.sqlite import SqliteBackend
    from web4.journal.lane import Lane
    from web4.journal.record import Commit
    from web4.testing.disk import Fault
    from web4.testing.journal import Column, FailureKind, StoreFactory

_NUMBERS = count()
# A write that fails after part of it, at once or behind what was written before; a sync of what is written already,
# which the engine may still find, or not.
_FAULTS: dict[FailureKind, tuple[Fault, int]] = {
    "not_committed": ("full", 0),
    "unknown": ("write", 0),
    "torn": ("write", 1),
    "reply_lost": ("sync", 0),
}


class Store:
    """One journal directory, and the disk it is on."""

    def __init__(self, directory: Path, *, durability: Durability) -> None:
        self._directory = directory
        self._durability: Durability = durability
        self._disk = SimulatedDisk(f"contract-{next(_NUMBERS)}", seed=str(directory.name))
        self._failures: list[FailureKind] = []

    def under_test(self) -> StoreUnderTest:
        return StoreUnderTest(
            open=self.open, kill=self.kill, fail=self.fail, damage=self.damage, holds=self.holds
        )

    @asynccontextmanager
    async def open(self, *, read_only: bool = False) -> AsyncGenerator[SqliteBackend]:
        if self._disk.off:
            self._disk.restore()
        async with open_sqlite(
            self._directory,
            durability=self._durability,
            read_only=read_only,
            limits=SqliteLimits(reserve_bytes=0),
            vfs=self._disk.name,
        ) as backend:
            commit = backend.commit

            async def failing_commit(what: Commit) -> int:
                if self._failures:
                    fault, after = _FAULTS[self._failures.pop(0)]
                    self._disk.arm(fault, after=after)
                try:
                    return await commit(what)
                finally:
                    self._disk.disarm()

            backend.commit = failing_commit  # type: ignore[assignment]
            yield backend

    async def kill(self) -> None:
        """Cut the power, which is worse than a kill: what was not synced is lost, or half of it."""
        self._disk.cut()

    def fail(self, kind: FailureKind, times: int) -> None:
        self._failures += [kind] * times

    async def damage(self, lane: Lane, seq: int, column: Column) -> None:
        database = apsw.Connection(str(self._directory / "journal.db"))
        where = "seq = ? AND lane = (SELECT id FROM lane WHERE kind = ? AND name = ?)"
        place = (seq, lane.kind, lane.id)
        ((was,),) = database.execute(f"SELECT {column} FROM record WHERE {where}", place).fetchall()
        assert isinstance(was, bytes)
        changed = bytes([was[0] ^ 1]) + was[1:]
        database.execute(f"UPDATE record SET {column} = ? WHERE {where}", (changed, *place))
        database.close()

    async def holds(self, needle: bytes) -> bool:
        files = [one for one in self._directory.rglob("*") if one.is_file()]
        return any(needle in one.read_bytes() for one in files)


def sqlite_factory(directory: Path, *, durability: Durability = "strict") -> StoreFactory:
    """Stores in directories of their own for the contract suite."""

    @asynccontextmanager
    async def factory() -> AsyncGenerator[StoreUnderTest]:
        yield Store(directory / f"journal{next(_NUMBERS)}", durability=durability).under_test()

    return factory
