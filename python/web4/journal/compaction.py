"""Putting a base snapshot in the place of a lane's first records (JRN-17)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from web4.journal.draft import NewEvent
from web4.journal.errors import (
    CorruptJournalError,
    JournalUnavailable,
    LaneHalted,
    NotCommittedError,
    RetentionError,
)
from web4.journal.holds import holds, turn
from web4.journal.lane import SERVER
from web4.journal.own_events import JournalRetained
from web4.journal.replay import state_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from web4.journal.holds import Hold
    from web4.journal.journal import Journal
    from web4.journal.lane import Lane
    from web4.journal.record import Head, Snapshot
    from web4.journal.replay import ReplayDefinition

SLICE_NS: Final = 50_000_000
"""Nanoseconds of the writer's time that one step takes at most (JRN-17c); the next is made smaller if it took half."""
_SMALLEST: Final = 16
_LARGEST: Final = 4_096
_PAGE: Final = 200


class Kept(NamedTuple):
    """How far removal may go, and what stands in the way there."""

    seq: int
    reason: str


class Slices:
    """How many records one step takes: as many as fit well into `SLICE_NS`, by what the last one took."""

    def __init__(self, journal: Journal, *, first: int) -> None:
        self.size = first
        self._clock = journal.clock

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Around one step."""
        begin = self._clock.monotonic_ns()
        yield
        took = self._clock.monotonic_ns() - begin
        if took > SLICE_NS // 2:
            self.size = max(_SMALLEST, self.size // 2)
        elif took < SLICE_NS // 8:
            self.size = min(_LARGEST, self.size * 2)


async def compact(
    journal: Journal,
    lane: Lane,
    *,
    seq: int | None = None,
    definition: ReplayDefinition | None = None,
    reason: str = "compact",
    thorough: bool = True,
) -> int:
    """Compact a lane as far as may be, or to record `seq` exactly; where what is kept begins, afterwards.

    Args:
        journal: Open for writing.
        lane: Which lane.
        seq: The last record that goes; as far as nothing is in the way if left out.
        definition: The lane's logic, with which its state can be made at any record. Without it only a snapshot that
            exists can become the base.
        reason: What asked for it, for the record.
        thorough: Leave nothing of what went in any file. Otherwise it is overwritten by and by, and no reader is in
            the way.

    Raises:
        RetentionError: `kept`: something below `seq` must stay; `no_snapshot`: no state stands for the records.
        CursorAhead: `seq` is beyond the head.
        LaneHalted: What is damaged is evidence.
        JournalUnavailable: `suspended`: also when all is done, and files of the store could not be scrubbed of it.
        JournalError: Everything that `Journal.append` raises. Running it again goes on where it was interrupted.

    Cancellation: between two steps; what is left to be pruned goes with the next run.
    """
    async with turn(journal):
        base_seq, removed = await _compact(journal, lane, seq, definition, reason)
    if removed and thorough:
        await scrub(journal)
    return base_seq


async def _compact(
    journal: Journal, lane: Lane, seq: int | None, definition: ReplayDefinition | None, reason: str
) -> tuple[int, int]:
    """See `compact`; where what is kept begins, and how many records went."""
    if lane in journal.halted:
        raise LaneHalted(f"{lane} was halted: {journal.halted[lane]}")
    head = await journal.head(lane)
    removed = await prune(journal, lane) if head.base_seq else 0
    wanted = head.seq if seq is None else seq
    if wanted > head.seq:
        await journal.read(lane, after=wanted, limit=1)  # says CursorAhead
    if wanted <= head.base_seq:
        return head.base_seq, removed
    kept = await floor_of(journal, lane, head, wanted, held=await holds(journal.backend))
    if kept is not None and seq is not None:
        raise RetentionError(f"{lane} {kept.seq + 1} must stay: {kept.reason}", code="kept")
    wanted = wanted if kept is None else kept.seq
    if wanted <= head.base_seq:
        return head.base_seq, removed
    base = await base_at(journal, lane, wanted, definition=definition, exact=seq is not None)
    gone, _ = await compact_to(journal, base, reason=reason)
    return base.seq, removed + gone


async def scrub(journal: Journal) -> None:
    """Leave nothing of what went in any file of the store.

    Raises:
        JournalUnavailable: `suspended`: what went is gone from the tables, but files still hold it.
    """
    try:
        await journal.backend.scrub()
    except NotCommittedError as error:
        raise JournalUnavailable(
            f"what was removed is not to be found any more, but files of the store still hold it: {error}",
            code="suspended",
        ) from None


async def floor_of(
    journal: Journal, lane: Lane, head: Head, wanted: int, *, held: Mapping[str, Hold]
) -> Kept | None:
    """What below or at `wanted` must stay (JRN-16b), and so how far removal may go; None if nothing is in the way."""
    kept: list[Kept] = []
    for work in await journal.open_work(lane, limit=1):
        kept.append(Kept(work.seq - 1, f"an unfinished {work.kind} begins there"))
    for one in held.values():
        if one.lane == lane and (one.last is None or one.last > head.base_seq):
            kept.append(Kept(max(one.first - 1, head.base_seq), f"hold {one.name}"))
        if lane == SERVER:
            kept.append(Kept(one.seq - 1, f"it says that there is a hold {one.name}"))
    if lane == SERVER:
        anchor = await _first_anchor(journal, head, wanted)
        if anchor is not None:
            kept.append(Kept(anchor - 1, "an anchor is there"))
    lowest = min(kept, default=None)
    return lowest if lowest is not None and lowest.seq < wanted else None


async def _first_anchor(journal: Journal, head: Head, wanted: int) -> int | None:
    """The first anchor on `server` up to `wanted`."""
    after = head.base_seq
    while after < wanted:
        records = await journal.backend.read(SERVER, after=after, limit=min(_PAGE, wanted - after))
        for record in records:
            if record.type == "journal.anchored":
                return record.seq
        if not records:
            break
        after = records[-1].seq
    return None


async def usable_snapshots(
    journal: Journal, lane: Lane, head: Head, definition: ReplayDefinition | None
) -> list[Snapshot]:
    """The snapshots above the base that hold, newest first: only they stand for records (JRN-7b)."""
    usable = []
    for one in await journal.snapshots(lane):
        if not head.base_seq < one.seq <= head.seq or not one.intact:
            continue
        if definition is not None and one.logic_version != definition.version:
            continue
        records = await journal.backend.read(lane, after=one.seq - 1, limit=1)
        if records and (records[0].seq, records[0].hash) == (one.seq, one.record_hash):
            usable.append(one)
    return usable


async def base_at(
    journal: Journal,
    lane: Lane,
    seq: int,
    *,
    definition: ReplayDefinition | None = None,
    exact: bool = False,
) -> Snapshot:
    """The snapshot that can stand for records up to `seq`; below it if there is no other and `exact` is not asked for.

    Raises:
        RetentionError: `no_snapshot`.
    """
    head = await journal.head(lane)
    known = [one for one in await usable_snapshots(journal, lane, head, definition) if one.seq <= seq]
    best = known[0] if known else None
    if (best is None or best.seq < seq) and definition is not None:
        try:
            best = await state_at(journal.backend, definition, journal.registry, lane, seq)
        except CorruptJournalError as error:
            raise RetentionError(f"{lane} cannot be rebuilt at {seq}: {error}", code="no_snapshot") from None
    if best is None or (exact and best.seq != seq):
        raise RetentionError(f"no snapshot of {lane} stands for its records to {seq}", code="no_snapshot")
    if journal.redactor.found(best.state):
        raise RetentionError(f"the state of {lane} at {best.seq} holds a secret", code="no_snapshot")
    return best


async def compact_to(journal: Journal, base: Snapshot, *, reason: str) -> tuple[int, int]:
    """Make `base` the lane's base and remove what it stands for; the records removed, and bytes of their payloads.

    The base and its announcement are durable in one commit before anything is removed.
    """
    lane = base.lane
    head = await journal.head(lane)
    size, after = 0, head.base_seq
    while after < base.seq:
        records = await journal.backend.read(lane, after=after, limit=min(_PAGE, base.seq - after))
        if not records:
            break
        size += sum(len(record.payload or b"") for record in records)
        after = records[-1].seq
    removed = base.seq - head.base_seq
    event = JournalRetained(
        lane=str(lane), base_seq=base.seq, erased=0, removed=removed, bytes=size, reason=reason
    )
    await journal.change(events=[NewEvent(event, journal.clock.wall_ms())], bases=[base])
    await prune(journal, lane)
    return removed, size


async def prune(journal: Journal, lane: Lane) -> int:
    """Remove what the lane's base stands for, in steps that leave the writer free in between; how many records.

    Raises:
        JournalUnavailable: `suspended`: the store cannot be written now. The next run goes on.
    """
    slices, removed = Slices(journal, first=256), 0
    while True:
        limit = slices.size
        try:
            with slices.measured():
                gone = await journal.backend.prune(lane, limit=limit)
        except NotCommittedError as error:
            raise JournalUnavailable(f"pruning was interrupted: {error}", code="suspended") from None
        removed += gone
        if gone < limit:
            return removed
        await trio.lowlevel.checkpoint()
