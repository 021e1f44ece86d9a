"""How a lane's records are found: from a milestone or the head backwards, each record naming the one before it."""

# ruff: noqa: S608 - queries are put together from constant texts only

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from web4.journal.backends.sqlite.layout import STRIDE

if TYPE_CHECKING:
    import apsw

    from web4.journal.record import Head

FIELDS: Final = (
    "record.seq, record.header, record.payload, record.salt, record.payload_hash, record.hash, "
    "record.commit_number, record.position"
)

# Arguments: the lane, the number to begin with, its position, the number to end above. Descending.
_WALK: Final = """
WITH RECURSIVE walk (seq, position) AS (
    VALUES (?2, ?3)
    UNION ALL
    SELECT walk.seq - 1, record.previous FROM walk CROSS JOIN record
    ON record.position = walk.position AND record.lane = ?1 AND record.seq = walk.seq
    WHERE walk.seq - 1 > ?4
)
"""
_FOUND: Final = """
FROM walk CROSS JOIN record ON record.position = walk.position AND record.lane = ?1 AND record.seq = walk.seq
"""


class LaneRow(NamedTuple):
    """A lane as it is stored; `id` is 0 while nobody wrote it."""

    id: int
    head: Head
    commit: int
    position: int


def _begin(connection: apsw.Connection, lane: LaneRow, last: int) -> tuple[int, int]:
    """Number and position of the nearest known record at or after `last`."""
    if lane.head.seq - last >= STRIDE:
        found: Any = connection.execute(
            "SELECT seq, position FROM milestone WHERE lane = ? AND seq >= ? ORDER BY seq LIMIT 1",
            (lane.id, last),
        ).fetchall()
        if found:
            return int(found[0][0]), int(found[0][1])
    return lane.head.seq, lane.position


def span(connection: apsw.Connection, lane: LaneRow, first: int, last: int) -> list[tuple[Any, ...]]:
    """The `FIELDS` of the records from `first` to `last`, in order."""
    first = max(first, lane.head.base_seq + 1)
    last = min(last, lane.head.seq)
    if first > last:
        return []
    begin = _begin(connection, lane, last)
    rows: list[tuple[Any, ...]] = connection.execute(
        f"{_WALK} SELECT {FIELDS} {_FOUND} WHERE walk.seq <= ?5",
        (lane.id, *begin, first - 1, last),
    ).fetchall()
    if len(rows) == last - first + 1:
        rows.reverse()
        return rows
    # A link is damaged. What is there is found the slow way; who checks the chain sees where it breaks.
    return connection.execute(
        f"SELECT {FIELDS} FROM record WHERE lane = ? AND seq BETWEEN ? AND ? ORDER BY seq",
        (lane.id, first, last),
    ).fetchall()


def erase(connection: apsw.Connection, lane: LaneRow | None, last: int) -> None:
    """Remove payloads and salts up to `last`: always of a prefix, so what is erased already ends the walk.

    A lane that nobody wrote has no row, and nothing to erase.
    """
    if lane is None:
        return
    last = min(last, lane.head.seq)
    begin = _begin(connection, lane, last)
    walk = _WALK.replace("WHERE", "WHERE (walk.seq > ?5 OR record.payload IS NOT NULL) AND")
    connection.execute(
        f"UPDATE record SET payload = NULL, salt = NULL WHERE position IN ({walk} "
        f"SELECT record.position {_FOUND} WHERE walk.seq <= ?5 AND record.payload IS NOT NULL)",
        (lane.id, *begin, lane.head.base_seq, last),
    )


def oldest(connection: apsw.Connection, lane: LaneRow) -> list[tuple[int, int, bytes]]:
    """Number, position and header of the oldest records that are still there, in order; at most a stride of them."""
    found: Any = connection.execute(
        "SELECT seq, position FROM milestone WHERE lane = ? ORDER BY seq LIMIT 1", (lane.id,)
    ).fetchall()
    begin = found[0] if found else (lane.head.seq, lane.position)
    rows: Any = connection.execute(
        f"{_WALK} SELECT record.seq, record.position, record.header {_FOUND}",
        (lane.id, *begin, 0),
    ).fetchall()
    rows.reverse()
    return list(rows)
