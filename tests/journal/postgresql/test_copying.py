"""Moving a journal to PostgreSQL (docs/guides/postgresql.md)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.journal.postgresql.arrange import append, commit_of, sealed
from web4 import _core
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.backends.postgresql import open_postgresql
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.copying import Copied, copy_journal
from web4.journal.errors import CopyError, CorruptJournalError, JournalOpenError
from web4.journal.lane import SERVER, Lane
from web4.journal.record import Commit, Snapshot, Work

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from web4.journal.backends.backend import Backend

A, B, C = Lane("session", "a"), Lane("session", "b"), Lane("peer", "c")
BLOB = b"blob" * 1_000


@asynccontextmanager
async def open_source(kind: str, directory: Path) -> AsyncGenerator[Any]:
    if kind == "memory":
        async with open_memory(MemoryStore()) as memory:
            yield memory
    else:
        async with open_sqlite(directory / "journal") as sqlite:
            yield sqlite


async def fill(backend: Backend) -> None:
    """Something of everything: batches over lanes, erased payloads, a base, a lane with no record left, work."""
    heads = {lane: await backend.own(lane) for lane in (A, B, C, SERVER)}
    for number in range(5):
        parts = [
            sealed(
                lane,
                heads[lane],
                [b'{"n":%d}' % number, b'{"x":"\\u0000"}'],
                refs=(("session", lane.id), ("turn", "t\x00")),
                works=[
                    Work("begin", f"c{number}"),
                    Work("request", f"e{number}", f"c{number}", idempotent=True),
                ],
            )
            for lane in heads
        ]
        await backend.commit(commit_of(*parts))
        heads.update({move.lane: move.after for _, move in parts})
    records = {lane: await backend.read(lane) for lane in heads}
    await backend.put_snapshot(Snapshot.of(A, 8, records[A][7].hash, b'{"a":8}', 3), keep=2)
    bases = [
        Snapshot.of(A, 3, records[A][2].hash, b'{"a":3}', 3),
        Snapshot.of(C, 10, records[C][9].hash, b'{"c":10}', 1),
    ]
    await backend.commit(Commit([], [], bases, [(A, 6), (B, 2)]))
    await backend.prune(C, limit=100)
    await backend.put_blob(f"b3:{_core.blake3(BLOB).hex()}", BLOB, at=77)


async def everything(backend: Backend) -> dict[str, Any]:
    """All that a backend tells, but where it puts things."""
    heads = await backend.heads()
    return {
        "id": (backend.journal_id, backend.hash_key),
        "heads": heads,
        "lanes": {lane: [plain(record) for record in await backend.read(lane)] for lane, _ in heads},
        "history": [plain(record) for record in await backend.scan()],
        "found": [plain(record) for record in await backend.find(("turn", "t\x00"))],
        "work": await backend.open_work(),
        "snapshots": {lane: await backend.snapshots(lane) for lane, _ in heads},
        "blobs": [(entry, await backend.blob(entry[0])) for entry in await backend.blobs()],
    }


def plain(record: Any) -> tuple[Any, ...]:
    stored = (record.header, record.payload, record.salt, record.payload_hash, record.hash)
    return (record.lane, record.seq, record.commit, *stored)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_copy_is_the_journal(kind: str, tmp_path: Path, database: str) -> None:
    """Same id, key, lanes, bytes, hashes, commits, unfinished work, snapshots and blobs; and it goes on from there."""
    async with open_source(kind, tmp_path) as source:
        await fill(source)
        before = await everything(source)
        async with open_postgresql(database, node="one") as target:
            await target.own(B)
            assert await copy_journal(source, target) == Copied(lanes=4, records=27, snapshots=3, blobs=1)
            assert await everything(target) == before == await everything(source)
            last = before["history"][-1][2]
            head = await target.own(C)
            assert (head.seq, head.base_seq) == (10, 10)
            records, move = sealed(C, head, [b"{}"])
            assert await target.commit(commit_of((records, move))) > last
            assert (await target.scan())[-1].hash == move.after.hash
    async with open_postgresql(database, node="two") as again:
        assert again.journal_id == before["id"][0]
        await append(again, C, await again.own(C), b"{}")


async def test_a_copy_goes_into_an_empty_journal_only(tmp_path: Path, database: str) -> None:
    """Nothing is overwritten, and no opening elsewhere is left with another journal than it opened."""
    async with open_source("memory", tmp_path) as source:
        await fill(source)
        async with open_postgresql(database, node="one") as target:
            mine = target.journal_id
            async with open_postgresql(database, node="two") as other:
                with pytest.raises(CopyError) as refused:
                    await copy_journal(source, target)
                assert refused.value.code == "not_empty"
                await append(other, A, await other.own(A), b"{}")
            with pytest.raises(CopyError) as refused:
                await copy_journal(source, target)
            assert refused.value.code == "not_empty"
            assert target.journal_id == mine
            assert [plain(r)[:2] for r in await target.scan()] == [(A, 1)]


async def test_a_copy_is_whole_or_nothing(tmp_path: Path, database: str) -> None:
    """Cancelled, refused or damaged: the target is as it was, and takes the next attempt."""
    async with open_source("memory", tmp_path) as source, open_postgresql(database, node="one") as target:
        await fill(source)
        mine = (target.journal_id, target.hash_key)
        steps = 0
        while True:
            with trio.CancelScope() as scope:
                await copy_journal(CancelsAfter(source, steps, scope), target)
            if not scope.cancelled_caught:
                break
            steps += 1
            async with open_postgresql(database, node="reader", read_only=True) as reader:
                assert (reader.journal_id, reader.hash_key) == mine == (target.journal_id, target.hash_key)
                assert await reader.heads() == []
        assert steps > 8
        assert await everything(target) == await everything(source)


async def test_what_is_not_copied(tmp_path: Path, database: str) -> None:
    """A damaged source, one that is written meanwhile, another hash key kept outside."""
    async with open_source("memory", tmp_path) as source:
        await fill(source)
        key = bytes(32)
        async with open_postgresql(database, node="one", hash_key=key, schema="keyed") as keyed:
            with pytest.raises(JournalOpenError) as other_key:
                await copy_journal(source, keyed)
            assert other_key.value.code == "hash_key"
        async with open_postgresql(database, node="one") as target:
            with pytest.raises(CopyError) as moving:
                await copy_journal(Moves(source), target)
            assert moving.value.code == "source_changed"
            row = source.store.lanes[B].rows[4]
            source.store.lanes[B].rows[4] = row._replace(payload=b'{"n":7}')
            with pytest.raises(CorruptJournalError) as damaged:
                await copy_journal(source, target)
            assert (damaged.value.lane, damaged.value.seq) == (B, 5)
            assert await target.heads() == []


class CancelsAfter:
    """A source whose reader is cancelled after some of its answers."""

    def __init__(self, inner: Any, steps: int, scope: trio.CancelScope) -> None:
        self._inner = inner
        self._left = steps
        self._scope = scope

    def __getattr__(self, name: str) -> Any:
        if name in {"heads", "scan", "open_work", "snapshots", "blobs", "blob"}:
            if not self._left:
                self._scope.cancel()
            self._left -= 1
        return getattr(self._inner, name)


class Moves:
    """A source that somebody writes while it is copied."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def blobs(self, **arguments: Any) -> Any:
        head = await self._inner.head(B)
        await append(self._inner, B, head, b"{}")
        return await self._inner.blobs(**arguments)
