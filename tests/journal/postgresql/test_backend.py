"""The PostgreSQL backend against a real server, with commits made by hand (JRN-24b)."""

from __future__ import annotations

import pytest

from tests.journal.postgresql.arrange import append, commit_of, sealed
from web4.journal.backends.postgresql import open_postgresql
from web4.journal.errors import JournalLocked, NotWriterError, WrongExpectedSeq
from web4.journal.lane import SERVER, Lane
from web4.journal.record import Commit, Snapshot, Work

A, B = Lane("session", "a"), Lane("session", "b")


async def test_what_is_committed_is_read(database: str) -> None:
    """JRN-2, JRN-6: header, payload, salt and hashes come back byte for byte, also on another opening."""
    async with open_postgresql(database, node="one") as one:
        head = await one.own(A)
        assert head == one.genesis(A)
        records, move = sealed(A, head, [b'{"x":1}', b'{"x":"\\u0000"}'], refs=(("session", "a"),))
        number = await one.commit(commit_of((records, move)))
        assert await one.head(A) == move.after
    async with open_postgresql(database, node="two", read_only=True) as two:
        found = await two.read(A)
        assert [(r.header, r.payload, r.salt, r.payload_hash, r.hash) for r in found] == [
            (r.header, r.payload, r.salt, r.payload_hash, r.hash) for r in records
        ]
        assert {r.commit for r in found} == {number}
        assert await two.scan() == found == await two.find(("session", "a"))
        assert await two.find(("session", "b")) == []
        assert await two.scan(reverse=True) == found[::-1]
        assert await two.read(A, reverse=True, limit=1) == found[1:]
        assert two.journal_id == one.journal_id
        assert two.hash_key == one.hash_key
        assert (one.boot, two.boot) == (1, 0)
        with pytest.raises(NotWriterError) as refused:
            await two.own(A)
        assert refused.value.code == "read_only"


async def test_a_commit_is_all_or_nothing(database: str) -> None:
    """JRN-4c: one lane that ends elsewhere, and nothing of the others is written."""
    async with open_postgresql(database, node="one") as one:
        a, b = await one.own(A), await one.own(B)
        after = await append(one, A, a, b"{}")
        with pytest.raises(WrongExpectedSeq) as refused:
            await one.commit(commit_of(sealed(A, a, [b"1"]), sealed(B, b, [b"2"])))
        assert (refused.value.expected, refused.value.actual) == (0, 1)
        assert await one.head(A) == after
        assert await one.head(B) == b
        first = await one.commit(commit_of(sealed(A, after, [b"3"]), sealed(B, b, [b"4", b"5"])))
        assert [(r.lane, r.seq) for r in await one.scan()] == [(A, 1), (A, 2), (B, 1), (B, 2)]
        assert [r.commit for r in await one.scan(limit=2, after=(await one.scan())[0].position)] == [
            first
        ] * 2


async def test_a_lane_has_one_owner(database: str) -> None:
    """JRN-24b: the refusal names the owner and the time that is left; leaving lets go at once."""
    async with open_postgresql(database, node="two") as two:
        async with open_postgresql(database, node="one") as one:
            await append(one, A, await one.own(A), b"{}")
            with pytest.raises(NotWriterError) as refused:
                await two.own(A)
            assert refused.value.code == "lane_owned"
            assert "node one" in str(refused.value)
            assert refused.value.retry_after_ms is not None
            assert 0 < refused.value.retry_after_ms <= 10_000
            await one.release(A)
            assert (await two.own(A)).seq == 1
            with pytest.raises(NotWriterError) as lost:
                await one.commit(commit_of(sealed(A, await one.head(A), [b"{}"])))
            assert lost.value.code == "lease_lost"
            await one.own(B)
        assert (await two.own(B)).seq == 0


async def test_second_writer(database: str) -> None:
    """JRN-11b: one process writes under a node's name; another is told who does."""
    async with open_postgresql(database, node="one"):
        with pytest.raises(JournalLocked) as refused:
            async with open_postgresql(database, node="one"):
                raise AssertionError("it was opened")
        assert "node one" in refused.value.owner
        async with open_postgresql(database, node="one", read_only=True):
            pass
    async with open_postgresql(database, node="one") as again:
        assert again.boot == 2


async def test_unfinished_work(database: str) -> None:
    """JRN-13: begun, started, requested; ended and concluded work is gone; also within one commit."""
    async with open_postgresql(database, node="one") as one:
        works = [
            Work("begin", "c1"),
            Work("start", "c1"),
            Work("request", "e1", "c1", idempotent=True),
            Work("begin", "c2"),
            Work("end", "c2"),
            Work("begin", "c\x00\u00fc"),
        ]
        records, move = sealed(A, await one.own(A), [b"{}"] * len(works), works=works)
        await one.commit(commit_of((records, move)))
        found = await one.open_work(A)
        assert [(w.seq, w.kind, w.subject, w.started, w.command, w.idempotent) for w in found] == [
            (1, "command", "c1", True, None, False),
            (3, "effect", "e1", False, "c1", True),
            (6, "command", "c\x00\u00fc", False, None, False),
        ]
        assert await one.open_work(after=found[0], limit=1) == found[1:2]
        more = [Work("conclusion", "e1"), Work("end", "c1"), Work("start", "c\x00\u00fc")]
        await one.commit(commit_of(sealed(A, move.after, [b"{}"] * 3, works=more)))
        (left,) = await one.open_work()
        assert (left.seq, left.started) == (6, True)


async def test_snapshots_bases_and_pruning(database: str) -> None:
    """JRN-7, JRN-16, JRN-17: a base takes a prefix's place, erased payloads are gone, heads and hashes stay."""
    async with open_postgresql(database, node="one") as one:
        records, move = sealed(A, await one.own(A), [b"{}"] * 10, refs=(("turn", "t"),))
        await one.commit(commit_of((records, move)))
        for seq in (2, 4, 6, 8):
            snapshot = Snapshot.of(A, seq, records[seq - 1].hash, b'{"at":%d}' % seq, 1)
            await one.put_snapshot(snapshot, keep=3)
        assert [s.seq for s in await one.snapshots(A)] == [8, 6, 4]
        base = Snapshot.of(A, 6, records[5].hash, b'{"at":6}', 1)
        compacted = move.after._replace(base_seq=6, base_hash=records[5].hash)
        await one.commit(Commit([], [], [base], [(A, 8)]))
        assert await one.head(A) == compacted
        kept = await one.read(A)
        assert [(r.seq, r.payload, r.erased) for r in kept] == [
            (7, None, True),
            (8, None, True),
            (9, b"{}", False),
            (10, b"{}", False),
        ]
        assert await one.scan() == kept == await one.find(("turn", "t"))
        assert [s.seq for s in await one.snapshots(A)] == [8, 6]
        await one.put_snapshot(Snapshot.of(A, 9, records[8].hash, b"{}", 1), keep=1)
        assert [s.seq for s in await one.snapshots(A)] == [9, 6]
        assert [await one.prune(A, limit=4) for _ in range(3)] == [4, 2, 0]
        await one.scrub()
        assert await one.find(("turn", "t"), limit=2) == kept[:2]
        assert (await one.stats())["records"] == 4
        assert (await append(one, A, compacted, b"{}")).seq == 11


async def test_heads_are_paged_in_order_of_names(database: str) -> None:
    """JRN-6a."""
    async with open_postgresql(database, node="one") as one:
        lanes = [Lane("session", name) for name in ("B", "a", "a.b", "a-b", "_")] + [
            SERVER,
            Lane("peer", "z"),
        ]
        for lane in lanes:
            await append(one, lane, await one.own(lane), b"{}")
        await one.own(Lane("session", "nobody-wrote-it"))
        pages, after = [], None
        while page := await one.heads(after=after, limit=2):
            pages += [lane for lane, _ in page]
            after = page[-1][0]
        assert pages == sorted(lanes)
        of_kind = [lane for lane, _ in await one.heads("session", after=Lane("session", "_"))]
        assert of_kind == [lane for lane in sorted(lanes) if lane.kind == "session" and lane.id > "_"]


async def test_blobs(database: str) -> None:
    """JRN-8: stored once, and large ones too; a second time moves the time alone."""
    data = bytes(range(256)) * 40_000
    async with open_postgresql(database, node="one") as one:
        await one.put_blob("b3:aa", data, at=5)
        await one.put_blob("b3:bb", b"", at=6)
        await one.put_blob("b3:aa", data, at=7)
        assert await one.blob("b3:aa") == data
        assert await one.blob("b3:bb") == b""
        assert await one.blob("b3:cc") is None
        assert await one.blobs() == [("b3:aa", len(data), 7), ("b3:bb", 0, 6)]
        assert await one.blobs(after="b3:aa", limit=1) == [("b3:bb", 0, 6)]
        await one.delete_blob("b3:aa")
        assert await one.blob("b3:aa") is None
