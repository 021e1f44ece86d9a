"""Repair and what is kept, on a real PostgreSQL: the same as everywhere (JRN-23b, JRN-24d)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.journal.ledger import DEFINITION, DEFINITIONS, LANE, Noted, Writer, sequence
from tests.journal.stores import registry, writing
from web4.journal.backends.postgresql import open_postgresql
from web4.journal.backends.postgresql.wire import Statement
from web4.journal.bundle import BundleSource, Selector, export_bundle, verify_bundle
from web4.journal.collection import GRACE_MS, collect_blobs
from web4.journal.compaction import compact
from web4.journal.draft import NewEvent
from web4.journal.errors import NotWriterError
from web4.journal.history import history
from web4.journal.repair import apply_repair, plan_repair
from web4.journal.replay import replay
from web4.journal.retention import Bounds, RetentionPolicy, retain
from web4.journal.verify import verify
from web4.testing.clocks import ManualClock

if TYPE_CHECKING:
    from pathlib import Path


DAMAGE = Statement("damage", "UPDATE @.records SET salt = 'xxxxxxxxxxxxxxxx'::bytea WHERE seq = 3")


class OnServer:
    """A store in a database."""

    def __init__(self, database: str, *, node: str = "one") -> None:
        self.database = database
        self.node = node

    def backend(self, *, read_only: bool = False) -> Any:
        return open_postgresql(self.database, node=self.node, read_only=read_only)


async def test_repair_on_a_server(database: str, tmp_path: Path) -> None:
    store = OnServer(database)
    async with writing(store) as journal:
        writer = Writer(journal)
        for command in sequence("place a", "start a", "note", "finish a"):
            await writer.handle(command)
        await writer.snapshot()
    async with store.backend() as backend:
        await backend._pool.run((DAMAGE, ()))
        plan = await plan_repair(backend)
        assert [(one.keep, one.head) for one in plan.lanes] == [(2, 4)]
        (done,) = await apply_repair(
            backend, plan, quarantine=tmp_path / "q", registry=registry(), clock=ManualClock()
        )
        assert done.removed == 2
        assert (await verify(backend, registry())).findings == []
        assert [(one.subject, one.started) for one in await backend.open_work()] == [("a", True)]
        assert [one.seq for one in (await history(backend, command_id="a")).entries] == [1, 2]
        head = await backend.head(LANE)
        async with open_postgresql(database, node="two") as other:
            with pytest.raises(NotWriterError):
                await other.cut(LANE, head, [])
    async with writing(store) as journal:
        await journal.append(LANE, [NewEvent(Noted("x"), 9_000)], expected_seq=2)
        assert (await verify(journal.backend, journal.registry)).findings == []


async def test_keeping_on_a_server(database: str, tmp_path: Path) -> None:
    """Retention, compaction, collection, bundles and replay over the same protocol."""
    clock = ManualClock()
    async with writing(OnServer(database), clock=clock) as journal:
        writer = Writer(journal)
        blob = await journal.put_blob(b"loose")
        await writer.notes(100)
        await compact(journal, LANE, seq=40, definition=DEFINITION)
        policy = RetentionPolicy(payloads=Bounds(max_records=20))
        (result,) = await retain(journal, {"session": policy}, definitions=DEFINITIONS)
        assert (result.base_seq, result.erased) == (40, 40)
        clock.advance(GRACE_MS)
        assert (await collect_blobs(journal)).removed == 1
        assert await journal.backend.blob(blob) is None
        assert (await verify(journal.backend, journal.registry)).findings == []
        live = await replay(journal.backend, DEFINITIONS, journal.registry)
        assert live.lanes[0].digest is not None
        await export_bundle(journal, Selector(), tmp_path / "b")
        assert verify_bundle(tmp_path / "b").findings == []
        assert BundleSource(tmp_path / "b").journal_id == journal.journal_id
        assert len((await history(journal, lane=LANE, limit=500)).entries) == 60
