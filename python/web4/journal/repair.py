"""Cutting damage off the ends of lanes, and keeping what was cut (JRN-23b)."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import trio

from web4.foundation.clock import SystemClock
from web4.foundation.digest import blake3_hex, canonical
from web4.journal.backends.backend import Backend
from web4.journal.chain import check_run, genesis
from web4.journal.draft import NewEvent
from web4.journal.errors import CorruptJournalError, RepairError
from web4.journal.event_types import EventRegistry
from web4.journal.lane import SERVER, Lane
from web4.journal.open_work import OpenWorkOf
from web4.journal.opening import open_journal
from web4.journal.own_events import JournalRepaired
from web4.journal.record import Head
from web4.journal.verify import anchored_places, readable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from web4.foundation.clock import Clock
    from web4.foundation.identity import Identity
    from web4.journal.record import OpenWork, RawRecord, Record, Snapshot

_PAGE: Final = 250


class Repairable(Backend, Protocol):
    """A store that can be repaired."""

    async def raw(self, lane: Lane, *, after: int = 0, limit: int = 500) -> list[RawRecord]:
        """Stored rows of a lane with a number above `after`, in order, as they are: also such as cannot be read."""
        ...

    async def cut(self, lane: Lane, head: Head, work: Sequence[OpenWork]) -> int:
        """Make `head` the end of a lane, in one commit: rows and snapshots beyond it go, `work` is what is unfinished.

        Returns:
            How many rows there were.

        Raises:
            NotCommittedError: Nothing was changed.
        """
        ...


class LaneRepair(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done with one lane.

    Args:
        lane: Which lane.
        keep: The last record that verifies: it becomes the head.
        head: Where the lane is said to end.
        reason: What was found.
    """

    lane: Lane
    keep: int
    head: int
    reason: str


class RepairPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair would do.

    Args:
        lanes: What is to be cut.
        beyond: Lanes of which nothing can be saved by cutting, and why: their base does not hold.
    """

    lanes: tuple[LaneRepair, ...]
    beyond: tuple[tuple[Lane, str], ...]


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """What was done with one lane; `quarantine` is the file that has what was cut, None if there was nothing."""

    lane: Lane
    keep: int
    removed: int
    quarantine: str | None


async def plan_repair(backend: Backend) -> RepairPlan:
    """Look at the chains of all lanes; changes nothing. A store that was opened for reading will do.

    Raises:
        JournalError: The store cannot be read at all.
    """
    anchors = await anchored_places(backend)
    repairs, beyond = [], []
    after: Lane | None = None
    while page := await backend.heads(after=after, limit=_PAGE):
        for lane, head in page:
            reason = await _base_fault(backend, lane, head)
            if reason is not None:
                beyond.append((lane, reason))
                continue
            found = await _look(backend, lane, head)
            anchor = anchors.get(str(lane), 0)
            if found is None and anchor > head.seq:
                found = (head.seq, f"it was anchored at {anchor}: records are lost")
            if found is not None:
                repairs.append(LaneRepair(lane=lane, keep=found[0], head=head.seq, reason=found[1]))
        after = page[-1][0]
    return RepairPlan(lanes=tuple(repairs), beyond=tuple(beyond))


async def apply_repair(
    backend: Repairable,
    plan: RepairPlan,
    *,
    quarantine: Path,
    registry: EventRegistry,
    identity: Identity | None = None,
    clock: Clock | None = None,
) -> list[Repaired]:
    """Do what was planned: keep what goes in `quarantine`, say so on `server`, then cut.

    A crash in between leaves a lane that is damaged as before, or cut; doing it again goes on. What commands and
    effects a cut lane had unfinished is worked out anew: the next start of the node classifies it.

    Args:
        backend: Open for writing; no journal may be open upon it.
        plan: From `plan_repair`.
        quarantine: A directory for what is cut; made if it is not there, closed to others.
        registry: The types of all events: it tells what is unfinished.
        identity: Signs the anchors that are due.
        clock: Times of the records.

    Raises:
        RepairError: `plan_outdated`, `quarantine`, `beyond_repair`. Nothing was cut.
        JournalError: Writing failed.
    """
    if await plan_repair(backend) != plan:
        raise RepairError("the journal is not what it was when the repair was planned", code="plan_outdated")
    if any(lane == SERVER for lane, _ in plan.beyond):
        raise RepairError("the server lane cannot be repaired, and nothing without it", code="beyond_repair")
    clock = clock or SystemClock()
    run = _Repair(backend, quarantine, registry, clock)
    repaired = [await run.keep(one) for one in plan.lanes]
    # What is to be said is said before it is done, on a lane that is sound by then.
    for one in plan.lanes:
        if one.lane == SERVER:
            await run.cut(one)
    # The journal's own types are all that is written here.
    async with open_journal(backend, registry=EventRegistry(), identity=identity, clock=clock) as journal:
        events = [
            NewEvent(
                JournalRepaired(
                    lane=str(one.lane),
                    seq=one.keep,
                    removed=done.removed,
                    quarantine=done.quarantine or "",
                    reason=one.reason,
                ),
                clock.wall_ms(),
            )
            for one, done in zip(plan.lanes, repaired, strict=True)
        ]
        if events:
            await journal.change(events=events)
    for one in plan.lanes:
        if one.lane != SERVER:
            await run.cut(one)
    return repaired


# --- looking ------------------------------------------------------------------------------------------------


async def _base_fault(backend: Backend, lane: Lane, head: Head) -> str | None:
    """Why nothing of a lane can be relied on: it has a base that does not hold."""
    if not head.base_seq:
        return None
    for one in await backend.snapshots(lane):
        if one.seq == head.base_seq:
            sound = one.intact and one.record_hash == head.base_hash
            return None if sound else "its base snapshot does not hold"
    return "its base snapshot is missing"


async def _look(backend: Backend, lane: Lane, head: Head) -> tuple[int, str] | None:
    """The last record that verifies, and what is wrong after it; None if nothing is."""
    start = head.base_hash if head.base_seq else genesis(backend.journal_id, lane)
    after, prev = head.base_seq, start
    while after < head.seq:
        unreadable: int | None = None
        try:
            records = await backend.read(lane, after=after, limit=min(_PAGE, head.seq - after))
        except CorruptJournalError as error:
            if error.seq is None:
                raise
            unreadable = error.seq
            records = await readable(backend, lane, after, error)
        try:
            prev = check_run(lane, prev, after, records)
        except CorruptJournalError as error:
            return (error.seq or 1) - 1, f"record {error.seq} is not what was written"
        after = records[-1].seq if records else after
        if unreadable is not None:
            return after, f"record {unreadable} is not what was written"
        if not records:
            return after, "records are missing"
    if prev != head.hash or (not head.base_seq and head.base_hash != start):
        return after, "the head is not that of the last record"
    return None


# --- doing --------------------------------------------------------------------------------------------------


class _Repair:
    """A repair under way."""

    def __init__(self, backend: Repairable, quarantine: Path, registry: EventRegistry, clock: Clock) -> None:
        self._backend = backend
        self._quarantine = quarantine
        self._registry = registry
        self._clock = clock

    async def keep(self, one: LaneRepair) -> Repaired:
        """Write what will be cut to a file of its own, durably."""
        name = f"{one.lane.kind}-{blake3_hex(str(one.lane).encode())[:16]}-{one.keep + 1}"
        path = self._quarantine / f"{name}.{self._clock.wall_ms()}.ndjson"
        snapshots = [item for item in await self._backend.snapshots(one.lane) if item.seq > one.keep]
        removed, after = 0, one.keep
        lines = [_header_line(one), *(_snapshot_line(item) for item in snapshots)]
        try:
            while rows := await self._backend.raw(one.lane, after=after, limit=_PAGE):
                removed += len(rows)
                after = rows[-1].seq
                lines += [_row_line(row) for row in rows]
                await trio.to_thread.run_sync(_append, path, lines)
                lines = []
            if snapshots and lines:
                await trio.to_thread.run_sync(_append, path, lines)
        except OSError as error:
            raise RepairError(
                f"what would be cut of {one.lane} cannot be kept: {error.strerror}", code="quarantine"
            ) from None
        kept = path.name if removed or snapshots else None
        return Repaired(lane=one.lane, keep=one.keep, removed=removed, quarantine=kept)

    async def cut(self, one: LaneRepair) -> None:
        """Make the last record that verifies the head."""
        backend, lane = self._backend, one.lane
        old = await backend.head(lane)
        first = old.base_hash if old.base_seq else genesis(backend.journal_id, lane)
        head = Head(one.keep, first, old.at, old.base_seq, first)
        work = OpenWorkOf(self._registry)
        after = old.base_seq
        while after < one.keep:
            records: list[Record] = await backend.read(
                lane, after=after, before=one.keep + 1, limit=min(_PAGE, one.keep - after)
            )
            for record in records:
                work.add(record)
            after = records[-1].seq
            head = head._replace(hash=records[-1].hash, at=records[-1].at)
        await backend.own(lane)
        await backend.cut(lane, head, work.unfinished())


def _header_line(one: LaneRepair) -> bytes:
    return canonical({"lane": str(one.lane), "keep": one.keep, "head": one.head, "reason": one.reason})


def _snapshot_line(snapshot: Snapshot) -> bytes:
    told: dict[str, Any] = {
        "snapshot": snapshot.seq,
        "record_hash": snapshot.record_hash.hex(),
        "state": base64.b64encode(snapshot.state).decode(),
        "state_hash": snapshot.state_hash.hex(),
        "logic_version": snapshot.logic_version,
    }
    return canonical(told)


def _row_line(row: RawRecord) -> bytes:
    told: dict[str, Any] = {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in row._asdict().items()
    }
    return canonical(told)


def _append(path: Path, lines: list[bytes]) -> None:
    """Add lines to a file of its own, which only its owner reads, and make them durable."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "ab") as file:
        file.write(b"".join(line + b"\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
