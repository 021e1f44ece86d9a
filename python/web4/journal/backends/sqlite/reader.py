"""The reading end of the store: queries on a connection of their own, each of one committed state (JRN-6d)."""

# ruff: noqa: S608 - queries are put together from constant texts only

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import apsw

from web4 import _core
from web4.journal.backends.sqlite.faults import describe, is_damage
from web4.journal.backends.sqlite.walking import FIELDS, LaneRow, span
from web4.journal.errors import CorruptJournalError, JournalUnavailable
from web4.journal.lane import Lane
from web4.journal.record import Head, OpenWork, RawRecord, Record, Snapshot, read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from web4.journal.lane import LaneKind

Result = TypeVar("Result")

_LAST: Final = (1 << 63) - 1


def read_with(connection: apsw.Connection, work: Callable[[apsw.Connection], Result]) -> Result:
    """Run `work` in one transaction that reads.

    Raises:
        CorruptJournalError: `store`.
        JournalUnavailable: `suspended`: the engine could not read just now.
    """
    try:
        connection.execute("BEGIN")
        try:
            return work(connection)
        finally:
            if connection.in_transaction:
                connection.execute("COMMIT")
    except apsw.Error as error:
        raise _failed(error) from error


def open_with(connect: Callable[[], apsw.Connection]) -> apsw.Connection:
    """Open a connection; see `read_with` for what is raised."""
    try:
        return connect()
    except apsw.Error as error:
        raise _failed(error) from error


def _failed(error: apsw.Error) -> CorruptJournalError | JournalUnavailable:
    if is_damage(error):
        return CorruptJournalError(f"the store is damaged ({describe(error)})", code="store")
    return JournalUnavailable(f"the store cannot be read now ({describe(error)})", code="suspended")


def engine() -> str:
    """The engine and its version."""
    return f"SQLite {apsw.sqlite_lib_version()}"


def _record(lane: Lane, row: tuple[Any, ...]) -> Record:
    seq, header, payload, salt, payload_hash, digest, commit, position = row
    return read_record(
        lane,
        seq,
        header=header,
        payload=payload,
        salt=salt,
        payload_hash=payload_hash,
        hash=digest,
        commit=commit,
        position=position,
    )


def head(connection: apsw.Connection, journal_id: bytes, lane: Lane) -> Head:
    """Where a lane ends."""
    row = connection.execute(
        "SELECT head, hash, at, base, base_hash FROM lane WHERE kind = ? AND name = ?", (lane.kind, lane.id)
    ).fetchone()
    if row is None:
        genesis = _core.lane_genesis(journal_id, str(lane))
        return Head(0, genesis, 0, 0, genesis)
    return Head(*row)


def heads(
    connection: apsw.Connection, kind: LaneKind | None, after: Lane | None, limit: int
) -> list[tuple[Lane, Head]]:
    """Lanes with their heads, by kind and id."""
    where = "(kind, name) > (?, ?)"
    values: list[Any] = [after.kind, after.id] if after else ["", ""]
    if kind is not None:
        where += " AND kind = ?"
        values.append(kind)
    rows = connection.execute(
        "SELECT kind, name, head, hash, at, base, base_hash FROM lane "
        f"WHERE {where} ORDER BY kind, name LIMIT ?",
        (*values, limit),
    )
    return [(Lane(row[0], row[1]), Head(*row[2:])) for row in rows]


def read(
    connection: apsw.Connection, lane: Lane, after: int, before: int | None, limit: int, reverse: bool
) -> list[Record]:
    """Records of a lane that its base does not stand for."""
    row = connection.execute(
        "SELECT id, head, hash, at, base, base_hash, commit_number, position FROM lane "
        "WHERE kind = ? AND name = ?",
        (lane.kind, lane.id),
    ).fetchone()
    if row is None:
        return []
    stored = LaneRow(row[0], Head(*row[1:6]), row[6], row[7])
    first = max(after, stored.head.base_seq) + 1
    last = stored.head.seq if before is None else min(before - 1, stored.head.seq)
    if reverse:
        first = max(first, last - limit + 1)
    else:
        last = min(last, first + limit - 1)
    found = [_record(lane, one) for one in span(connection, stored, first, last)]
    if reverse:
        found.reverse()
    return found


def raw(connection: apsw.Connection, lane: Lane, after: int, limit: int) -> list[RawRecord]:
    """Rows of a lane as they are stored, found by looking at all there is: links and headers may be damaged."""
    rows = connection.execute(
        f"SELECT {FIELDS} FROM record JOIN lane ON lane.id = record.lane "
        "WHERE lane.kind = ? AND lane.name = ? AND record.seq > ? ORDER BY record.seq LIMIT ?",
        (lane.kind, lane.id, after, limit),
    )
    return [RawRecord(*row) for row in rows]


def scan(
    connection: apsw.Connection, after: int, before: int | None, limit: int, reverse: bool
) -> list[Record]:
    """Records of all lanes in the order of history."""
    order = "DESC" if reverse else "ASC"
    rows = connection.execute(
        # CROSS JOIN: the records lead, in their order; each looks up its lane.
        f"SELECT lane.kind, lane.name, {FIELDS} FROM record CROSS JOIN lane ON lane.id = record.lane "
        "WHERE record.position > ? AND record.position < ? AND record.seq > lane.base "
        f"ORDER BY record.position {order} LIMIT ?",
        (after, _LAST if before is None else before, limit),
    )
    return _of_lanes(rows)


def find(
    connection: apsw.Connection,
    ref: tuple[str, str],
    after: int,
    before: int | None,
    limit: int,
    reverse: bool,
) -> list[Record]:
    """As `scan`, of records that carry `ref`."""
    order = "DESC" if reverse else "ASC"
    rows = connection.execute(
        f"SELECT lane.kind, lane.name, {FIELDS} FROM ref "
        "CROSS JOIN record ON record.position = ref.position CROSS JOIN lane ON lane.id = record.lane "
        "WHERE ref.kind = ? AND ref.value = ? AND ref.position > ? AND ref.position < ? "
        f"AND record.seq > lane.base ORDER BY ref.position {order} LIMIT ?",
        (*ref, after, _LAST if before is None else before, limit),
    )
    return _of_lanes(rows)


def _of_lanes(rows: Iterable[tuple[Any, ...]]) -> list[Record]:
    lanes: dict[tuple[str, str], Lane] = {}
    found = []
    for kind, name, *row in rows:
        lane = lanes.get((kind, name))
        if lane is None:
            lane = lanes[kind, name] = Lane(kind, name)
        found.append(_record(lane, tuple(row)))
    return found


def open_work(
    connection: apsw.Connection, lane: Lane | None, after: OpenWork | None, limit: int
) -> list[OpenWork]:
    """Unfinished work by lane and number."""
    where, values = "1", []
    if lane is not None:
        where, values = "lane.kind = ? AND lane.name = ?", [lane.kind, lane.id]
    begin: list[Any] = [after.lane.kind, after.lane.id, after.seq] if after else ["", "", 0]
    rows = connection.execute(
        "SELECT lane.kind, lane.name, work.seq, work.kind, work.subject, work.started, work.command, "
        "work.idempotent FROM work JOIN lane ON lane.id = work.lane "
        f"WHERE {where} AND (lane.kind, lane.name, work.seq) > (?, ?, ?) "
        "ORDER BY lane.kind, lane.name, work.seq, work.kind, work.subject LIMIT ?",
        (*values, *begin, limit),
    )
    return [
        OpenWork(Lane(row[0], row[1]), row[2], row[3], row[4], bool(row[5]), row[6], bool(row[7]))
        for row in rows
    ]


def snapshots(connection: apsw.Connection, lane: Lane) -> list[Snapshot]:
    """A lane's snapshots, newest first."""
    rows = connection.execute(
        "SELECT seq, record_hash, state, state_hash, logic_version FROM snapshot WHERE lane = "
        "(SELECT id FROM lane WHERE kind = ? AND name = ?) ORDER BY seq DESC",
        (lane.kind, lane.id),
    )
    return [
        Snapshot(
            lane=lane, seq=row[0], record_hash=row[1], state=row[2], state_hash=row[3], logic_version=row[4]
        )
        for row in rows
    ]


def blob(connection: apsw.Connection, name: str) -> bytes | None:
    """What is stored under the name."""
    if connection.execute("SELECT 1 FROM blob WHERE name = ?", (name,)).fetchone() is None:
        return None
    parts = connection.execute("SELECT data FROM blob_part WHERE name = ? ORDER BY part", (name,))
    return b"".join(data for (data,) in parts)


def blobs(connection: apsw.Connection, after: str, limit: int) -> list[tuple[str, int, int]]:
    """Names, sizes and times of blobs."""
    rows: Any = connection.execute(
        "SELECT name, size, at FROM blob WHERE name > ? ORDER BY name LIMIT ?", (after, limit)
    ).fetchall()
    return list(rows)


def figures(connection: apsw.Connection) -> dict[str, Any]:
    """What the tables say of their size."""
    rows: Any = connection.execute(
        "SELECT (SELECT count(*) FROM lane), (SELECT ifnull(sum(head - base), 0) FROM lane), "
        "(SELECT count(*) FROM work), (SELECT count(*) FROM blob), (SELECT ifnull(sum(size), 0) FROM blob), "
        "(SELECT page_count FROM pragma_page_count), (SELECT page_size FROM pragma_page_size), "
        "(SELECT freelist_count FROM pragma_freelist_count), (SELECT value FROM meta WHERE key = 'boot'), "
        "(SELECT value FROM meta WHERE key = 'profile'), (SELECT value FROM meta WHERE key = 'schema')"
    ).fetchall()
    ((lanes, records, work, names, size, pages, page_bytes, free, boots, profile, schema),) = rows
    return {
        "schema": schema,
        "boots": boots,
        "profile": profile,
        "lanes": lanes,
        "records": records,
        "open_work": work,
        "blobs": names,
        "blob_bytes": size,
        "bytes": pages * page_bytes,
        "reusable_bytes": free * page_bytes,
    }
