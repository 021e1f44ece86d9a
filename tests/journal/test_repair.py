"""Repair cuts what is damaged, and keeps the evidence (JRN-23b)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.journal.ledger import DEFINITION, LANE, NODE, Noted, Writer, sequence
from tests.journal.stores import InMemory, OnDisk, Store, registry, writing
from web4.journal.compaction import compact
from web4.journal.draft import NewEvent
from web4.journal.errors import RepairError
from web4.journal.history import history
from web4.journal.lane import SERVER, Lane
from web4.journal.own_events import JournalRepaired
from web4.journal.repair import LaneRepair, Repaired, RepairPlan, apply_repair, plan_repair
from web4.journal.verify import verify
from web4.testing.clocks import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

ANN = Lane("human", "ann")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return InMemory() if request.param == "memory" else OnDisk(tmp_path / "journal")


async def filled(store: Store) -> None:
    """Orders of which one is finished late, and another lane; snapshots, anchors and all."""
    async with writing(store) as journal:
        writer = Writer(journal)
        for command in sequence("place a", "start a", "charge a e1", "note", "conclude e1", "finish a"):
            await writer.handle(command)
        await writer.snapshot()
        await writer.notes(60, start=6)
        await journal.append(ANN, [NewEvent(Noted(str(n)), n) for n in range(5)], expected_seq=0)


async def planned(store: Store) -> RepairPlan:
    async with store.backend(read_only=True) as backend:
        return await plan_repair(backend)


async def repair(store: Store, plan: RepairPlan, quarantine: Path) -> list[Repaired]:
    async with store.backend() as backend:
        return await apply_repair(
            backend, plan, quarantine=quarantine, registry=registry(), identity=NODE, clock=ManualClock()
        )


async def findings(store: Store) -> list[str]:
    async with store.backend(read_only=True) as backend:
        return [str(one) for one in (await verify(backend, registry())).findings]


async def rows(store: Store, lane: Lane) -> list[Any]:
    async with store.backend(read_only=True) as backend:
        return list(await backend.raw(lane, limit=1_000))


async def test_repair_keeps_evidence(store: Store, tmp_path: Path) -> None:
    """Scenario 26: a plan changes nothing; with `apply`, quarantine holds the cut bytes."""
    quarantine = tmp_path / "quarantine"
    await filled(store)
    assert await planned(store) == RepairPlan(lanes=(), beyond=())
    store.damage(LANE, 5, payload=b'{"effect":"e1","outcome":"error"}')
    store.damage(LANE, 7, header=b"\xff not a header")
    before = await rows(store, LANE)
    plan = await planned(store)
    assert plan.lanes == (LaneRepair(lane=LANE, keep=4, head=66, reason="record 5 is not what was written"),)
    assert await rows(store, LANE) == before
    assert not quarantine.exists()

    (done,) = await repair(store, plan, quarantine)
    assert (done.lane, done.keep, done.removed) == (LANE, 4, 62)
    (file,) = quarantine.iterdir()
    assert file.name == done.quarantine
    assert file.stat().st_mode & 0o077 == 0
    lines = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    assert lines[0]["lane"] == str(LANE)
    kept = {line["seq"]: line for line in lines if "seq" in line}
    assert sorted(kept) == list(range(5, 67))
    for row in before[4:]:
        for name in ("header", "payload", "salt", "payload_hash", "hash"):
            assert base64.b64decode(kept[row.seq][name]) == getattr(row, name)
    assert [line["snapshot"] for line in lines if "snapshot" in line] == [6]

    assert await findings(store) == []
    async with writing(store) as journal:
        assert journal.halted == {}
        assert (await journal.head(LANE)).seq == 4
        assert await rows(store, LANE) == before[:4]
        # What was finished in the part that was cut is unfinished again; the next start classifies it.
        assert [(one.subject, one.started) for one in await journal.open_work()] == [
            ("a", True),
            ("e1", False),
        ]
        said = [record for record in await journal.read(SERVER) if record.type == "journal.repaired"]
        assert journal.registry.decode(said[0]) == JournalRepaired(
            lane=str(LANE), seq=4, removed=62, quarantine=file.name, reason="record 5 is not what was written"
        )
        assert (await history(journal, command_id="a")).entries[-1].seq == 3
        await journal.append(LANE, [NewEvent(Noted("new"), 5)], expected_seq=4)
        assert [one.seq for one in await journal.read(LANE)] == [1, 2, 3, 4, 5]
        assert (await journal.read(ANN, limit=9))[-1].seq == 5
    assert await findings(store) == []
    assert await planned(store) == RepairPlan(lanes=(), beyond=())


@pytest.mark.parametrize("seq", [1, 2, 65, 66])
@pytest.mark.parametrize("column", ["header", "salt", "hash"])
async def test_the_cut_is_after_the_last_verified_record(
    store: Store, tmp_path: Path, seq: int, column: str
) -> None:
    await filled(store)
    store.damage(LANE, seq, **{column: b"x" * 32})
    plan = await planned(store)
    assert [(one.keep, one.head) for one in plan.lanes] == [(seq - 1, 66)]
    await repair(store, plan, tmp_path / "q")
    assert await findings(store) == []


async def test_the_server_lane_and_others_at_once(store: Store, tmp_path: Path) -> None:
    await filled(store)
    store.damage(SERVER, 1, salt=b"y" * 16)
    store.damage(ANN, 3, salt=b"y" * 16)
    plan = await planned(store)
    assert [(str(one.lane), one.keep) for one in plan.lanes] == [("human:ann", 2), ("server", 0)]
    await repair(store, plan, tmp_path / "q")
    assert await findings(store) == []
    async with writing(store) as journal:
        said = [record.type for record in await journal.read(SERVER)]
        assert said.count("journal.repaired") == 2
        assert len(list((tmp_path / "q").iterdir())) == 2


async def test_a_lane_that_lost_its_end_is_owned_up_to(tmp_path: Path) -> None:
    """Nothing can be cut of what is not there: repair says so, and the anchor is in nobody's way any more."""
    store = InMemory()
    await filled(store)
    stored = store.store.lanes[ANN]
    del stored.rows[3:]
    stored.head = stored.head._replace(seq=3, hash=stored.rows[-1].hash)
    assert any("anchor" in one for one in await findings(store))
    plan = await planned(store)
    assert plan.lanes == (
        LaneRepair(lane=ANN, keep=3, head=3, reason="it was anchored at 5: records are lost"),
    )
    (done,) = await repair(store, plan, tmp_path / "q")
    assert (done.removed, done.quarantine) == (0, None)
    assert await findings(store) == []
    async with writing(store) as journal:
        assert journal.halted == {}


async def test_a_head_that_is_not_the_last_records(tmp_path: Path) -> None:
    store = InMemory()
    await filled(store)
    stored = store.store.lanes[ANN]
    stored.head = stored.head._replace(hash=bytes(32))
    plan = await planned(store)
    assert [(one.keep, one.reason) for one in plan.lanes] == [(5, "the head is not that of the last record")]
    await repair(store, plan, tmp_path / "q")
    assert await findings(store) == []


async def test_plans_that_are_outdated_or_hopeless(store: Store, tmp_path: Path) -> None:
    await filled(store)
    store.damage(LANE, 50, salt=b"x" * 16)
    plan = await planned(store)
    store.damage(LANE, 40, salt=b"x" * 16)
    with pytest.raises(RepairError) as caught:
        await repair(store, plan, tmp_path / "q")
    assert caught.value.code == "plan_outdated"
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RepairError) as caught:
        await repair(store, await planned(store), tmp_path / "file" / "q")
    assert caught.value.code == "quarantine"
    assert [(one.keep) for one in (await planned(store)).lanes] == [39]


async def test_a_base_that_does_not_hold_is_beyond_repair(tmp_path: Path) -> None:
    store = InMemory()
    async with writing(store) as journal:
        await Writer(journal).notes(10)
        await compact(journal, LANE, seq=5, definition=DEFINITION)
    known = store.store.snapshots[LANE]
    known[5] = msgspec.structs.replace(known[5], state=b"{}")
    plan = await planned(store)
    assert plan == RepairPlan(lanes=(), beyond=((LANE, "its base snapshot does not hold"),))
    assert await repair(store, plan, tmp_path / "q") == []


async def test_a_compacted_lane_is_cut_behind_its_base(store: Store, tmp_path: Path) -> None:
    async with writing(store) as journal:
        await Writer(journal).notes(10)
        await compact(journal, LANE, seq=5, definition=DEFINITION)
    for seq, keep in ((8, 7), (6, 5)):
        store.damage(LANE, seq, salt=b"x" * 16)
        (done,) = await repair(store, await planned(store), tmp_path / "q")
        assert done.keep == keep
        assert await findings(store) == []
    async with writing(store) as journal:
        head = await journal.head(LANE)
        assert (head.seq, head.base_seq, head.hash) == (5, 5, head.base_hash)
        await journal.append(LANE, [NewEvent(Noted("x"), 5_000)], expected_seq=5)
    assert await findings(store) == []
