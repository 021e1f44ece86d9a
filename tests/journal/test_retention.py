"""What is kept of lanes, and what never goes (JRN-16)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.journal.ledger import (
    DEFINITION,
    DEFINITIONS,
    LANE,
    Noted,
    Writer,
    opened,
    sequence,
)
from web4.journal.backends.memory import MemoryStore
from web4.journal.compaction import compact
from web4.journal.draft import NewEvent
from web4.journal.errors import InvalidEventError, LaneHalted, RetentionError
from web4.journal.holds import hold, holds, release
from web4.journal.lane import SERVER, Lane
from web4.journal.limits import JournalLimits
from web4.journal.replay import replay, state_at
from web4.journal.retention import Bounds, Retained, RetentionPolicy, retain
from web4.journal.verify import verify

if TYPE_CHECKING:
    from web4.journal.journal import Journal

ONE = RetentionPolicy(records=Bounds(max_records=1), payloads=Bounds(max_records=1))


async def retained_events(journal: Journal) -> list[tuple[str, int, int, int]]:
    """(lane, base, erased, removed) of everything that was announced."""
    found = []
    for record in await journal.read(SERVER, limit=10_000):
        if record.type == "journal.retained":
            event = journal.registry.decode(record)
            found.append((event.lane, event.base_seq, event.erased, event.removed))
    return found


async def clean(journal: Journal) -> bool:
    report = await verify(journal.backend, journal.registry)
    return report.clean


async def test_retention_floors() -> None:
    """Scenario 18: `max_records=1` never removes open work, replay-window outcomes, anchors or held records."""
    policies: Any = dict.fromkeys(("session", "server", "human"), ONE)
    ann = Lane("human", "ann")
    async with opened(limits=JournalLimits(anchor_records=4)) as journal:
        writer = Writer(journal)
        for command in sequence(
            "place a", "start a", "finish a", "place b", "charge b e1", "note", "note", "note"
        ):
            await writer.handle(command)
        outcomes = writer.state.outcomes
        await journal.append(ann, [NewEvent(Noted("x"), 1)] * 6, expected_seq=0)
        await hold(journal, ann, name="case 7", reason="a court", first=3, last=4)
        anchors = [record.seq for record in await journal.read(SERVER) if record.type == "journal.anchored"]
        held = (await holds(journal.backend))["case 7"].seq
        results = await retain(journal, policies, definitions=DEFINITIONS)

        assert [record.seq for record in await journal.read(LANE, after=3)] == [4, 5, 6, 7, 8]
        assert (await journal.head(LANE)).base_seq == 3
        assert [one.subject for one in await journal.open_work()] == ["b", "e1"]
        assert (
            await state_at(journal.backend, DEFINITION, journal.registry, LANE, 8)
        ).state == DEFINITION.encode(writer.state)
        assert outcomes == {"a": (True, 0)}
        # Nobody can make states of `human` lanes here, and there is no snapshot: everything stays.
        assert (await journal.head(ann)).base_seq == 0
        server = await journal.read(SERVER, limit=100)
        assert {*anchors, held} <= {record.seq for record in server}
        assert all(not record.erased for record in server)
        assert await clean(journal)
        by_lane = {one.lane: one for one in results}
        assert by_lane[LANE] == Retained(
            LANE, 3, 0, 3, by_lane[LANE].bytes, "an unfinished command begins there"
        )
        assert by_lane[SERVER].kept == "an anchor is there"
        assert by_lane[ann].kept is not None


async def test_holds_keep_and_let_go() -> None:
    store = MemoryStore()
    async with opened(store) as journal:
        writer = Writer(journal)
        await writer.notes(20)
        await hold(journal, LANE, name="h", reason="r", first=6, last=8, principal="ann")
        with pytest.raises(RetentionError) as caught:
            await hold(journal, LANE, name="h", reason="again")
        assert caught.value.code == "unknown_hold"
        with pytest.raises(InvalidEventError):
            await hold(journal, LANE, name="i", reason="r", first=3, last=2)
    async with opened(store) as journal:  # it outlives a restart
        assert list(await holds(journal.backend)) == ["h"]
        policies: Any = {"session": ONE}
        (result,) = await retain(journal, policies, definitions=DEFINITIONS)
        assert (result.base_seq, result.kept) == (5, "hold h")
        assert [record.erased for record in await journal.read(LANE, after=5)] == [False] * 15
        await release(journal, "h", reason="over")
        with pytest.raises(RetentionError):
            await release(journal, "h", reason="over")
        (result,) = await retain(journal, policies, definitions=DEFINITIONS)
        assert (result.base_seq, result.kept) == (19, None)
        assert await clean(journal)


@pytest.mark.parametrize(
    ("bounds", "left"),
    [
        (Bounds(), 30),
        (Bounds(max_records=0), 0),
        (Bounds(max_records=7), 7),
        (Bounds(max_records=100), 30),
        (Bounds(max_age_ms=10), 10),
        (Bounds(max_age_ms=0), 0),
        (Bounds(max_age_ms=10**9), 30),
        (Bounds(max_bytes=0), 0),
        (Bounds(max_bytes=21 * 5), 5),
        (Bounds(max_bytes=21 * 5 + 20), 5),
        (Bounds(max_bytes=10**9), 30),
        (Bounds(max_bytes=21 * 9, max_records=12, max_age_ms=20), 9),
    ],
)
async def test_bounds(bounds: Bounds, left: int) -> None:
    """The first bound that is passed lets the oldest go; for records they are removed, for payloads erased."""
    for records in (True, False):
        policy = RetentionPolicy(records=bounds) if records else RetentionPolicy(payloads=bounds)
        async with opened() as journal:
            writer = Writer(journal)
            await writer.notes(30)  # {"text":"note 12..."} at 1 000, 1 001, ... 1 029
            assert {len(one.payload or b"") for one in await journal.read(LANE)} == {21}
            await retain(journal, {"session": policy}, definitions=DEFINITIONS, now=1_030)
            head = await journal.head(LANE)
            kept = [one.seq for one in await journal.read(LANE, after=head.base_seq) if not one.erased]
            assert kept == list(range(31 - left, 31))
            assert head.base_seq == (30 - left if records else 0)
            state = await state_at(journal.backend, DEFINITION, journal.registry, LANE, 30)
            assert state.state == DEFINITION.encode(writer.state)
            assert await clean(journal)
            again = await retain(journal, {"session": policy}, definitions=DEFINITIONS, now=1_030)
            assert again == []
            writer.seq = head.seq
            await writer.notes(1, start=30)
            assert writer.seq == 31  # no number is used twice (JRN-1e)


@pytest.mark.parametrize("name", ["max_age_ms", "max_bytes", "max_records"])
def test_bounds_are_not_negative(name: str) -> None:
    with pytest.raises(ValueError, match="negative"):
        Bounds(**{name: -1})


async def test_without_a_definition_only_snapshots_stand_for_records() -> None:
    async with opened() as journal:
        writer = Writer(journal)
        await writer.notes(10)
        await writer.snapshot()
        await writer.notes(10, start=10)
        policies: Any = {"session": RetentionPolicy(payloads=Bounds(max_records=5))}
        (result,) = await retain(journal, policies)
        assert (result.erased, result.kept) == (10, "no snapshot stands for later records")
        (result,) = await retain(journal, {"session": ONE})
        assert (result.base_seq, result.removed) == (10, 10)
        assert await clean(journal)


async def test_snapshots_that_do_not_hold_stand_for_nothing() -> None:
    """JRN-7b: damaged, of another record or of another logic."""
    store = MemoryStore()
    async with opened(store) as journal:
        writer = Writer(journal)
        await writer.notes(10)
        good = await writer.snapshot()
        for bad in ({"state": b"{}"}, {"record_hash": bytes(32)}, {"seq": 99}):
            store.snapshots[LANE] = {10: msgspec.structs.replace(good, **bad)}
            assert await retain(journal, {"session": ONE}) != []
            assert (await journal.head(LANE)).base_seq == 0
            assert not any(record.erased for record in await journal.read(LANE))


async def test_every_step_is_announced_and_the_store_scrubbed() -> None:
    """JRN-16c."""
    scrubbed = []
    async with opened() as journal:
        backend: Any = journal.backend
        scrub = backend.scrub

        async def noting() -> None:
            scrubbed.append(await retained_events(journal))
            await scrub()

        backend.scrub = noting
        writer = Writer(journal)
        await writer.notes(1_200)
        await retain(
            journal, {"session": RetentionPolicy(payloads=Bounds(max_records=100))}, definitions=DEFINITIONS
        )
        steps = await retained_events(journal)
        assert sum(erased for _, _, erased, _ in steps) == 1_100
        assert len(steps) == 3
        await retain(
            journal, {"session": RetentionPolicy(records=Bounds(max_records=50))}, definitions=DEFINITIONS
        )
        assert (await retained_events(journal))[-1] == (str(LANE), 1_150, 0, 1_150)
        assert scrubbed == [steps, await retained_events(journal)]


async def test_halted_lanes_are_evidence() -> None:
    async with opened() as journal:
        await Writer(journal).notes(10)
        journal.halt(LANE, "damaged")
        assert await retain(journal, {"session": ONE}, definitions=DEFINITIONS) == []
        with pytest.raises(LaneHalted):
            await compact(journal, LANE, definition=DEFINITION)
        assert (await journal.head(LANE)).base_seq == 0


async def test_replay_goes_on_behind_erased_payloads() -> None:
    async with opened() as journal:
        writer = Writer(journal)
        for command in sequence("place a", "finish a", "note", "note"):
            await writer.handle(command)
        await retain(
            journal, {"session": RetentionPolicy(payloads=Bounds(max_records=1))}, definitions=DEFINITIONS
        )
        (lane,) = (await replay(journal.backend, DEFINITIONS, journal.registry, lane=LANE)).lanes
        assert (lane.begun_at, lane.seq, lane.stopped) == (3, 4, None)
        early = await replay(journal.backend, DEFINITIONS, journal.registry, lane=LANE, until=2)
        assert early.lanes[0].digest is None
        assert "payload" in str(early.lanes[0].stopped)


async def test_one_damaged_snapshot_does_not_cost_what_stood_behind_erased_payloads() -> None:
    """Two stand for what cannot be replayed any more, where the logic can make them (JRN-7b, JRN-16a)."""
    store = MemoryStore()
    policies: Any = {"session": RetentionPolicy(payloads=Bounds(max_records=3))}
    async with opened(store) as journal:
        writer = Writer(journal)
        await writer.notes(10)
        await retain(journal, policies, definitions=DEFINITIONS)
        snapshots = await journal.snapshots(LANE)
        assert [one.seq for one in snapshots] == [10, 7]
        whole = await replay(journal.backend, DEFINITIONS, journal.registry)
        for one in snapshots:
            damaged = msgspec.structs.replace(one, state=one.state[:-1] + b" ")
            await journal.put_snapshot(damaged)
            rebuilt = await replay(journal.backend, DEFINITIONS, journal.registry)
            assert rebuilt.lanes[0].digest == whole.lanes[0].digest
            await journal.put_snapshot(one)
