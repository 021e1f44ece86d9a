"""What a journal in memory consists of. It outlives its openings, as a file outlives the processes that open it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from web4 import _core
from web4.foundation.ids import SystemIds
from web4.journal.errors import WrongExpectedSeq
from web4.journal.record import Head, OpenWork, read_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from web4.foundation.ids import IdSource
    from web4.journal.lane import Lane
    from web4.journal.record import Commit, Record, Refs, Sealed, Snapshot

Kind = str
WorkKey = tuple["Lane", Kind, str]


class Row(NamedTuple):
    """A record as it is stored; an erased one has neither payload nor salt."""

    header: bytes
    payload: bytes | None
    salt: bytes | None
    payload_hash: bytes
    hash: bytes
    commit: int
    position: int
    refs: Refs


class LaneRows:
    """What is stored of one lane: its head, and rows without a gap from `first` on."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.first = 1
        self.rows: list[Row] = []

    def at(self, seq: int) -> Row | None:
        """The row of a record, unless it was pruned."""
        index = seq - self.first
        return self.rows[index] if 0 <= index < len(self.rows) else None

    def between(self, after: int, before: int | None) -> range:
        """The numbers of the records that there are in between."""
        last = self.head.seq if before is None else min(self.head.seq, before - 1)
        return range(max(after, self.head.base_seq) + 1, last + 1)


class MemoryStore:
    """The bytes of a journal, kept in memory.

    Args:
        ids: Draws the journal's id and its hash key, once.
        shared: Whether several openings may write, each the lanes it owns, as with a database server (JRN-24b).
    """

    def __init__(self, *, ids: IdSource | None = None, shared: bool = False) -> None:
        ids = ids or SystemIds()
        self.journal_id = ids.token(16)
        self.hash_key = ids.token(32)
        self.shared = shared
        self.boot = 0
        self.commits = 0
        self.torn = 0
        self.tail: list[Sealed] = []
        """What a torn commit left; the next opening discards it."""
        self.lanes: dict[Lane, LaneRows] = {}
        self.names: list[Lane] = []
        self.snapshots: dict[Lane, dict[int, Snapshot]] = {}
        self.blobs: dict[str, tuple[bytes, int]] = {}
        self.work: dict[WorkKey, OpenWork] = {}
        self.by_place: list[tuple[Lane, int]] = []
        """Places of what is unfinished, sorted."""
        self.work_at: dict[tuple[Lane, int], WorkKey] = {}
        self.places: dict[int, tuple[Lane, int]] = {}
        """Position to place, of every row there is."""
        self.positions: list[int] = []
        """Sorted; may still name a few that were pruned."""
        self.next_position = 1
        self.refs: dict[tuple[str, str], list[int]] = {}
        self.owners: dict[Lane, int] = {}
        self.alive: set[int] = set()
        """Boots of the openings that may write."""
        self.last_of: dict[int, int] = {}
        """Boot to the number of its last commit."""
        self.moved = trio.lowlevel.ParkingLot()

    # --- how openings come and go -------------------------------------------------------------------------

    def kill(self) -> None:
        """End every opening at once, as a power cut does: none of them can do anything from now on."""
        self.alive.clear()
        self.moved.unpark_all()

    def expire(self) -> None:
        """Let every lease run out (with `shared`): whoever asks for a lane first has it."""
        self.owners.clear()

    def damage(self, lane: Lane, seq: int, column: str, *, at: int = 0) -> None:
        """Flip a bit in byte `at` of one column of a row: `header`, `payload`, `salt`, `payload_hash` or `hash`."""
        stored = self.lanes[lane]
        row = stored.at(seq)
        assert row is not None
        was = bytearray(getattr(row, column))
        was[at] ^= 1
        changed: dict[str, Any] = {column: bytes(was)}
        stored.rows[seq - stored.first] = row._replace(**changed)

    def holds(self, needle: bytes) -> bool:
        """Whether the bytes occur anywhere in what is stored."""
        rows = (row for stored in self.lanes.values() for row in stored.rows)
        records = (value for row in rows for value in (row.header, row.payload, row.salt))
        states = (one.state for known in self.snapshots.values() for one in known.values())
        blobs = (data for data, _ in self.blobs.values())
        return any(value is not None and needle in value for value in (*records, *states, *blobs))

    def discard_tail(self) -> None:
        """Discard what a torn commit left (JRN-12a)."""
        if self.tail:
            self.tail.clear()
            self.torn += 1

    # --- writing ------------------------------------------------------------------------------------------

    def head(self, lane: Lane) -> Head:
        """Where a lane ends."""
        stored = self.lanes.get(lane)
        if stored is not None:
            return stored.head
        genesis = _core.lane_genesis(self.journal_id, str(lane))
        return Head(0, genesis, 0, 0, genesis)

    def apply(self, commit: Commit, boot: int) -> int:
        """Store a commit: all of it, or nothing and an error.

        Raises:
            WrongExpectedSeq: A lane does not end at its `HeadMove.before`.
            ValueError: The commit contradicts itself: a mistake in the journal above.
        """
        for move in commit.heads:
            actual = self.head(move.lane)
            if (actual.seq, actual.hash) != (move.before.seq, move.before.hash):
                raise WrongExpectedSeq(move.lane, expected=move.before.seq, actual=actual.seq)
        _require_whole(commit)
        for snapshot in commit.bases:
            if not 0 < snapshot.seq <= max([self.head(snapshot.lane).seq, *_ends(commit, snapshot.lane)]):
                raise ValueError(f"a base beyond the end of {snapshot.lane}")
        self.commits += 1
        self.last_of[boot] = self.commits
        for move in commit.heads:
            if move.lane not in self.lanes:
                self.lanes[move.lane] = LaneRows(self.head(move.lane))
                insort(self.names, move.lane)
            base = self.lanes[move.lane].head
            self.lanes[move.lane].head = move.after._replace(base_seq=base.base_seq, base_hash=base.base_hash)
        for sealed in commit.records:
            self._add(sealed)
        for snapshot in commit.bases:
            self._set_base(snapshot)
        for lane, seq in commit.erasures:
            self._erase(lane, seq)
        self.moved.unpark_all()
        return self.commits

    def number_of(self, commit: Commit, boot: int) -> int | None:
        """The number of the commit that `boot` tried last, if it is there."""
        if commit.records:
            last = commit.records[-1]
            stored = self.lanes.get(last.lane)
            row = None if stored is None else stored.at(last.seq)
            return row.commit if row is not None and row.hash == last.hash else None
        based = all(self.head(base.lane).base_seq >= base.seq for base in commit.bases)
        erased = all(self._erased(lane, seq) for lane, seq in commit.erasures)
        return self.last_of.get(boot) if based and erased else None

    def _erased(self, lane: Lane, seq: int) -> bool:
        stored = self.lanes.get(lane)
        rows = [] if stored is None else stored.rows[: max(0, seq - stored.first + 1)]
        return all(row.payload is None for row in rows)

    def _add(self, sealed: Sealed) -> None:
        position, place = self.next_position, (sealed.lane, sealed.seq)
        self.next_position += 1
        self.lanes[sealed.lane].rows.append(
            Row(
                sealed.header,
                sealed.payload,
                sealed.salt,
                sealed.payload_hash,
                sealed.hash,
                self.commits,
                position,
                sealed.refs,
            )
        )
        self.positions.append(position)
        self.places[position] = place
        for ref in sealed.refs:
            self.refs.setdefault(ref, []).append(position)
        if sealed.work is not None:
            self._move_work(sealed)

    def _move_work(self, sealed: Sealed) -> None:
        work = sealed.work
        assert work is not None
        kind = "effect" if work.phase in {"request", "conclusion"} else "command"
        key = (sealed.lane, kind, work.subject)
        known = self.work.get(key)
        if work.phase == "start":
            if known is not None:
                self.work[key] = known._replace(started=True)
            return
        if known is not None:
            place = (known.lane, known.seq)
            del self.work[key], self.work_at[place]
            del self.by_place[bisect_left(self.by_place, place)]
        if work.phase in {"begin", "request"}:
            place = (sealed.lane, sealed.seq)
            self.work[key] = OpenWork(
                sealed.lane,
                sealed.seq,
                "effect" if kind == "effect" else "command",
                work.subject,
                started=False,
                command=work.command,
                idempotent=work.idempotent,
            )
            self.work_at[place] = key
            insort(self.by_place, place)

    def _set_base(self, snapshot: Snapshot) -> None:
        stored = self.lanes[snapshot.lane]
        if snapshot.seq < stored.head.base_seq:
            return
        stored.head = stored.head._replace(base_seq=snapshot.seq, base_hash=snapshot.record_hash)
        known = self.snapshots.setdefault(snapshot.lane, {})
        for seq in [seq for seq in known if seq < snapshot.seq]:
            del known[seq]
        known[snapshot.seq] = snapshot

    def _erase(self, lane: Lane, seq: int) -> None:
        stored = self.lanes.get(lane)
        if stored is None:
            return
        for index in range(min(seq - stored.first + 1, len(stored.rows))):
            stored.rows[index] = stored.rows[index]._replace(payload=None, salt=None)

    def prune(self, lane: Lane, limit: int) -> int:
        """Remove up to `limit` rows that the lane's base stands for."""
        stored = self.lanes.get(lane)
        if stored is None:
            return 0
        count = max(0, min(limit, stored.head.base_seq - stored.first + 1, len(stored.rows)))
        for row in stored.rows[:count]:
            del self.places[row.position]
            for ref in row.refs:
                found = self.refs[ref]
                del found[bisect_left(found, row.position)]
                if not found:
                    del self.refs[ref]
        del stored.rows[:count]
        stored.first += count
        if len(self.positions) > 2 * len(self.places):
            self.positions = [position for position in self.positions if position in self.places]
        return count

    def cut(self, lane: Lane, head: Head, work: Iterable[OpenWork]) -> int:
        """Make `head` the end of a lane: rows and snapshots beyond it go (JRN-23b); how many rows there were."""
        stored = self.lanes[lane]
        index = max(0, head.seq - stored.first + 1)
        gone = stored.rows[index:]
        positions = {row.position for row in gone}
        for position in positions:
            self.places.pop(position, None)
        for ref, found in list(self.refs.items()):
            left = [position for position in found if position not in positions]
            self.refs[ref] = left
            if not left:
                del self.refs[ref]
        del stored.rows[index:]
        stored.head = head
        known = self.snapshots.get(lane, {})
        for seq in [seq for seq in known if seq > head.seq]:
            del known[seq]
        self._set_work(lane, work)
        return len(gone)

    def _set_work(self, lane: Lane, work: Iterable[OpenWork]) -> None:
        for key in [key for key in self.work if key[0] == lane]:
            place = (lane, self.work[key].seq)
            del self.work[key], self.work_at[place]
            self.by_place.remove(place)
        for one in work:
            key, place = (lane, one.kind, one.subject), (lane, one.seq)
            self.work[key], self.work_at[place] = one, key
            insort(self.by_place, place)

    def put_snapshot(self, snapshot: Snapshot, keep: int) -> None:
        """Store a snapshot above the base, and let go the oldest above it."""
        base = self.head(snapshot.lane).base_seq
        known = self.snapshots.setdefault(snapshot.lane, {})
        if snapshot.seq > base:
            known[snapshot.seq] = snapshot
        for seq in sorted((seq for seq in known if seq != base), reverse=True)[keep:]:
            del known[seq]

    # --- reading ------------------------------------------------------------------------------------------

    def record(self, lane: Lane, seq: int) -> Record:
        """One record that is there.

        Raises:
            CorruptJournalError: `chain_broken`: its header is damaged.
        """
        row = self.lanes[lane].at(seq)
        assert row is not None
        return read_record(
            lane,
            seq,
            header=row.header,
            payload=row.payload,
            salt=row.salt,
            payload_hash=row.payload_hash,
            hash=row.hash,
            commit=row.commit,
            position=row.position,
        )

    def scan(
        self, positions: list[int], after: int, before: int | None, *, reverse: bool, limit: int
    ) -> list[Record]:
        """Records at the positions in between, those aside that a base stands for."""
        low = bisect_right(positions, after)
        high = len(positions) if before is None else bisect_left(positions, before)
        indexes: Iterable[int] = range(low, high)
        if reverse:
            indexes = reversed(range(low, high))
        found: list[Record] = []
        for lane, seq in self._shown(positions[index] for index in indexes):
            if len(found) >= limit:
                break
            found.append(self.record(lane, seq))
        return found

    def _shown(self, positions: Iterable[int]) -> Iterator[tuple[Lane, int]]:
        for position in positions:
            place = self.places.get(position)
            if place is not None and place[1] > self.lanes[place[0]].head.base_seq:
                yield place

    def bytes(self) -> int:
        """How many bytes records, snapshots and blobs hold."""
        rows = (row for stored in self.lanes.values() for row in stored.rows)
        records = sum(len(row.header) + len(row.payload or b"") + len(row.salt or b"") + 64 for row in rows)
        states = sum(len(one.state) for known in self.snapshots.values() for one in known.values())
        return records + states + sum(len(data) for data, _ in self.blobs.values())


def _require_whole(commit: Commit) -> None:
    """Refuse a commit whose records are not exactly what its heads say, in their order."""
    records = iter(commit.records)
    for move in sorted(commit.heads, key=lambda move: move.lane):
        last = move.before.hash
        for seq in range(move.before.seq + 1, move.after.seq + 1):
            record = next(records, None)
            if record is None or (record.lane, record.seq) != (move.lane, seq):
                raise ValueError(f"a commit without record {seq} of {move.lane}, or in another order")
            last = record.hash
        if last != move.after.hash:
            raise ValueError(f"a commit after which {move.lane} would not end with its last record")
    if next(records, None) is not None:
        raise ValueError("a commit with records that none of its heads tells of")


def _ends(commit: Commit, lane: Lane) -> list[int]:
    return [move.after.seq for move in commit.heads if move.lane == lane]
