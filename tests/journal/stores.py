"""Stores of either sort that can be opened again and again, and damaged in between."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import apsw

from tests.journal.ledger import NODE, types
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.backends.memory.store import Row
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.opening import open_journal
from web4.journal.own_events import OWN_EVENTS
from web4.journal.redaction import Redactor
from web4.testing.clocks import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from web4.journal.journal import Journal
    from web4.journal.lane import Lane


def registry() -> EventRegistry:
    """The lane's events and the journal's own."""
    return EventRegistry([*types(), *OWN_EVENTS])


class Openable(Protocol):
    """A store between its openings."""

    def backend(self, *, read_only: bool = False) -> Any:
        """Open it: an asynchronous context manager."""
        ...


class Store(Openable, Protocol):
    """A store that can be damaged."""

    def damage(self, lane: Lane, seq: int, **columns: bytes) -> None:
        """Overwrite columns of a record, behind the back of everybody. Only while it is closed."""
        ...


class InMemory:
    """A store in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore(ids=SeededIds(5))

    def backend(self, *, read_only: bool = False) -> Any:
        return open_memory(self.store, read_only=read_only)

    def damage(self, lane: Lane, seq: int, **columns: bytes) -> None:
        stored = self.store.lanes[lane]
        row = stored.rows[seq - stored.first]
        stored.rows[seq - stored.first] = Row(**{**row._asdict(), **columns})


class OnDisk:
    """A store in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def backend(self, *, read_only: bool = False) -> Any:
        return open_sqlite(self.directory, read_only=read_only)

    def damage(self, lane: Lane, seq: int, **columns: bytes) -> None:
        connection = apsw.Connection(str(self.directory / "journal.db"))
        for name, value in columns.items():
            connection.execute(
                f"UPDATE record SET {name} = ? WHERE seq = ? AND lane = "
                "(SELECT id FROM lane WHERE kind = ? AND name = ?)",
                (value, seq, lane.kind, lane.id),
            )
        connection.close()


@asynccontextmanager
async def writing(
    store: Openable, *, redactor: Redactor | None = None, clock: ManualClock | None = None, **options: Any
) -> AsyncIterator[Journal]:
    """A journal over a store, open for writing."""
    async with (
        store.backend() as backend,
        open_journal(
            backend,
            registry=EventRegistry(types()),
            identity=NODE,
            redactor=redactor or Redactor(backend.hash_key),
            clock=clock or ManualClock(),
            **options,
        ) as journal,
    ):
        yield journal
