"""Queries over what happened (JRN-20)."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.journal.ledger import LANE, Noted, Writer, opened, sequence
from tests.journal.stores import InMemory, OnDisk, Store, writing
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.draft import NewEvent
from web4.journal.errors import CursorError
from web4.journal.history import HistoryEntry, HistoryPage, history
from web4.journal.lane import SERVER, Lane
from web4.testing.clocks import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

    from web4.journal.journal import Journal


async def everything(journal: Journal, **query: Any) -> list[HistoryEntry]:
    """All pages of a query."""
    found: list[HistoryEntry] = []
    cursor = None
    while True:
        page = await history(journal, cursor=cursor, **query)
        found += page.entries
        cursor = page.cursor
        if cursor is None:
            return found


async def filled(journal: Journal) -> None:
    """Two lanes, two principals, commands and effects."""
    writer = Writer(journal)
    for command in sequence(
        "place a", "start a", "place b", "charge a e1", "conclude e1", "finish a", "charge b e2"
    ):
        await writer.handle(command)
    other = Lane("human", "ann")
    await journal.append(
        other,
        [NewEvent(Noted("x"), 2_000, (LANE, 1), "ann"), NewEvent(Noted("y"), 3_000, None, "bob")],
        expected_seq=0,
    )


async def test_filters_are_exact_and_combined() -> None:
    """JRN-20a."""
    async with opened() as journal:
        await filled(journal)

        async def places(**query: Any) -> list[tuple[str, int]]:
            return [(str(one.lane), one.seq) for one in await everything(journal, **query)]

        ann = "human:ann"
        lane = str(LANE)
        assert await places(principal="ann") == [(ann, 1)]
        assert await places(principal="an") == []
        assert await places(lane=Lane("human", "ann")) == [(ann, 1), (ann, 2)]
        assert await places(command_id="a") == [(lane, n) for n in (1, 2, 4, 6)]
        assert await places(session="b") == [(lane, 3)]
        assert await places(session="a", command_id="a", types=["order.placed"]) == [(lane, 1)]
        assert await places(session="a", command_id="b") == []
        assert await places(types=["order.done", "noted"], since=2_000, until=2_000) == [(ann, 1)]
        assert await places(since=2_000) == [(ann, 1), (ann, 2)]
        assert await places(lane=LANE, since=1_002, until=1_004) == [(lane, 3), (lane, 4), (lane, 5)]
        assert await places(lane=LANE, since=1_002, until=1_004, order="desc") == [
            (lane, 5),
            (lane, 4),
            (lane, 3),
        ]
        assert await places(lane=LANE, command_id="b", since=1_003) == [(lane, 7)]
        assert await places(order="desc") == list(reversed(await places()))
        assert await places(lane=Lane("peer", "nobody")) == []


async def test_headers_phases_and_outcomes_and_no_payloads() -> None:
    """JRN-20c."""
    async with opened() as journal:
        await filled(journal)
        found = await everything(journal)
        told = {one.type: (one.phase, one.success) for one in found}
        assert told["order.placed"] == ("begin", None)
        assert told["order.done"] == ("end", True)
        assert told["charge.concluded"] == ("conclusion", True)
        assert told["noted"] == (None, None)
        assert found[-2].cause == (LANE, 1)
        assert "payload" not in HistoryEntry.__struct_fields__
        bare = await history(journal.backend)
        assert {one.phase for one in bare.entries} == {None}
        assert [one.hash for one in bare.entries] == [one.hash for one in found]


async def test_outcomes_of_what_was_erased_are_not_known() -> None:
    async with opened() as journal:
        await filled(journal)
        await journal.change(erasures=[(LANE, 6)])
        done = await history(journal, types=["order.done"])
        assert [(one.erased, one.success) for one in done.entries] == [(True, None)]


async def test_history_pages() -> None:
    """JRN-20b: paging 10 000 records while 1 000 more are written returns each old record once."""
    async with opened() as journal:
        writer = Writer(journal)
        await writer.notes(10_000)
        old = {record.seq for record in await journal.read(LANE, limit=10_000)}
        for order in ("asc", "desc"):
            seen: list[int] = []
            cursor, written = None, 0
            while True:
                page = await history(journal, order=order, cursor=cursor, limit=500, types=["noted"])
                seen += [one.seq for one in page.entries if one.seq in old]
                if written < 1_000:
                    await writer.notes(50, start=writer.seq)
                    written += 50
                cursor = page.cursor
                if cursor is None:
                    break
            assert len(seen) == len(set(seen))
            assert set(seen) == old
            assert written == 1_000


async def test_a_query_ends_after_20_000_records() -> None:
    """JRN-20b: with a cursor from where it goes on."""
    async with opened() as journal:
        writer = Writer(journal)
        await writer.notes(20_001)
        await journal.append(
            Lane("human", "ann"), [NewEvent(Noted("needle"), 1, None, "ann")], expected_seq=0
        )
        first = await history(journal, principal="ann")
        assert (first.truncated, first.scanned, first.entries) == (True, 20_000, ())
        second = await history(journal, principal="ann", cursor=first.cursor)
        assert (second.truncated, len(second.entries), second.cursor) == (False, 1, None)


async def test_a_query_ends_after_a_second() -> None:
    """JRN-20b: the clock is the journal's, and jumps a little at every look."""

    class Slow(ManualClock):
        def monotonic_ns(self) -> int:
            self.advance(400)
            return super().monotonic_ns()

    async with opened() as journal:
        await Writer(journal).notes(2_000)
        page = await history(journal, principal="ann", clock=Slow())
        assert page.truncated
        assert 0 < page.scanned < 2_000
        assert page.cursor is not None
        rest = await history(journal, principal="ann", cursor=page.cursor)
        assert rest.scanned + page.scanned >= 2_000


async def test_cursors_belong_to_a_journal_and_a_query() -> None:
    async with opened() as journal:
        await filled(journal)
        page = await history(journal, limit=2)
        assert page.cursor is not None
        forged = base64.urlsafe_b64encode(json.dumps(["x" * 16, 1, 1]).encode()).decode()
        for cursor in ("", "?", "é", "bm9uZQ", forged, page.cursor[:-2], page.cursor + "A"):
            with pytest.raises(CursorError) as caught:
                await history(journal, cursor=cursor)
            assert caught.value.code == "foreign_cursor"
        with pytest.raises(CursorError):
            await history(journal, cursor=page.cursor, order="desc")
        with pytest.raises(CursorError):
            await history(journal, cursor=page.cursor, principal="ann")
        async with opened(MemoryStore()) as other:
            await filled(other)
            with pytest.raises(CursorError):
                await history(other, cursor=page.cursor)


@pytest.mark.parametrize("limit", [0, 501])
async def test_limits_are_said(limit: int) -> None:
    async with opened() as journal:
        with pytest.raises(ValueError, match="limit"):
            await history(journal, limit=limit)
        with pytest.raises(ValueError, match="order"):
            await history(journal, order="up")  # type: ignore[arg-type]


async def test_history_of_a_journal_that_another_writes() -> None:
    """JRN-11b, JRN-6d: read-only, while it is written."""
    store = MemoryStore()
    async with opened(store) as journal:
        await filled(journal)
        async with open_memory(store, read_only=True) as reader:
            page: HistoryPage = await history(reader, lane=LANE, registry=journal.registry)
            assert len(page.entries) == 7
    async with open_memory(store, read_only=True) as reader:
        with trio.fail_after(5):
            assert [one.type for one in (await history(reader, lane=SERVER)).entries] == ["journal.anchored"]


@pytest.mark.parametrize("store", ["memory", "disk"])
async def test_a_damaged_header_hides_nothing_else(tmp_path: Path, store: str) -> None:
    """What is readable is told, of its lane and of all others (JRN-11d, JRN-15g); what is not, is counted."""
    one: Store = InMemory() if store == "memory" else OnDisk(tmp_path / "journal")
    async with writing(one) as journal:
        await filled(journal)
        whole = [(str(entry.lane), entry.seq) for entry in await everything(journal)]
    for seq in (3, 4, 6):
        one.damage(LANE, seq, header=b"\xff{")
    left = [place for place in whole if place not in {(str(LANE), seq) for seq in (3, 4, 6)}]
    of_lane = [place for place in left if place[0] == str(LANE)]
    async with writing(one) as journal:
        for order in ("asc", "desc"):
            for query, expected in (
                ({}, left),
                ({"lane": LANE}, of_lane),
                ({"lane": LANE, "since": 0, "until": 10**9}, of_lane),
            ):
                found = [
                    (str(entry.lane), entry.seq)
                    for entry in await everything(journal, order=order, limit=2, **query)
                    if (str(entry.lane), entry.seq) in whole
                ]
                assert (found if order == "asc" else found[::-1]) == expected
        assert (await history(journal)).malformed == 3


@pytest.mark.parametrize(("position", "seq"), [(2**70, 1), (1, 2**63), (-5, 1), (1, -5)])
async def test_cursors_that_lead_nowhere_are_refused(position: int, seq: int) -> None:
    """JRN-6c."""
    async with opened() as journal:
        await filled(journal)
        text = (await history(journal, limit=1)).cursor
        assert text is not None
        query, _, _ = json.loads(base64.urlsafe_b64decode(text + "=="))
        forged = base64.urlsafe_b64encode(json.dumps([query, position, seq]).encode()).rstrip(b"=").decode()
        with pytest.raises(CursorError):
            await history(journal, limit=1, cursor=forged)
        with pytest.raises(ValueError, match="time"):
            await history(journal, since=2**60)
