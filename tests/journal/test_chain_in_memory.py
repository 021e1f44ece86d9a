"""The chain, and what it finds: records in another place, and any byte that is another (JRN-3)."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
import trio

from tests.journal.arrange import ONE, THREE, TWO, Bench, note
from web4.foundation.errors import Web4Error
from web4.foundation.identity import Identity
from web4.foundation.ids import SeededIds
from web4.journal.anchoring import check_anchor
from web4.journal.backends.memory import MemoryStore
from web4.journal.chain import check_run, genesis
from web4.journal.errors import CorruptJournalError
from web4.journal.lane import SERVER

SIGNER = Identity.from_seed(b"anchors".ljust(32, b"\0"))


async def _written(seed: str = "chain") -> Bench:
    bench = Bench(store=MemoryStore(ids=SeededIds(seed)))
    async with bench.journal() as journal:
        for lane in (ONE, TWO):
            events = [
                note(n, principal="me", refs=(("command", f"c{n}"),), cause=(SERVER, 9)) for n in range(5)
            ]
            await journal.append(lane, events, expected_seq=0)
    return bench


async def test_genesis_is_bound() -> None:
    """Scenario 1, JRN-3d: a lane's records under another lane's name, or in another journal, do not verify at 1."""
    bench, other = await _written(), await _written("another journal")
    async with bench.journal() as journal, other.journal() as foreign:
        records = await journal.read(ONE)
        begin = genesis(journal.journal_id, ONE)
        assert check_run(ONE, begin, 0, records) == (await journal.head(ONE)).hash
        moved = [msgspec.structs.replace(one, lane=TWO) for one in records]
        for lane, prev, some in (
            (TWO, genesis(journal.journal_id, TWO), moved),
            # Even with the other lane's genesis in front: the headers name another place.
            (TWO, begin, moved),
            (ONE, genesis(foreign.journal_id, ONE), records),
        ):
            with pytest.raises(CorruptJournalError) as caught:
                check_run(lane, prev, 0, some)
            assert (caught.value.code, caught.value.lane, caught.value.seq) == ("chain_broken", lane, 1)
    # In the store, too: opening halts the lane, and no other.
    bench.store.lanes[TWO] = bench.store.lanes[ONE]
    async with bench.journal() as journal:
        assert set(journal.halted) == {TWO}
        assert [one["lane_seq"] for one in bench.emitted.named("lane_halted")] == [1]
    other.store.lanes[ONE] = bench.store.lanes[ONE]
    async with other.journal() as journal:
        assert set(journal.halted) == {ONE}


async def test_one_flipped_byte() -> None:
    """Scenario 2, JRN-3c: flip any byte of any header, payload, salt or hash: lane and number are named."""
    bench = await _written()
    stored = bench.store.lanes[ONE]
    flips = 0
    async with bench.journal() as journal:
        prev = (await journal.head(ONE)).base_hash
        for seq in range(1, 6):
            row = stored.rows[seq - 1]
            for column in ("header", "payload", "salt", "payload_hash", "hash"):
                for at in range(len(getattr(row, column))):
                    bench.store.damage(ONE, seq, column, at=at)
                    with pytest.raises(CorruptJournalError) as caught:
                        check_run(ONE, prev, 0, await journal.read(ONE))
                    assert (caught.value.lane, caught.value.seq) == (ONE, seq), (column, at)
                    bench.store.damage(ONE, seq, column, at=at)
                    flips += 1
        assert check_run(ONE, prev, 0, await journal.read(ONE)) == stored.head.hash
    assert flips > 1_000


async def test_records_that_are_missing_or_in_another_order() -> None:
    """JRN-3, JRN-12c: a record taken out, put twice, exchanged or cut off at the end is found at opening."""
    for change, seq in (("taken", 3), ("exchanged", 3), ("twice", 4), ("cut", 5)):
        bench = await _written()
        rows = bench.store.lanes[ONE].rows
        if change == "taken":
            del rows[2]
        elif change == "exchanged":
            rows[2], rows[3] = rows[3], rows[2]
        elif change == "twice":
            rows[3] = rows[2]
        else:
            del rows[4]
        async with bench.journal() as journal:
            assert set(journal.halted) == {ONE}, change
            assert [one["lane_seq"] for one in bench.emitted.named("lane_halted")] == [seq], change
            await journal.append(TWO, [note(9)], expected_seq=5)


async def test_only_the_last_records_are_verified_at_opening() -> None:
    """JRN-12c: opening is quick; what lies further back is for `verify`, and for whoever reads the chain."""
    bench = await _written()
    bench.store.damage(ONE, 2, "payload")
    async with bench.journal(verified_tail=3) as journal:
        assert not journal.halted
    async with bench.journal(verified_tail=4) as journal:
        assert set(journal.halted) == {ONE}


async def test_anchors() -> None:
    """JRN-3f: after so many records, and on closing, what changed is anchored on `server`, signed."""
    bench = Bench()
    async with bench.journal(identity=SIGNER, anchor_records=10) as journal:
        for number in range(25):
            await journal.append((ONE, TWO)[number % 2], [note(number)], expected_seq=number // 2)
        await journal.append(THREE, [note(0)], expected_seq=0)
        heads = {str(lane): head for lane, head in await journal.heads()}
    async with bench.journal(identity=SIGNER) as journal:
        records = await journal.read(SERVER)
        assert {one.type for one in records} == {"journal.anchored"}
        anchors = [journal.registry.decode(one) for one in records]
        assert len(anchors) == 3
        anchored = {}
        for anchor in anchors:
            check_anchor(anchor, journal.journal_id)
            assert anchor.fingerprint == SIGNER.fingerprint
            assert list(anchor.lanes) == sorted(anchor.lanes)
            anchored.update({name: (seq, digest) for name, seq, digest in anchor.lanes if name != "server"})
        assert len(anchors[0].lanes) == 2
        assert anchored == {
            name: (head.seq, head.hash.hex()) for name, head in heads.items() if name != "server"
        }
        for bad in (
            msgspec.structs.replace(anchors[0], lanes=anchors[1].lanes),
            msgspec.structs.replace(anchors[0], public_key=Identity.from_seed(bytes(32)).public_key.hex()),
        ):
            with pytest.raises(Web4Error):
                check_anchor(bad, journal.journal_id)
        with pytest.raises(Web4Error):
            check_anchor(anchors[0], bytes(16))
    # Nothing has changed since: nothing is anchored again.
    async with bench.journal(identity=SIGNER) as journal:
        assert len(await journal.read(SERVER)) == 3


async def test_what_a_killed_process_did_not_anchor() -> None:
    """JRN-3f: every lane that changed since the last anchor, though whoever changed it could not anchor any more."""
    bench = Bench()
    async with bench.journal(identity=SIGNER) as journal:
        await journal.append(ONE, [note(1)], expected_seq=0)
        await journal.append(TWO, [note(1)], expected_seq=0)
    with trio.CancelScope() as scope, contextlib.suppress(BaseExceptionGroup):
        async with bench.journal(identity=SIGNER) as journal:
            await journal.append(ONE, [note(2)], expected_seq=1)
            await journal.append(THREE, [note(1)], expected_seq=0)
            bench.store.kill()
            scope.cancel()
    for anchors in (2, 2):
        async with bench.journal(identity=SIGNER) as journal:
            assert not journal.halted
        async with bench.journal() as journal:
            records = await journal.read(SERVER)
            assert [one.type for one in records] == ["journal.anchored"] * anchors
            last = journal.registry.decode(records[-1])
            assert [one[:2] for one in last.lanes] == [(str(THREE), 1), (str(ONE), 2)]


async def test_a_lane_cut_behind_its_anchor() -> None:
    """JRN-3f, JRN-12c: a lane that ends before what was anchored, in itself perfectly chained, is halted."""
    bench = Bench()
    async with bench.journal(identity=SIGNER) as journal:
        await journal.append(ONE, [note(n) for n in range(5)], expected_seq=0)
        await journal.append(TWO, [note(0)], expected_seq=0)
    stored = bench.store.lanes[ONE]
    del stored.rows[3:]
    stored.head = stored.head._replace(seq=3, hash=stored.rows[-1].hash)
    async with bench.journal(identity=SIGNER) as journal:
        assert set(journal.halted) == {ONE}
        assert "anchored at 5" in journal.halted[ONE]
        await journal.append(TWO, [note(1)], expected_seq=1)
