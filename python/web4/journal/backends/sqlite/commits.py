"""How a commit becomes rows (JRN-4b, c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from web4 import _core
from web4.journal.backends.sqlite import statements, walking
from web4.journal.backends.sqlite.layout import STRIDE
from web4.journal.backends.sqlite.walking import LaneRow
from web4.journal.errors import WrongExpectedSeq
from web4.journal.lane import Lane
from web4.journal.record import Head

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

    from web4.journal.record import Commit, Sealed, Snapshot, Work

# The constructors of named tuples are written in Python: at a hundred thousand records a second they are felt.
_MAKE_ROW: Final = partial(tuple.__new__, LaneRow)


class LaneCache:
    """The rows of the lanes that were written lately, so that a commit need not read what it changes.

    Right because a store has one writer (JRN-11a). Whoever fails to commit clears it.

    Args:
        journal_id: Of the store; where lanes that nobody wrote get their genesis from.
        limit: How many rows it holds before it begins anew.
    """

    def __init__(self, journal_id: bytes, *, limit: int = 16_384) -> None:
        self._journal_id = journal_id
        self._limit = limit
        self._rows: dict[Lane, LaneRow] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()

    def load(self, connection: apsw.Connection, lanes: Iterable[Lane]) -> dict[Lane, LaneRow]:
        """The rows of `lanes`."""
        known = self._rows
        missing = [lane for lane in lanes if lane not in known]
        if missing:
            if len(known) + len(missing) > self._limit:
                known.clear()
                missing = list(lanes)
            names = [part for lane in missing for part in (lane.kind, lane.id)]
            for kind, name, *row in statements.run(connection, statements.LANES_NAMED, names):
                known[Lane(kind, name)] = LaneRow(row[0], Head(*row[1:6]), row[6], row[7])
            for lane in missing:
                if lane not in known:
                    genesis = _core.lane_genesis(self._journal_id, str(lane))
                    known[lane] = LaneRow(0, Head(0, genesis, 0, 0, genesis), 0, 0)
        return known

    def position(self, lane: Lane) -> int:
        """The position of the last record of a lane that was loaded; 0 if it has none."""
        return self._rows[lane].position

    def update(self, rows: dict[Lane, LaneRow]) -> None:
        """Take over rows that were committed."""
        self._rows.update(rows)


class Counters(NamedTuple):
    """The last numbers given out: of a commit, of a record's position, of a lane's row."""

    commit: int
    position: int
    lane: int


def write_commit(
    connection: apsw.Connection, cache: LaneCache, commit: Commit, counters: Counters
) -> tuple[Counters, dict[Lane, LaneRow]]:
    """Say `commit` to the engine, inside the transaction that is open.

    Returns:
        The counters and the lanes' rows as they are once it has committed.

    Raises:
        WrongExpectedSeq: A lane does not end where the commit says.
        apsw.Error: The engine refuses.
    """
    changed = _lanes_after(connection, cache, commit, counters)
    ids = {lane: row.id for lane, row in changed.items()}
    number = counters.commit + 1
    if commit.records:
        _write_records(connection, cache, commit.records, ids, counters)
        _write_work(connection, commit.records, ids)
    for snapshot in commit.bases:
        if changed[snapshot.lane].head.base_seq == snapshot.seq:
            _write_base(connection, snapshot, ids[snapshot.lane])
    for lane, seq in commit.erasures:
        if lane in changed:
            walking.erase(connection, changed[lane], seq)
    rows: list[Any] = []
    for lane, row in changed.items():
        rows += (row.id, lane.kind, lane.id, *row.head, row.commit, row.position)
    if rows:
        statements.run(connection, statements.LANE, rows)
    else:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'commit'", (number,))
    newest = max((row.id for row in changed.values()), default=0)
    after = Counters(number, counters.position + len(commit.records), max(counters.lane, newest))
    return after, changed


def _write_records(
    connection: apsw.Connection,
    cache: LaneCache,
    sealed_records: Sequence[Sealed],
    ids: dict[Lane, int],
    counters: Counters,
) -> None:
    """Store records with their references and milestones."""
    position = previous = counters.position
    number = counters.commit + 1
    records: list[Any] = []
    milestones: list[Any] = []
    refs: list[Any] = []
    lane: Lane | None = None
    lane_id = 0
    for sealed in sealed_records:
        if sealed.lane is not lane and sealed.lane != lane:
            lane = sealed.lane
            lane_id = ids[lane]
            previous = cache.position(lane)
        position += 1
        records += (
            position,
            lane_id,
            sealed.seq,
            number,
            previous,
            sealed.header,
            sealed.payload,
            sealed.salt,
            sealed.payload_hash,
            sealed.hash,
        )
        previous = position
        if not sealed.seq % STRIDE:
            milestones += (lane_id, sealed.seq, position)
        for kind, value in sealed.refs:
            refs += (kind, value, position)
    statements.run(connection, statements.RECORD, records)
    if milestones:
        statements.run(connection, statements.MILESTONE, milestones)
    if refs:
        statements.run(connection, statements.REF, refs)


def _lanes_after(
    connection: apsw.Connection, cache: LaneCache, commit: Commit, counters: Counters
) -> dict[Lane, LaneRow]:
    """The rows of all lanes that the commit touches, as they are after it."""
    touched = [move.lane for move in commit.heads]
    if commit.bases or commit.erasures:
        touched += [snapshot.lane for snapshot in commit.bases] + [lane for lane, _ in commit.erasures]
    known = cache.load(connection, touched)
    number = counters.commit + 1
    last = counters.lane
    # Records come sorted: each lane's last one ends a run.
    positions = {sealed.lane: place for place, sealed in enumerate(commit.records, counters.position + 1)}
    after: dict[Lane, LaneRow] = {}
    for lane, before, head in commit.heads:
        row = known[lane]
        if row.head.seq != before.seq or row.head.hash != before.hash:
            raise WrongExpectedSeq(lane, expected=before.seq, actual=row.head.seq)
        if not row.id:
            last += 1
        if head.base_seq != row.head.base_seq:  # bases move by base snapshots only
            head = head._replace(base_seq=row.head.base_seq, base_hash=row.head.base_hash)  # noqa: PLW2901
        after[lane] = _MAKE_ROW((row.id or last, head, number, positions.get(lane, row.position)))
    for lane in touched[len(commit.heads) :]:
        if lane not in after and known[lane].id:
            after[lane] = known[lane]._replace(commit=number)
    for snapshot in commit.bases:
        known_row = after.get(snapshot.lane)
        if known_row is None or not 0 < snapshot.seq <= known_row.head.seq:
            raise ValueError(f"a base beyond the end of {snapshot.lane}")
        if snapshot.seq < known_row.head.base_seq:
            continue
        head = known_row.head._replace(base_seq=snapshot.seq, base_hash=snapshot.record_hash)
        after[snapshot.lane] = known_row._replace(head=head)
    return after


def _write_base(connection: apsw.Connection, snapshot: Snapshot, lane_id: int) -> None:
    """Put a base snapshot in the place of what it stands for (JRN-17a)."""
    connection.execute("DELETE FROM snapshot WHERE lane = ? AND seq <= ?", (lane_id, snapshot.seq))
    write_snapshot(connection, snapshot, lane_id)


def write_snapshot(connection: apsw.Connection, snapshot: Snapshot, lane_id: int) -> None:
    """Store a snapshot in the place of one after the same record."""
    connection.execute(
        "INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?, ?, ?)",
        (
            lane_id,
            snapshot.seq,
            snapshot.record_hash,
            snapshot.state,
            snapshot.state_hash,
            snapshot.logic_version,
        ),
    )


_KIND = {
    "begin": "command",
    "start": "command",
    "end": "command",
    "request": "effect",
    "conclusion": "effect",
}


def _write_work(connection: apsw.Connection, records: Iterable[Sealed], ids: dict[Lane, int]) -> None:
    """Keep the table of unfinished work (JRN-13). What begins and ends within one commit never gets there."""
    opened: dict[tuple[int, str, str], tuple[int, bool, Work]] = {}
    started: dict[tuple[int, str, str], None] = {}
    done: dict[tuple[int, str, str], None] = {}
    for sealed in records:
        work = sealed.work
        if work is None:
            continue
        key = (ids[sealed.lane], _KIND[work.phase], work.subject)
        if work.phase in {"begin", "request"}:
            opened[key] = (sealed.seq, False, work)
        elif work.phase == "start":
            if key in opened:
                opened[key] = (opened[key][0], True, opened[key][2])
            else:
                started[key] = None
        else:
            opened.pop(key, None)
            started.pop(key, None)
            done[key] = None
    if done:
        statements.run(connection, statements.WORK_DONE, [part for key in done for part in key])
    if started:
        statements.run(connection, statements.WORK_STARTED, [part for key in started for part in key])
    if opened:
        rows: list[Any] = []
        for key, (seq, is_started, work) in opened.items():
            rows += (*key, seq, int(is_started), work.command, int(work.idempotent))
        statements.run(connection, statements.WORK, rows)
