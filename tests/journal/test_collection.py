"""Blobs that nothing refers to go, all others stay (JRN-8c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.journal.ledger import DEFINITION, LANE, Noted, Writer
from tests.journal.stores import InMemory, OnDisk, Store, writing
from web4.journal.bundle import Selector, export_bundle
from web4.journal.collection import GRACE_MS, Collected, collect_blobs
from web4.journal.compaction import compact
from web4.journal.draft import NewEvent
from web4.journal.errors import BlobNotFoundError
from web4.journal.record import Snapshot
from web4.journal.references import blob_names
from web4.testing.clocks import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

    from web4.journal.journal import Journal


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return InMemory() if request.param == "memory" else OnDisk(tmp_path / "journal")


async def names(journal: Journal) -> set[str]:
    return {name for name, _, _ in await journal.backend.blobs()}


async def test_only_what_nothing_refers_to_goes(store: Store) -> None:
    """By a record, a snapshot, a base; anywhere in a text; never within the grace."""
    clock = ManualClock()
    async with writing(store, clock=clock) as journal:
        blobs = {what: await journal.put_blob(what.encode()) for what in ("record", "state", "base", "loose")}
        writer = Writer(journal)
        events = [NewEvent(Noted(f'nested {{"blob":"{blobs[what]}"}}'), 1) for what in ("base", "record")]
        await journal.append(LANE, events, expected_seq=0)
        head = await journal.head(LANE)
        state = f'{{"blob":"{blobs["state"]}"}}'.encode()
        await journal.put_snapshot(Snapshot.of(LANE, head.seq, head.hash, state, 7))
        assert (await collect_blobs(journal)).removed == 0
        clock.advance(GRACE_MS - 1)
        assert (await collect_blobs(journal)).removed == 0
        clock.advance(1)
        fresh = await journal.put_blob(b"fresh")
        assert await collect_blobs(journal) == Collected(1, len(b"loose"), more=False)
        assert await names(journal) == {*blobs.values(), fresh} - {blobs["loose"]}
        with pytest.raises(BlobNotFoundError):
            await journal.get_blob(blobs["loose"])

        await compact(journal, LANE, seq=1, definition=DEFINITION)  # the note is in the state now
        assert (await collect_blobs(journal)).removed == 0
        await journal.change(erasures=[(LANE, 2)])
        assert (await collect_blobs(journal)).removed == 1
        assert blobs["record"] not in await names(journal)
        assert writer.seq == 0


async def test_what_is_stored_again_is_new(store: Store) -> None:
    clock = ManualClock()
    async with writing(store, clock=clock) as journal:
        name = await journal.put_blob(b"again")
        clock.advance(GRACE_MS)
        assert await journal.put_blob(b"again") == name
        assert (await collect_blobs(journal)).removed == 0
        assert await journal.get_blob(name) == b"again"


async def test_events_that_come_while_it_looks_count(store: Store) -> None:
    clock = ManualClock()
    async with writing(store, clock=clock) as journal:
        blob = await journal.put_blob(b"late")
        other = await journal.put_blob(b"other")
        clock.advance(GRACE_MS)
        backend: Any = journal.backend
        heads = backend.heads

        async def meddling(*args: Any, **options: Any) -> Any:
            found = await heads(*args, **options)
            backend.heads = heads
            await journal.append(LANE, [NewEvent(Noted(blob), 1)], expected_seq=0)
            return found

        await Writer(journal).journal.append(
            LANE.__class__("human", "x"), [NewEvent(Noted("x"), 1)], expected_seq=0
        )
        backend.heads = meddling
        assert (await collect_blobs(journal)).removed == 1
        assert await journal.get_blob(blob) == b"late"
        assert other not in await names(journal)


async def test_nothing_goes_while_a_bundle_is_written(tmp_path: Path) -> None:
    """JRN-8c: an open export refers to what it will copy."""
    clock = ManualClock()
    async with writing(InMemory(), clock=clock) as journal:
        await journal.put_blob(b"loose")
        clock.advance(GRACE_MS)
        backend: Any = journal.backend
        heads, begun, go = backend.heads, trio.Event(), trio.Event()

        async def stuck(*args: Any, **options: Any) -> Any:
            begun.set()
            await go.wait()
            return await heads(*args, **options)

        async with trio.open_nursery() as nursery:
            backend.heads = stuck
            nursery.start_soon(export_bundle, journal, Selector(), tmp_path / "b")
            await begun.wait()
            assert (await collect_blobs(journal)).removed == 0
            go.set()
        backend.heads = heads
        assert (await collect_blobs(journal)).removed == 1


def test_names_are_found_anywhere_and_nothing_else() -> None:
    one, two = "b3:" + "0a" * 32, "b3:" + "1b" * 32
    assert blob_names(f"see {one}, {two}{one}".encode()) == {one, two}
    assert blob_names(b"b3:0a b3:" + b"0" * 63 + b" b3:" + b"0A" * 32) == set()
    assert blob_names(None) == blob_names(b"") == set()


async def test_a_blob_stored_again_at_the_last_moment_stays(store: Store) -> None:
    """Between the last look and the removal there is no gap into which a writer could fall."""
    clock = ManualClock()
    async with writing(store, clock=clock) as journal:
        name = await journal.put_blob(b"again")
        clock.advance(GRACE_MS)
        backend: Any = journal.backend
        delete = backend.delete_blob

        async def late(blob: str, **options: Any) -> None:
            await journal.put_blob(b"again")
            await delete(blob, **options)

        backend.delete_blob = late
        await collect_blobs(journal)
        assert await journal.get_blob(name) == b"again"
