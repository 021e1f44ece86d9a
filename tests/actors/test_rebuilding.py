"""A lane's state from snapshots and records: fallbacks, upcasters, and when snapshots are taken (JRN-7, JRN-9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from tests.actors.jobs import LANE, START, JobLane, JobState, Look, Note, Said, opened
from web4.actors import (
    LaneDefinition,
    Origin,
    open_lane_actors,
    open_lane_writer,
)
from web4.foundation.logic import Decision
from web4.journal.backends.memory import MemoryStore
from web4.journal.errors import CorruptJournalError, LaneHalted
from web4.journal.event_types import EventType
from web4.journal.journal import NewEvent
from web4.journal.record import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable


async def filled(store: MemoryStore, *, snapshot_at: tuple[int, ...] = (4, 8), notes: int = 10) -> JobState:
    """A lane of `notes` records with snapshots at some of them; its state."""
    async with opened(store) as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        for number in range(1, notes + 1):
            writer.decide(Note(number))
            await writer.durable()
            if number in snapshot_at:
                await writer.snapshot()
        return writer.durable_state


def changed(**fields: Any) -> Callable[[Snapshot], Snapshot]:
    return lambda snapshot: msgspec.structs.replace(snapshot, **fields)


def undecodable(snapshot: Snapshot) -> Snapshot:
    return Snapshot.of(snapshot.lane, snapshot.seq, snapshot.record_hash, b'{"total":"x"}', 1)


def flipped(snapshot: Snapshot) -> Snapshot:
    return changed(state=snapshot.state.replace(b"36", b"37"))(snapshot)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flipped, "hash"),
        (changed(record_hash=bytes(32)), "record"),
        (undecodable, "undecodable"),
        (changed(logic_version=2), "logic_version"),
        (changed(logic_version=0), "logic_version"),
    ],
)
async def test_bad_snapshot(damage: Callable[[Snapshot], Snapshot], reason: str) -> None:
    """JRN-7b: a damaged newest snapshot is passed over, told, and the state equals a full replay."""
    store = MemoryStore()
    state = await filled(store)
    newest = store.snapshots[LANE][8]
    store.snapshots[LANE][8] = damage(newest)
    said = Said()
    async with opened(store, emit=said) as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        assert (writer.state, writer.scanned) == (state, 6)  # from the snapshot at 4
        passed = {"severity": "warning", "lane": "session:one", "lane_seq": 8, "reason": reason}
        assert said.of("snapshot_passed_over") == [passed]
        store.snapshots[LANE][4] = damage(newest)
        writer = await open_lane_writer(journal, LANE, JobLane())
        assert (writer.state, writer.scanned) == (state, 10)
        del store.snapshots[LANE]
        assert (await open_lane_writer(journal, LANE, JobLane())).state == state


async def test_other_logic_version_rebuilds_from_the_records() -> None:
    """JRN-7b: a new release of the logic does not use the old one's states, also where an upcaster would exist."""

    class Doubling:
        initial = JobState()

        def decide(self, state: JobState, command: Any) -> Decision[Any, Any]:
            return Decision((), state.total)

        def apply(self, state: JobState, event: Any) -> JobState:
            return JobState(state.total + 2 * event.amount, state.notes + 1)

    store = MemoryStore()
    state = await filled(store)
    definition = JobLane(logic=Doubling(), version=2, upcasters={1: dict})
    async with opened(store) as journal, open_lane_actors(journal, {"session": definition}) as actors:
        assert await actors.lane(LANE).ask(Look()) == 2 * state.total


async def compacted(store: MemoryStore, state: Any, version: int) -> None:
    """Let a base snapshot at 6 stand for what is before it."""
    async with opened(store) as journal:
        record = (await journal.read(LANE, after=5, limit=1))[0]
        base = Snapshot.of(LANE, 6, record.hash, msgspec.json.encode(state), version)
        await journal.change(bases=[base])
        while await journal.backend.prune(LANE, limit=100):
            pass


async def test_base_snapshot_follows_the_logic_version() -> None:
    """JRN-7c, JRN-9d: upcasters carry a compacted lane's base along, step by step; without them the lane halts."""
    store = MemoryStore()
    await filled(store, snapshot_at=())
    await compacted(store, {"sum": "21", "count": 6}, 1)
    definition = JobLane(
        version=3,
        upcasters={
            1: lambda old: {"total": int(old["sum"]), "count": old["count"]},
            2: lambda old: {"total": old["total"], "notes": old["count"], "jobs": {}, "effects": {}},
        },
    )
    async with opened(store) as journal:
        writer = await open_lane_writer(journal, LANE, definition)
        assert (writer.state, writer.scanned) == (JobState(55, 10), 4)
        for version, upcasters in ((3, {1: dict}), (2, {1: lambda _: {"total": "x"}})):
            with pytest.raises(CorruptJournalError) as caught:
                await open_lane_writer(journal, LANE, JobLane(version=version, upcasters=upcasters))
            assert (caught.value.code, caught.value.seq) == ("snapshot", 6)
        async with open_lane_actors(journal, {"session": JobLane(version=2)}) as actors:
            with pytest.raises(LaneHalted):
                await actors.lane(LANE).ask(Look())


async def test_snapshot_below_the_base_is_no_help() -> None:
    """JRN-7c: a damaged base is not replaced by anything else: the lane halts, nothing is guessed."""
    store = MemoryStore()
    await filled(store, snapshot_at=(8,))
    await compacted(store, {"total": 21, "notes": 6, "jobs": {}, "effects": {}}, 1)
    async with opened(store) as journal:
        assert (await open_lane_writer(journal, LANE, JobLane())).state.total == 55
        store.snapshots[LANE][8] = flipped(store.snapshots[LANE][8])
        assert (await open_lane_writer(journal, LANE, JobLane())).state.total == 55
        base = store.snapshots[LANE][6]
        store.snapshots[LANE][6] = changed(state=base.state.replace(b"21", b"22"))(base)
        with pytest.raises(CorruptJournalError) as caught:
            await open_lane_writer(journal, LANE, JobLane())
        assert caught.value.code == "snapshot"
        del store.snapshots[LANE]
        with pytest.raises(CorruptJournalError):
            await open_lane_writer(journal, LANE, JobLane())


# --- events of several versions -----------------------------------------------------------------------------


class Measured1(msgspec.Struct, frozen=True):
    celsius: int


class Measured2(msgspec.Struct, frozen=True):
    kelvin: int


class Measured3(msgspec.Struct, frozen=True):
    millikelvin: int
    place: str


def to_kelvin(old: dict[str, Any]) -> dict[str, Any]:
    return {"kelvin": old["celsius"] + 273}


def to_place(old: dict[str, Any]) -> dict[str, Any]:
    return {"millikelvin": old["kelvin"] * 1000, "place": "here"}


MEASURED = [
    EventType(name="measured", struct=Measured1, classes={"celsius": "retainable"}),
    EventType(
        name="measured", struct=Measured2, classes={"kelvin": "retainable"}, v=2, upcasters={1: to_kelvin}
    ),
    EventType(
        name="measured",
        struct=Measured3,
        classes={"millikelvin": "retainable", "place": "retainable"},
        v=3,
        upcasters={1: to_kelvin, 2: to_place},
    ),
]


@dataclass(frozen=True)
class Thermometer:
    initial: tuple[tuple[int, str], ...] = ()

    def decide(self, state: Any, command: Any) -> Decision[Any, Any]:
        return Decision((), state)

    def apply(self, state: Any, event: Measured3) -> Any:
        return (*state, (event.millikelvin, event.place))


class Thermometers(LaneDefinition[Any, Any, Any, Any]):
    def origin(self, command: Any) -> Origin:
        return Origin(START)


async def test_upcaster_chain() -> None:
    """JRN-9b: events of v1, v2 and v3 in one lane give one state; bytes and hashes are unchanged on disk."""
    store = MemoryStore()
    written: list[Any] = []
    events: list[Any] = [Measured1(20), Measured2(300), Measured3(273_150, "there")]
    for one, event in zip(MEASURED, events, strict=True):
        async with opened(store, events=[one]) as journal:
            head = await journal.head(LANE)
            await journal.append(LANE, [NewEvent(event, START)], expected_seq=head.seq)
            written = await journal.read(LANE)
    definition = Thermometers(logic=Thermometer(), state=tuple[tuple[int, str], ...], events=(MEASURED[2],))
    async with opened(store, events=[]) as journal:
        async with open_lane_actors(journal, {"session": definition}) as actors:
            state = await actors.lane(LANE).ask(None)
            assert state == ((293_000, "here"), (300_000, "here"), (273_150, "there"))
        records = await journal.read(LANE)
        assert [(one.v, one.payload, one.hash) for one in records] == [
            (one.v, one.payload, one.hash) for one in written
        ]
        assert [record.v for record in records] == [1, 2, 3]


# --- when snapshots are taken -------------------------------------------------------------------------------


async def test_snapshots_are_taken_and_amortised() -> None:
    """JRN-7a: after 1 000 events, but not before as many bytes were appended as the last snapshot had."""
    async with opened() as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        due: list[int] = []

        @dataclass(frozen=True, kw_only=True)
        class Large(JobLane):
            def encode(self, state: JobState) -> bytes:
                return b'"' + b"x" * 40_000 + b'"'

        writer.definition = Large()
        while len(due) < 3:
            for _ in range(50):
                writer.decide(Note(1))
            await writer.durable()
            if writer.snapshot_due:
                await writer.snapshot()
                due.append(writer.seq)
    size = len(b'{"amount":1,"memo":""}')
    apart = -(-40_002 // (50 * size)) * 50
    assert due == [1_000, 1_000 + apart, 1_000 + 2 * apart]


async def test_actor_snapshots_by_itself() -> None:
    """JRN-7a, through an actor: work goes on meanwhile, and a failing one is only reported."""
    said = Said()
    async with (
        opened(emit=said) as journal,
        open_lane_actors(journal, {"session": JobLane()}) as actors,
    ):

        async def ask() -> None:
            for _ in range(50):
                await actors.lane(LANE).ask(Note(1))

        async with trio.open_nursery() as nursery:
            for _ in range(25):
                nursery.start_soon(ask)
        assert [one.seq >= 1_000 for one in await journal.snapshots(LANE)] == [True]

        async def broken(_: Snapshot) -> None:
            raise OSError("no")

        journal.put_snapshot = broken  # type: ignore[assignment, method-assign]
        async with trio.open_nursery() as nursery:
            for _ in range(25):
                nursery.start_soon(ask)
        assert (await actors.lane(LANE).state()).total == 2_500
        assert said.of("snapshot_failed")[0]["reason"] == "OSError"


async def test_a_state_that_cannot_be_encoded() -> None:
    """JRN-7b: a snapshot is a convenience; the lane goes on, and it is told once, not with every command."""

    class Unencodable(JobLane):
        def encode(self, state: JobState) -> bytes:
            raise TypeError

    said = Said()
    async with opened(emit=said) as journal, open_lane_actors(journal, {"session": Unencodable()}) as actors:
        ref = actors.lane(LANE)
        for _ in range(1_050):
            await ref.ask(Note(1))
        assert len(said.of("snapshot_failed")) == 1
        assert (await ref.state()).total == 1_050
