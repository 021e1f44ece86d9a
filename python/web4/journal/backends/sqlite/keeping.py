"""Snapshots, blobs, and the removal of what a base stands for, as transactions of the writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.journal.backends.sqlite import walking
from web4.journal.backends.sqlite.commits import write_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from web4.journal.backends.sqlite.commits import LaneCache
    from web4.journal.lane import Lane
    from web4.journal.record import Head, OpenWork, Snapshot

PART_BYTES: Final = 1 << 20
"""Blobs are written in parts, so that commits find their way in between."""


class _Refs(msgspec.Struct):
    refs: tuple[tuple[str, str], ...] = ()


_REFS: Final = msgspec.json.Decoder(_Refs)


def put_snapshot(connection: apsw.Connection, cache: LaneCache, snapshot: Snapshot, keep: int) -> None:
    """Store a snapshot and let go the oldest above the base. One at or below the base is passed over."""
    row = cache.load(connection, [snapshot.lane])[snapshot.lane]
    base = row.head.base_seq
    if not row.id or snapshot.seq <= base:
        return
    write_snapshot(connection, snapshot, row.id)
    connection.execute(
        "DELETE FROM snapshot WHERE lane = ?1 AND seq > ?2 AND seq NOT IN "
        "(SELECT seq FROM snapshot WHERE lane = ?1 AND seq > ?2 ORDER BY seq DESC LIMIT ?3)",
        (row.id, base, keep),
    )


def prune(connection: apsw.Connection, cache: LaneCache, lane: Lane, limit: int) -> int:
    """Remove up to `limit` records that the lane's base stands for, oldest first; how many there were."""
    row = cache.load(connection, [lane])[lane]
    base = row.head.base_seq
    removed = 0
    while removed < limit:
        some = [one for one in walking.oldest(connection, row) if one[0] <= base][: limit - removed]
        if not some:
            break
        _remove(connection, some)
        # A milestone goes with its record; the next leads to what is left.
        connection.execute("DELETE FROM milestone WHERE lane = ? AND seq <= ?", (row.id, some[-1][0]))
        removed += len(some)
    return removed


def _remove(connection: apsw.Connection, records: list[tuple[int, int, bytes]]) -> None:
    """Remove records, and what refers to them."""
    refs: list[tuple[Any, ...]] = []
    for _, position, header in records:
        try:
            found = _REFS.decode(header).refs
        except msgspec.DecodeError:
            # A damaged header names nothing; the references it had lead nowhere, which every reader bears.
            continue
        refs.extend((kind, value, position) for kind, value in found)
    if refs:
        connection.executemany("DELETE FROM ref WHERE kind = ? AND value = ? AND position = ?", refs)
    connection.executemany(
        "DELETE FROM record WHERE position = ?", [(position,) for _, position, _ in records]
    )


def cut(
    connection: apsw.Connection, cache: LaneCache, lane: Lane, head: Head, work: Sequence[OpenWork]
) -> int:
    """Make `head` the end of a lane: records and snapshots beyond it go (JRN-23b); how many records there were.

    What is cut may be damaged, links and headers with it: everything is found by looking at all there is.
    """
    row = cache.load(connection, [lane])[lane]
    gone: Any = connection.execute(
        "SELECT position FROM record WHERE lane = ? AND seq > ?", (row.id, head.seq)
    ).fetchall()
    connection.executemany("DELETE FROM ref WHERE position = ?", gone)
    connection.executemany("DELETE FROM record WHERE position = ?", gone)
    for table in ("milestone", "snapshot"):
        connection.execute(f"DELETE FROM {table} WHERE lane = ? AND seq > ?", (row.id, head.seq))  # noqa: S608
    connection.execute(
        "UPDATE lane SET head = ?2, hash = ?3, at = ?4, base = ?5, base_hash = ?6, position = "
        "ifnull((SELECT position FROM record WHERE lane = ?1 AND seq = ?2), 0) WHERE id = ?1",
        (row.id, *head),
    )
    # No position is given out twice, even if those that were last are gone.
    connection.execute(
        "INSERT OR REPLACE INTO meta VALUES ('position', max(?, ifnull((SELECT value FROM meta "
        "WHERE key = 'position'), 0)))",
        (max((position for (position,) in gone), default=0),),
    )
    connection.execute("DELETE FROM work WHERE lane = ?", (row.id,))
    connection.executemany(
        "INSERT INTO work VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(row.id, one.kind, one.subject, one.seq, one.started, one.command, one.idempotent) for one in work],
    )
    cache.clear()
    return len(gone)


def touch_blob(connection: apsw.Connection, blob: str, at: int) -> bool:
    """Set the time of a blob; whether it is there."""
    found = connection.execute("UPDATE blob SET at = ? WHERE name = ? RETURNING 1", (at, blob)).fetchall()
    return bool(found)


def put_blob_part(connection: apsw.Connection, blob: str, part: int, data: memoryview) -> None:
    """Store one part of a blob that is not listed yet."""
    connection.execute("INSERT OR REPLACE INTO blob_part VALUES (?, ?, ?)", (blob, part, data))


def list_blob(connection: apsw.Connection, blob: str, size: int, at: int) -> bool:
    """List a blob, whose parts are all there; whether they are."""
    stored: Any = connection.execute(
        "SELECT ifnull(sum(length(data)), 0) FROM blob_part WHERE name = ?", (blob,)
    ).fetchall()
    if stored != [(size,)]:
        return False
    connection.execute("INSERT OR REPLACE INTO blob VALUES (?, ?, ?)", (blob, size, at))
    return True


def delete_blob(connection: apsw.Connection, blob: str, before: int | None) -> None:
    """Remove a blob, listing and parts; not one that was stored again after `before`."""
    connection.execute("DELETE FROM blob WHERE name = ?1 AND at <= ifnull(?2, at)", (blob, before))
    drop_parts(connection, blob)


def drop_parts(connection: apsw.Connection, blob: str) -> None:
    """Remove the parts of a blob that is not listed."""
    connection.execute(
        "DELETE FROM blob_part WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM blob WHERE name = ?1)", (blob,)
    )


def sweep_blob_parts(connection: apsw.Connection) -> None:
    """Remove parts of blobs that were never listed."""
    connection.execute("DELETE FROM blob_part WHERE name NOT IN (SELECT name FROM blob)")
