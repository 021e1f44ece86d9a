"""Rebuilding states from what is stored, without effects, and saying what it came to (JRN-22).

Replay draws no time and no randomness, opens nothing and writes nothing: the same bytes give the same result in every
process. It reads a journal, a store that was opened for reading, or a bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from web4 import _core
from web4.foundation.digest import blake3_hex, canonical
from web4.journal.chain import check_run
from web4.journal.errors import CorruptJournalError
from web4.journal.lane import Lane, LaneKind
from web4.journal.record import Head, Record, Snapshot
from web4.journal.replay_result import MOST_OUTCOMES, Divergence, LaneReplay, Outcome, ReplayResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.foundation.logic import LaneLogic
    from web4.journal.event_types import EventRegistry

__all__ = [
    "TRANSPARENT",
    "DecisionCheck",
    "Divergence",
    "LaneReplay",
    "Outcome",
    "ReplayDefinition",
    "ReplayResult",
    "ReplaySource",
    "replay",
    "state_at",
]

TRANSPARENT: Final = ("journal.", "recovery.", "effect.")
"""Events whose names begin so are the runtime's own: no lane's logic sees them, unless it declares them itself."""
_PAGE: Final = 500


class ReplayDefinition(Protocol):
    """What replay has to know of a kind of lane. `web4.actors.LaneDefinition` has it all."""

    @property
    def logic(self) -> LaneLogic[Any, Any, Any, Any]:
        """Its pure logic."""
        ...

    @property
    def version(self) -> int:
        """Of the logic (JRN-7b)."""
        ...

    @property
    def upcasters(self) -> Mapping[int, Callable[[Any], Any]]:
        """Version n to a function from the decoded JSON of its states to that of version n + 1 (JRN-9d)."""
        ...

    @property
    def event_names(self) -> frozenset[str]:
        """The events that the logic applies."""
        ...

    def encode(self, state: Any) -> bytes:
        """Write a state as canonical JSON."""
        ...

    def decode(self, data: bytes) -> Any:
        """Read what `encode` wrote; ValueError if it is no state."""
        ...


class ReplaySource(Protocol):
    """Where records are replayed from. Every `Backend` is one, and so is a `BundleSource`."""

    @property
    def journal_id(self) -> bytes:
        """The journal's."""
        ...

    async def head(self, lane: Lane) -> Head:
        """Where a lane ends and begins."""
        ...

    async def heads(
        self, kind: LaneKind | None = None, *, after: Lane | None = None, limit: int = 500
    ) -> list[tuple[Lane, Head]]:
        """Lanes in order of their names."""
        ...

    async def read(self, lane: Lane, *, after: int = 0, limit: int = 500) -> list[Record]:
        """Records after a number, in order."""
        ...

    async def snapshots(self, lane: Lane) -> list[Snapshot]:
        """Snapshots, newest first; the base's last."""
        ...


DecisionCheck = Callable[[Lane, Any, Record, Any], str | None]
"""Given lane, state before, record and event: how the recorded decision differs from the one `decide` would make now,
or None. Which command a record answers is known to the rooms that give commands; they bring the check (JRN-22a)."""


async def replay(
    source: ReplaySource,
    definitions: Mapping[LaneKind, ReplayDefinition],
    registry: EventRegistry,
    *,
    lane: Lane | None = None,
    until: int | None = None,
    check: DecisionCheck | None = None,
) -> ReplayResult:
    """Rebuild lanes from their beginning or their base, and compare on the way.

    Every snapshot that is passed, and was taken by this version of the logic, is compared with the state there.

    Args:
        source: A store, opened for writing or reading, or a bundle.
        definitions: The logic of each kind of lane; lanes of other kinds are left out.
        registry: Decodes events.
        lane: Only this one.
        until: Not beyond this number, in every lane.
        check: Compares decisions, see `DecisionCheck`.

    Raises:
        JournalError: The source cannot be read at all. A lane that cannot be replayed says so in its result.
    """
    divergences: list[Divergence] = []
    count = 0
    results = []
    for one, head in await _lanes(source, lane):
        definition = definitions.get(one.kind)
        if definition is None:
            continue
        run = _Run(source, one, definition, registry, check)
        results.append(await run.result(head, until))
        count += run.divergences_count
        divergences += run.divergences
    return ReplayResult(
        journal_id=source.journal_id.hex(),
        lanes=tuple(results),
        divergences=tuple(divergences[:MOST_OUTCOMES]),
        divergences_count=count,
    )


async def state_at(
    source: ReplaySource, definition: ReplayDefinition, registry: EventRegistry, lane: Lane, seq: int
) -> Snapshot:
    """The state of a lane after record `seq`, from the newest snapshot at or below it that can be used.

    Raises:
        CorruptJournalError: The lane cannot be rebuilt there.
    """
    head = await source.head(lane)
    run = _Run(source, lane, definition, registry, None)
    await run.begin(head, await source.snapshots(lane), most=seq)
    await run.apply_to(seq)
    return Snapshot.of(lane, seq, run.prev, definition.encode(run.state), definition.version)


async def _lanes(source: ReplaySource, lane: Lane | None) -> Sequence[tuple[Lane, Head]]:
    if lane is not None:
        return [(lane, await source.head(lane))]
    found: list[tuple[Lane, Head]] = []
    after: Lane | None = None
    while page := await source.heads(after=after, limit=_PAGE):
        found += page
        after = page[-1][0]
    return found


class _Run:
    """One lane under replay."""

    def __init__(
        self,
        source: ReplaySource,
        lane: Lane,
        definition: ReplayDefinition,
        registry: EventRegistry,
        check: DecisionCheck | None,
    ) -> None:
        self.state = definition.logic.initial
        self.seq = 0
        self.prev = b""
        self.begun_at = 0
        self.divergences: list[Divergence] = []
        self.divergences_count = 0
        self._source = source
        self._lane = lane
        self._definition = definition
        self._registry = registry
        self._check = check
        self._snapshots: dict[int, Snapshot] = {}
        self._applied = 0
        self._outcomes: list[Outcome] = []
        self._outcomes_count = 0
        self._outcomes_digest = bytes(32)
        self._versions: dict[str, int] = {}

    async def result(self, head: Head, until: int | None) -> LaneReplay:
        last = head.seq if until is None else min(until, head.seq)
        stopped: str | None = None
        digest: str | None = None
        try:
            snapshots = await self._source.snapshots(self._lane)
            self._snapshots = {one.seq: one for one in snapshots}
            await self.begin(head, [one for one in snapshots if one.seq == head.base_seq], most=last)
            await self.apply_to(last)
            digest = blake3_hex(self._definition.encode(self.state))
        except CorruptJournalError as error:
            stopped = str(error)
        return LaneReplay(
            lane=self._lane,
            seq=self.seq,
            begun_at=self.begun_at,
            digest=digest,
            applied=self._applied,
            outcomes=tuple(self._outcomes),
            outcomes_count=self._outcomes_count,
            outcomes_digest=self._outcomes_digest.hex(),
            versions=dict(sorted(self._versions.items())) | {"logic": self._definition.version},
            stopped=stopped,
        )

    # --- where it begins --------------------------------------------------------------------------------

    async def begin(self, head: Head, snapshots: Sequence[Snapshot], *, most: int) -> None:
        """Begin at the newest of `snapshots` up to `most` that can be used; at the genesis if there is none."""
        for one in snapshots:
            if one.seq <= most and await self._take(one, head):
                return
        if head.base_seq:
            raise self._broken("its base snapshot cannot be used", head.base_seq, "snapshot")
        self.seq, self.prev = 0, head.base_hash

    async def _take(self, snapshot: Snapshot, head: Head, *, needed: bool = False) -> bool:
        """Go on from a snapshot, if it holds (JRN-7b, c). One of another logic is carried along only where `needed`."""
        base = snapshot.seq == head.base_seq
        other = snapshot.logic_version != self._definition.version
        if not snapshot.intact or (other and not base and not needed):
            return False
        digest = head.base_hash
        if not base:
            records = await self._source.read(self._lane, after=snapshot.seq - 1, limit=1)
            digest = records[0].hash if records and records[0].seq == snapshot.seq else b""
        if digest != snapshot.record_hash:
            return False
        try:
            self.state = _carried(self._definition, snapshot)
        except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError):
            return False
        self.seq, self.prev, self.begun_at = snapshot.seq, snapshot.record_hash, snapshot.seq
        return True

    async def _jump(self, erased: Record, last: int) -> bool:
        """Go on after payloads that were erased, from the first snapshot beyond them that holds (JRN-16a).

        It stands for them as a base does for records, and so follows the logic's version by upcasters.
        """
        head = await self._source.head(self._lane)
        for seq in sorted(seq for seq in self._snapshots if erased.seq <= seq <= last):
            if await self._take(self._snapshots[seq], head, needed=True):
                return True
        return False

    # --- records ----------------------------------------------------------------------------------------

    async def apply_to(self, last: int) -> None:
        """Apply records up to number `last`.

        Raises:
            CorruptJournalError: One that is not what was written, or cannot be applied.
        """
        while self.seq < last:
            records = await self._source.read(self._lane, after=self.seq, limit=min(_PAGE, last - self.seq))
            if not records:
                raise self._broken("records are missing", self.seq + 1, "chain_broken")
            check_run(self._lane, self.prev, self.seq, records)
            for record in records:
                if not await self._take_record(record, last):
                    break

    async def _take_record(self, record: Record, last: int) -> bool:
        """Apply one; False if reading has to go on elsewhere."""
        transparent = record.type.startswith(TRANSPARENT) and record.type not in self._definition.event_names
        if record.payload is None and not transparent:
            if await self._jump(record, last):
                return False
            raise self._broken("its payload is not there", record.seq, "undecodable")
        self._versions[record.type] = max(record.v, self._versions.get(record.type, 0))
        if not transparent:
            self._apply(record)
        self.seq, self.prev = record.seq, record.hash
        self._compare(record.seq)
        return True

    def _apply(self, record: Record) -> None:
        if record.type not in self._definition.event_names:
            raise self._broken(f"{record.type} is none of the lane's events", record.seq, "future_event")
        event = self._registry.decode(record)
        if self._check is not None:
            difference = self._check(self._lane, self.state, record, event)
            if difference is not None:
                self._diverges(record.seq, difference)
        try:
            self.state = self._definition.logic.apply(self.state, event)
        except Exception as error:
            name = type(error).__name__
            raise self._broken(
                f"{record.type} cannot be applied ({name})", record.seq, "undecodable"
            ) from error
        self._applied += 1
        one = self._registry.named(record.type)
        if one is not None and one.phase == "end":
            work = one.work(event)
            assert work is not None
            self._outcome(Outcome(record.seq, record.type, work.subject), record)

    def _outcome(self, outcome: Outcome, record: Record) -> None:
        self._outcomes_count += 1
        if len(self._outcomes) < MOST_OUTCOMES:
            self._outcomes.append(outcome)
        told = canonical([outcome.seq, outcome.type, outcome.subject]) + (record.payload or b"")
        self._outcomes_digest = _core.blake3(self._outcomes_digest + _core.blake3(told))

    def _compare(self, seq: int) -> None:
        """Hold the state against a snapshot that was taken here."""
        snapshot = self._snapshots.get(seq)
        if snapshot is None or snapshot.logic_version != self._definition.version:
            return
        if _core.blake3(self._definition.encode(self.state)) != snapshot.state_hash:
            self._diverges(seq, "the snapshot there has another state")

    def _diverges(self, seq: int, detail: str) -> None:
        self.divergences_count += 1
        if len(self.divergences) < MOST_OUTCOMES:
            self.divergences.append(Divergence(self._lane, seq, detail))

    def _broken(self, what: str, seq: int, code: str) -> CorruptJournalError:
        return CorruptJournalError(f"{self._lane} {seq}: {what}", code=code, lane=self._lane, seq=seq)


def _carried(definition: ReplayDefinition, snapshot: Snapshot) -> Any:
    """A snapshot's state, brought up to the logic's version (JRN-9d).

    Raises:
        LookupError: No way leads from its version to this one.
        ValueError: It is no state.
    """
    if snapshot.logic_version == definition.version:
        return definition.decode(snapshot.state)
    document = msgspec.json.decode(snapshot.state)
    if snapshot.logic_version > definition.version:
        raise LookupError(snapshot.logic_version)
    for version in range(snapshot.logic_version, definition.version):
        document = definition.upcasters[version](document)
    return definition.decode(canonical(document))
