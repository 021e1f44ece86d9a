"""What a journal must hold after all that its callers were told: the single-threaded model of `test_machine`.

A batch that was acknowledged must be there, at the numbers that were told; one that was not may be there as a whole.
Nothing else may be, but what the journal itself says on `server`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import apsw
import msgspec

from tests.journal.arrange import NOTED, Noted
from tests.journal.sqlite.test_migration import EXPECTED, FIXTURE
from web4 import _core
from web4.foundation.digest import blake3_hex, canonical
from web4.journal.event_types import OWN_PREFIX, EventRegistry, EventType
from web4.journal.lane import SERVER, Lane
from web4.journal.own_events import OWN_EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from web4.foundation.logic import Decision
    from web4.journal.journal import NewEvent
    from web4.journal.record import Appended, Head, Record


class Counted(msgspec.Struct, frozen=True):
    n: int


class Accepted(msgspec.Struct, frozen=True):
    command_id: str


class Started(msgspec.Struct, frozen=True):
    command_id: str


class Finished(msgspec.Struct, frozen=True):
    command_id: str
    success: bool


class Requested(msgspec.Struct, frozen=True):
    effect_id: str
    command_id: str
    idempotent: bool


class Concluded(msgspec.Struct, frozen=True):
    effect_id: str
    result: str


def _fixture(struct: type[msgspec.Struct], **more: Any) -> EventType:
    names = struct.__struct_encode_fields__
    name = f"fixture.{struct.__name__.lower()}"
    return EventType(name=name, struct=struct, classes=dict.fromkeys(names, "structural"), **more)


TYPES = (
    NOTED,
    _fixture(Counted),
    _fixture(Accepted, phase="begin", subject="command_id"),
    _fixture(Started, phase="start", subject="command_id"),
    _fixture(Finished, phase="end", subject="command_id"),
    _fixture(Requested, phase="request", subject="effect_id", command="command_id", idempotent="idempotent"),
    _fixture(Concluded, phase="conclusion", subject="effect_id"),
)
"""What the machine appends, and what is in the store of edition 1."""


class State(msgspec.Struct, frozen=True):
    """Of any lane: as the fixture of edition 1 has it, and a digest over every text in its order."""

    sum: int = 0
    outcomes: dict[str, bool] = {}
    digest: str = ""


class Logic:
    """Pure, and sensitive to every event and to their order."""

    initial = State()

    def decide(self, state: State, command: Any) -> Decision[Any, Any]:
        raise NotImplementedError  # nothing is decided here

    def apply(self, state: State, event: Any) -> State:
        replace = msgspec.structs.replace
        match event:
            case Noted(text):
                return replace(state, digest=blake3_hex(f"{state.digest} {text}".encode()))
            case Counted(n):
                return replace(state, sum=state.sum + n)
            case Finished(command_id, success):
                return replace(state, outcomes={**state.outcomes, command_id: success})
        return state


class Definition:
    """What replay has to know."""

    logic = Logic()
    version = 1
    upcasters: ClassVar[Mapping[int, Any]] = {}
    event_names = frozenset(one.name for one in TYPES)

    def encode(self, state: State) -> bytes:
        document = {"outcomes": state.outcomes, "sum": state.sum}
        return canonical(document | ({"digest": state.digest} if state.digest else {}))

    def decode(self, data: bytes) -> State:
        return msgspec.json.decode(data, type=State)


DEFINITION = Definition()
DEFINITIONS: Mapping[Any, Any] = dict.fromkeys(
    ("server", "knowledge", "session", "peer", "human"), DEFINITION
)


class Entry(NamedTuple):
    """One event as it must be stored. `hash` is known once it was seen."""

    type: str
    payload: bytes | None
    at: int
    hash: bytes | None = None

    @property
    def own(self) -> bool:
        """Whether the journal itself said it."""
        return self.type.startswith(OWN_PREFIX)


class Part(NamedTuple):
    """What a batch brings to one lane."""

    lane: Lane
    expected: int
    events: Sequence[NewEvent]
    entries: Sequence[Entry]


@dataclass
class Batch:
    """What somebody appended, and what became of it."""

    parts: Sequence[Part]
    told: Sequence[Appended] | None = None
    """What it was acknowledged with."""
    first: dict[Lane, int] = field(default_factory=dict)
    """Its first number in each lane, once it was seen; empty if it is not there."""
    seen: bool = False


@dataclass
class LaneModel:
    """One lane: every event it ever had, and what of it may be gone."""

    entries: list[Entry] = field(default_factory=list)
    base: int = 0
    """Where what is kept began when it was seen last."""
    bases: set[int] = field(default_factory=lambda: {0})
    """Where it may begin now: one number, but for a compaction that was interrupted."""
    erased_least: int = 0
    erased_most: int = 0
    unfinished: int | None = None
    """The first event of work without an end."""
    origin: tuple[int, State] | None = (0, State())
    """A number, and the state there; None if payloads are missing without which there is no state."""

    @property
    def foreign(self) -> int:
        """The last number that is not of the journal's own."""
        return max((seq for seq, one in enumerate(self.entries, 1) if not one.own), default=0)

    def state(self, registry: EventRegistry, seq: int | None = None) -> State | None:
        """The state after record `seq`."""
        if self.origin is None:
            return None
        begin, state = self.origin
        for entry in self.entries[begin:seq]:
            if not entry.own:
                assert entry.payload is not None
                one = registry.named(entry.type)
                assert one is not None
                state = DEFINITION.logic.apply(state, msgspec.json.decode(entry.payload, type=one.struct))
        return state

    def allowed(self, wanted: int) -> int:
        """How far removal may go: neither unfinished work nor an anchor may be removed (JRN-16b)."""
        stay = [] if self.unfinished is None else [self.unfinished]
        stay += [seq for seq, one in enumerate(self.entries, 1) if one.type == "journal.anchored"]
        return min([wanted, *(seq - 1 for seq in stay if seq > self.base)])


class Expectation:
    """All lanes, and the batches of which it has not been seen yet what became of them."""

    def __init__(self) -> None:
        self.registry = EventRegistry([*TYPES, *OWN_EVENTS])
        self.lanes: dict[Lane, LaneModel] = {}
        self.journal_id: bytes | None = None
        self.batches: list[Batch] = []

    def lane(self, lane: Lane) -> LaneModel:
        """What is known of a lane."""
        return self.lanes.setdefault(lane, LaneModel())

    def begin_with_edition_1(self) -> None:
        """Take in what the fixture holds, read from its own tables."""
        self.journal_id = bytes.fromhex(EXPECTED["journal_id"])
        database = apsw.Connection(str(FIXTURE / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
        for name, known in EXPECTED["lanes"].items():
            model = self.lane(Lane.parse(name))
            model.base, model.bases = known["base"], {known["base"]}
            model.entries = [Entry("fixture.gone", None, 0)] * known["base"]
            model.erased_least = model.erased_most = EXPECTED["erased"].get(name, 0)
            model.unfinished = min(
                (work["seq"] for work in EXPECTED["open_work"] if work["lane"] == name), default=None
            )
            if model.erased_most:
                model.origin = None
            elif known["base"]:
                stored: Any = database.execute(
                    "SELECT state FROM snapshot WHERE lane_kind || ':' || lane_id = ? AND seq = ?",
                    (name, known["base"]),
                ).fetchall()
                model.origin = (known["base"], DEFINITION.decode(stored[0][0]))
            rows: Any = database.execute(
                "SELECT header, payload, hash FROM record WHERE rtrim(lane_kind || ':' || lane_id, ':') = ? "
                "ORDER BY seq",
                (name,),
            )
            for header, payload, digest in rows:
                head = json.loads(header)
                model.entries.append(Entry(head["type"], payload, head["at"], digest))
        database.close()

    # --- comparing --------------------------------------------------------------------------------------

    def compare(self, heads: Mapping[Lane, Head], stored: Mapping[Lane, Sequence[Record]]) -> None:
        """Hold what is stored against what must be; then take in what may have been.

        Raises:
            AssertionError: Something is not as somebody was told.
        """
        assert set(heads) >= {lane for lane, one in self.lanes.items() if one.entries}, "a lane is gone"
        fresh: dict[Lane, dict[int, Record]] = {}
        for lane, head in heads.items():
            model, records = self.lane(lane), stored[lane]
            assert head.base_seq in model.bases, f"{lane} begins after {head.base_seq}, not {model.bases}"
            numbers = [record.seq for record in records]
            assert numbers == list(range(head.base_seq + 1, head.seq + 1)), f"{lane} has {numbers}"
            assert head.seq >= len(model.entries), f"{lane} ends at {head.seq}, not {len(model.entries)}"
            self._compare_erased(lane, model, head.base_seq, records)
            for record in records:
                if record.seq <= len(model.entries):
                    self._compare_entry(model, record, model.entries[record.seq - 1])
            fresh[lane] = {record.seq: record for record in records if record.seq > len(model.entries)}
        explained = self._settle_batches(fresh)
        said = [record for record in fresh.get(SERVER, {}).values() if record.type.startswith(OWN_PREFIX)]
        explained |= {(SERVER, record.seq) for record in said}
        unexplained = {(lane, seq) for lane, some in fresh.items() for seq in some} - explained
        assert not unexplained, f"nobody appended {sorted(unexplained)}"
        self._compare_announcements(heads, said)
        for lane, some in fresh.items():
            self._compare_times(self.lane(lane), stored[lane])
            self.lane(lane).entries += [
                Entry(one.type, one.payload, one.at, one.hash) for one in some.values()
            ]
            self.lane(lane).base = heads[lane].base_seq
            self.lane(lane).bases = {heads[lane].base_seq}
        self.batches.clear()

    def _compare_erased(self, lane: Lane, model: LaneModel, base: int, records: Sequence[Record]) -> None:
        gone = [record.seq for record in records if record.payload is None]
        found = base + len(gone)
        assert gone == list(range(base + 1, found + 1)), f"{lane}: erased are {gone}"
        least, most = max(base, model.erased_least), max(base, model.erased_most)
        assert least <= found <= most, f"{lane}: erased up to {found}, not {least} to {most}"
        model.erased_least = model.erased_most = found

    def _compare_entry(self, model: LaneModel, record: Record, entry: Entry) -> None:
        where = f"{record.lane} {record.seq}"
        assert record.type == entry.type, f"{where} is {record.type}, not {entry.type}"
        assert record.erased or record.payload == entry.payload, f"{where} says {record.payload!r}"
        assert entry.hash in {None, record.hash}, f"{where} has another hash"
        assert entry.hash is None or record.at == entry.at, f"{where} has another time"

    def _compare_times(self, model: LaneModel, records: Sequence[Record]) -> None:
        at = None
        for record in records:
            assert at is None or record.at >= at, f"{record.lane} {record.seq}: time goes back"
            at = record.at

    def _settle_batches(self, fresh: Mapping[Lane, Mapping[int, Record]]) -> set[tuple[Lane, int]]:
        explained: set[tuple[Lane, int]] = set()
        for batch in self.batches:
            batch.first = {}
            for index, part in enumerate(batch.parts):
                first = self._find(part, fresh.get(part.lane, {}))
                if batch.told is not None:
                    told = batch.told[index]
                    assert first == told.first_seq, f"{part.lane} {told.first_seq} is not what was told"
                    assert told.last_seq == first + len(part.entries) - 1
                    assert told.hash == fresh[part.lane][told.last_seq].hash
                if first is not None:
                    batch.first[part.lane] = first
                    explained |= {(part.lane, first + offset) for offset in range(len(part.entries))}
            assert len(batch.first) in {0, len(batch.parts)}, f"only a part of a batch: {batch.first}"
            batch.seen = True
        return explained

    def _find(self, part: Part, fresh: Mapping[int, Record]) -> int | None:
        """Where the whole part begins; texts are unlike all others."""
        payloads = {record.payload: seq for seq, record in fresh.items()}
        first = payloads.get(part.entries[0].payload)
        if first is None:
            assert not {entry.payload for entry in part.entries} & set(payloads), f"{part.lane}: a part of it"
            return None
        for seq, entry in enumerate(part.entries, first):
            assert seq in fresh, f"{part.lane} {seq} is missing, the batch began at {first}"
            record = fresh[seq]
            assert (record.type, record.payload) == (entry.type, entry.payload), f"{part.lane} {seq}: torn"
            assert record.at >= entry.at
        return first

    def _compare_announcements(self, heads: Mapping[Lane, Head], said: Sequence[Record]) -> None:
        """A base moves in the commit that announces it, and no other (JRN-16c)."""
        moved = {
            (str(lane), head.base_seq, head.base_seq - self.lane(lane).base)
            for lane, head in heads.items()
            if head.base_seq > self.lane(lane).base
        }
        events = [self.registry.decode(one) for one in said if one.type == "journal.retained"]
        announced = {(one.lane, one.base_seq, one.removed) for one in events if one.removed}
        assert moved == announced, f"{moved} moved, {announced} was announced"

    def state_hash(self, lane: Lane) -> str | None:
        """The digest of the state that a lane must be in; None if it has none any more."""
        state = self.lane(lane).state(self.registry)
        return None if state is None else _core.blake3(DEFINITION.encode(state)).hex()
