"""Journals in memory for tests: events, faults, a clock that jumps, and what was emitted."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import MemoryStore, ScriptedFaults, open_memory
from web4.journal.event_types import EventRegistry, EventType
from web4.journal.journal import NewEvent
from web4.journal.lane import Lane
from web4.journal.limits import JournalLimits
from web4.journal.opening import open_journal
from web4.testing import TrioClock
from web4.testing.clocks import START_MS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from web4.foundation.identity import Identity
    from web4.journal.backends.memory.faults import Faults
    from web4.journal.journal import Journal

ONE, TWO, THREE = Lane("session", "one"), Lane("session", "two"), Lane("peer", "ab" * 32)


class Noted(msgspec.Struct, frozen=True):
    text: str


NOTED = EventType(name="test.noted", struct=Noted, classes={"text": "retainable"})


def note(text: object, at: int = START_MS, **more: Any) -> NewEvent:
    """An event."""
    return NewEvent(Noted(str(text)), at, **more)


@dataclass
class Emitted:
    """An emitter that keeps what it is told."""

    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, name: str, /, **fields: Any) -> None:
        self.seen.append((name, fields))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [fields for seen, fields in self.seen if seen == name]


@dataclass
class Bench:
    """A store in memory that outlives its journals, with faults, and with what they emitted."""

    store: MemoryStore = field(default_factory=lambda: MemoryStore(ids=SeededIds("store")))
    faults: Any = field(default_factory=ScriptedFaults)
    emitted: Emitted = field(default_factory=Emitted)

    @asynccontextmanager
    async def journal(
        self,
        *,
        identity: Identity | None = None,
        faults: Faults | None = None,
        read_only: bool = False,
        **limits: Any,
    ) -> AsyncGenerator[Journal]:
        """Open it, under Trio's clock."""
        async with (
            open_memory(self.store, faults=faults or self.faults, read_only=read_only) as backend,
            open_journal(
                backend,
                registry=EventRegistry([NOTED]),
                identity=identity,
                clock=TrioClock(),
                ids=SeededIds("salts"),
                emit=self.emitted,
                limits=JournalLimits(**limits),
            ) as journal,
        ):
            yield journal


async def texts(journal: Journal, lane: Lane) -> list[str]:
    """What a lane says, and that its numbers have no gap."""
    base = (await journal.head(lane)).base_seq
    records = await journal.read(lane, after=base, limit=10_000)
    assert [one.seq for one in records] == list(range(base + 1, base + 1 + len(records)))
    return [journal.registry.decode(one).text for one in records if one.type == NOTED.name]


async def types(journal: Journal, lane: Lane) -> list[str]:
    """The types of a lane's events."""
    return [one.type for one in await journal.read(lane, limit=10_000)]
