"""Verification names what is not as it was written, and where (JRN-3, JRN-23a)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.journal.ledger import LANE, NODE, Noted, Writer, opened, sequence, types
from tests.journal.stores import OnDisk, writing
from web4.foundation.identity import Identity
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.backends.memory.store import Row
from web4.journal.draft import NewEvent
from web4.journal.errors import CorruptJournalError
from web4.journal.event_types import EventRegistry, EventType
from web4.journal.findings import MOST, VerifyReport
from web4.journal.lane import SERVER, Lane
from web4.journal.own_events import OWN_EVENTS
from web4.journal.record import OpenWork
from web4.journal.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from web4.journal.journal import Journal

ANN = Lane("human", "ann")
STRIDE = int(os.environ.get("WEB4_FLIP_STRIDE", "3"))
"""Every how many-th byte is flipped."""


def registry() -> EventRegistry:
    return EventRegistry([*types(), *OWN_EVENTS])


async def filled() -> MemoryStore:
    """A store with two lanes, open work, a snapshot, a blob and an anchor; closed in order."""
    store = MemoryStore(ids=SeededIds(3))
    async with opened(store) as journal:
        writer = Writer(journal)
        for command in sequence("place a", "start a", "charge a e1", "place b"):
            await writer.handle(command)
        await writer.snapshot()
        blob = await journal.put_blob(b"some bytes")
        await writer.handle(sequence("note", text=f"see {blob}")[0])
        await journal.append(ANN, [NewEvent(Noted("x"), 1), NewEvent(Noted("y"), 2)], expected_seq=0)
    return store


async def look(store: MemoryStore, **options: Any) -> VerifyReport:
    async with open_memory(store, read_only=True) as backend:
        return await verify(backend, registry(), **options)


def told(report: VerifyReport) -> list[tuple[str, str, int | None]]:
    return [(one.kind, str(one.lane), one.seq) for one in report.findings]


async def test_a_sound_journal_has_no_findings() -> None:
    seen = []
    report = await look(await filled(), progress=lambda report: seen.append(report.records))
    assert report.clean
    assert told(report) == []
    assert (report.lanes, report.records, report.snapshots, report.blobs, report.anchors) == (3, 8, 1, 1, 1)
    assert report.signers == [NODE.fingerprint]
    assert seen[-1] == 8
    report.raise_if_damaged()


async def test_one_flipped_byte() -> None:
    """Scenario 2: any byte of any stored header, payload, salt or hash; lane and number are named."""
    store = await filled()
    flipped = 0
    for lane in (LANE, ANN, SERVER):
        rows = store.lanes[lane].rows
        for index, row in enumerate(rows):
            for name in ("header", "payload", "salt", "payload_hash", "hash"):
                value = getattr(row, name)
                for at in range(flipped % STRIDE, len(value), STRIDE):
                    damaged = bytearray(value)
                    damaged[at] ^= 1 << (at % 8)
                    rows[index] = Row(**{**row._asdict(), name: bytes(damaged)})
                    report = await look(store, lanes=[lane])
                    assert ("chain", str(lane), index + 1) in told(report), (name, at)
                    with pytest.raises(CorruptJournalError) as caught:
                        report.raise_if_damaged()
                    assert (caught.value.lane, caught.value.seq) == (lane, index + 1)
                    flipped += 1
            rows[index] = row
    assert (await look(store)).clean
    assert flipped > 1_000 // STRIDE


async def test_genesis_is_bound() -> None:
    """Scenario 1: records under another lane's name, or in another journal, are noticed at number 1 (JRN-3d)."""
    store = await filled()
    copy = Lane("session", "copy")
    async with opened(store) as journal:
        await journal.append(copy, [NewEvent(Noted("own"), 1)] * 5, expected_seq=0)
    store.lanes[copy].rows = list(store.lanes[LANE].rows)
    assert ("chain", str(copy), 1) in told(await look(store, lanes=[copy]))

    other = MemoryStore(ids=SeededIds(4))
    async with opened(other) as journal:
        await journal.append(LANE, [NewEvent(Noted("own"), 1)] * 5, expected_seq=0)
    other.lanes[LANE].rows = list(store.lanes[LANE].rows)
    assert ("chain", str(LANE), 1) in told(await look(other, lanes=[LANE]))


async def test_records_that_are_missing_or_changed_places() -> None:
    store = await filled()
    rows = store.lanes[LANE].rows
    rows[1], rows[2] = rows[2], rows[1]
    assert ("chain", str(LANE), 2) in told(await look(store))
    rows[1], rows[2] = rows[2], rows[1]
    rows[2:] = [*rows[3:], rows[-1]]
    assert ("chain", str(LANE), 3) in told(await look(store))


async def test_a_lane_shorter_than_its_anchor() -> None:
    """JRN-3f: cutting records off the end, head and all, is noticed by what the node signed."""
    store = await filled()
    lane = store.lanes[LANE]
    del lane.rows[3:]
    last = lane.rows[-1]
    lane.head = lane.head._replace(seq=3, hash=last.hash)
    store.snapshots.clear()
    report = await look(store)
    assert ("anchor", str(LANE), 5) in told(report)
    assert not any(kind == "chain" for kind, _, _ in told(report))
    del store.lanes[ANN]
    store.names.remove(ANN)
    assert ("anchor", str(ANN), 2) in told(await look(store))


async def test_a_lane_written_anew_is_not_what_was_anchored() -> None:
    store = await filled()
    other = MemoryStore(ids=SeededIds(3))
    async with opened(other) as journal:
        await Writer(journal).notes(5)
    assert other.journal_id == store.journal_id
    store.lanes[LANE], store.work, store.snapshots = other.lanes[LANE], other.work, {}
    store.by_place, store.work_at = other.by_place, other.work_at
    assert told(await look(store)) == [("anchor", str(LANE), 5)]


async def test_anchors_that_nobody_signed() -> None:
    store = await filled()
    stranger = Identity.from_seed(bytes(32)).fingerprint
    report = await look(store, fingerprint=stranger)
    assert ("anchor", "server", 1) in told(report)
    async with opened(store) as journal:
        (record,) = await journal.read(SERVER)
        anchor = journal.registry.decode(record)
        forged = msgspec.structs.replace(anchor, lanes=((str(LANE), 4, "00" * 32),))
        claimed = msgspec.structs.replace(anchor, fingerprint=stranger)
        await journal.append(SERVER, [NewEvent(forged, 1), NewEvent(claimed, 1)], expected_seq=1)
    report = await look(store)
    assert [one for one in told(report) if one[0] == "anchor"] == [
        ("anchor", "server", 2),
        ("anchor", "server", 3),
    ]


async def test_heads_snapshots_blobs_and_bases() -> None:
    store = await filled()
    lane, head = store.lanes[LANE], store.lanes[LANE].head
    lane.head = head._replace(hash=bytes(32))
    assert told(await look(store)) == [("head", str(LANE), 5)]
    lane.head = head._replace(base_hash=bytes(32))
    assert ("head", str(LANE), 0) in told(await look(store))
    lane.head = head
    ((seq, snapshot),) = store.snapshots[LANE].items()
    replace = msgspec.structs.replace
    store.snapshots[LANE] = {seq: replace(snapshot, state=b"{}")}
    assert told(await look(store)) == [("snapshot", str(LANE), seq)]
    store.snapshots[LANE] = {seq: replace(snapshot, record_hash=bytes(32))}
    assert told(await look(store)) == [("snapshot", str(LANE), seq)]
    store.snapshots[LANE] = {9: replace(snapshot, seq=9)}
    assert told(await look(store)) == [("snapshot", str(LANE), 9)]
    store.snapshots[LANE] = {seq: snapshot}

    ((name, (data, at)),) = store.blobs.items()
    store.blobs[name] = (data + b"!", at)
    assert told(await look(store)) == [("blob", "None", None)]
    del store.blobs[name]
    report = await look(store)
    assert report.clean  # whether the text was meant as the name of a blob cannot be known
    assert [(one.kind, one.lane, one.seq) for one in report.notices] == [("missing_blob", LANE, 5)]


async def test_the_base_of_a_compacted_lane() -> None:
    """JRN-7c, JRN-17b: base plus tail verifies like a full chain."""
    store = MemoryStore()
    async with opened(store) as journal:
        writer = Writer(journal)
        await writer.notes(5)
        base = await writer.snapshot()
        await writer.notes(3, start=5)
        await journal.change(bases=[base])
        await journal.backend.prune(LANE, limit=10)
    assert (await look(store)).clean
    known = store.snapshots[LANE][5]
    store.snapshots[LANE][5] = msgspec.structs.replace(known, state=b"{}")
    assert told(await look(store)) == [("base", str(LANE), 5)]
    store.snapshots[LANE][5] = msgspec.structs.replace(known, record_hash=bytes(32))
    assert told(await look(store)) == [("base", str(LANE), 5)]
    del store.snapshots[LANE][5]
    assert told(await look(store)) == [("base", str(LANE), 5)]


async def test_erased_payloads_verify() -> None:
    """JRN-3e."""
    store = await filled()
    async with opened(store) as journal:
        await journal.change(erasures=[(ANN, 1)])
    report = await look(store)
    assert (report.clean, report.erased) == (True, 1)


async def test_schemas_and_times() -> None:
    store = MemoryStore()

    class Later(msgspec.Struct, frozen=True):
        text: int

    later = EventType(name="noted.later", struct=Later, classes={"text": "retainable"})
    async with opened(store) as journal:
        journal.registry.register(later)
        await journal.append(ANN, [NewEvent(Noted("x"), 1), NewEvent(Later(1), 2)], expected_seq=0)
    assert told(await look(store)) == [("schema", str(ANN), 2)]
    async with open_memory(store, read_only=True) as backend:
        assert (await verify(backend)).clean  # without a registry nobody says what is unknown
    rows = store.lanes[ANN].rows
    rows[0] = rows[0]._replace(commit=9)
    assert ("order", str(ANN), 2) in told(await look(store))


async def test_unfinished_work_is_what_the_records_say() -> None:
    """JRN-13: the table is derived; verification derives it again."""
    store = await filled()
    (key, *_) = [key for key in store.work if key[1] == "command"]
    known = store.work[key]
    store.work[key] = known._replace(started=not known.started)
    assert told(await look(store)) == [("open_work", str(LANE), known.seq)]
    store.work[key] = known
    ghost = OpenWork(LANE, 5, "command", "ghost", started=False, command=None, idempotent=False)
    store.work[LANE, "command", "ghost"] = ghost
    store.work_at[LANE, 5] = (LANE, "command", "ghost")
    store.by_place.append((LANE, 5))
    assert told(await look(store)) == [("open_work", str(LANE), 5)]
    store.by_place.pop()
    store.by_place.remove((LANE, known.seq))
    assert told(await look(store)) == [("open_work", str(LANE), known.seq)]


async def test_all_findings_are_counted_and_some_are_told() -> None:
    store = MemoryStore()
    async with opened(store) as journal:
        await Writer(journal).notes(MOST + 50)
    rows = store.lanes[LANE].rows
    rows[:] = [row._replace(salt=bytes(16)) for row in rows]
    report = await look(store, lanes=[LANE])
    assert (report.found, len(report.findings)) == (MOST + 50, MOST)
    assert str(report.findings[0]).startswith("chain at session:orders 1: ")


async def test_a_running_node_is_verified_while_it_writes_and_compacts() -> None:
    """JRN-11b, JRN-23a: what happens meanwhile is no finding."""
    store = MemoryStore()
    async with opened(store) as journal:
        writer = Writer(journal)
        await writer.notes(600)
        await writer.handle(sequence("place a")[0])

        class Meddling:
            """A backend that writes, finishes work and compacts between two looks of the verification."""

            def __init__(self, backend: Any) -> None:
                self._backend = backend
                self.steps = 0

            def __getattr__(self, name: str) -> Any:
                return getattr(self._backend, name)

            async def read(self, lane: Lane, **options: Any) -> Any:
                records = await self._backend.read(lane, **options)
                if lane == LANE:
                    await self._meddle(journal)
                return records

            async def _meddle(self, journal: Journal) -> None:
                self.steps += 1
                if self.steps == 1:
                    await writer.notes(300, start=600)
                    await journal.change(bases=[await writer.snapshot()])
                    await journal.backend.prune(LANE, limit=10_000)
                if self.steps == 2:
                    for command in sequence("finish a", "place b"):
                        await writer.handle(command)

        async with open_memory(store, read_only=True) as backend:
            meddling = Meddling(backend)
            report = await verify(meddling, registry())
        assert meddling.steps >= 2
        assert told(report) == []


async def test_a_snapshot_that_is_taken_after_the_first_look() -> None:
    """JRN-11b: it is of a record that the verification had not heard of, and belongs to it."""
    store = MemoryStore()
    async with opened(store) as journal:
        writer = Writer(journal)
        await writer.notes(10)

        class Growing:
            """A backend whose lane grows, and is kept anew, when it is asked for snapshots."""

            def __init__(self, backend: Any) -> None:
                self._backend = backend
                self.grown = 0

            def __getattr__(self, name: str) -> Any:
                return getattr(self._backend, name)

            async def snapshots(self, lane: Lane) -> Any:
                if lane == LANE:
                    await writer.notes(1, start=10 + self.grown)
                    snapshot = await writer.snapshot()
                    self.grown += 1
                    if self.grown == 1:
                        await journal.change(bases=[snapshot])
                return await self._backend.snapshots(lane)

        async with open_memory(store, read_only=True) as backend:
            growing = Growing(backend)
            report = await verify(growing, registry())
        assert growing.grown == 2, "the lane was compacted between two looks, so there is a third"
        assert told(report) == []


async def test_one_flipped_byte_on_disk(tmp_path: Path) -> None:
    """Scenario 2, in a real store: a sample of every column of every record."""
    store = OnDisk(tmp_path / "journal")
    async with writing(store) as journal:
        writer = Writer(journal)
        for command in sequence("place a", "start a", "note"):
            await writer.handle(command)
    async with store.backend(read_only=True) as backend:
        rows = await backend.raw(LANE)
    step = 0
    for row in rows:
        for name in ("header", "payload", "salt", "payload_hash", "hash"):
            value = getattr(row, name)
            for at in range(step % 23, len(value), 23):
                step += 1
                damaged = value[:at] + bytes([value[at] ^ 1 << (step % 8)]) + value[at + 1 :]
                store.damage(LANE, row.seq, **{name: damaged})
                async with store.backend(read_only=True) as backend:
                    report = await verify(backend, registry(), lanes=[LANE])
                assert ("chain", str(LANE), row.seq) in told(report), (name, at)
            store.damage(LANE, row.seq, **{name: value})
    assert step > 20
    async with store.backend(read_only=True) as backend:
        assert (await verify(backend, registry())).findings == []
