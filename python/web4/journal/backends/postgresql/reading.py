"""What is stored, read back (JRN-6, JRN-20).

The order of history. Several owners commit at once, so a commit that began earlier may become visible later, and a
reader that went past its place would miss it for ever. The number of a commit is therefore the id of its transaction
(plus an offset, see `tables`): the server hands ids out in rising order, and a snapshot knows the oldest one that is
still running, `pg_snapshot_xmin`. Below it everything is decided: what is visible is all there will ever be. So history
ends there, and what lies above it comes with a later page. Within one lane nothing can come late, because the next
commit of a lane starts after the one before was over: reading a lane needs no such bound.

The price: a transaction of anybody else on the same server that writes and stays open holds the end of history back
for that long, and only that. A reader waits up to `PATIENCE` for what its own process has committed to come below the
bound, so that in ordinary life it finds its own writing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import trio

from web4 import _core
from web4.journal.backends.postgresql.encoding import (
    int8,
    read_bool,
    read_bytes,
    read_int,
    read_text,
    rows,
    text,
)
from web4.journal.backends.postgresql.tables import PLACES_BITS
from web4.journal.backends.postgresql.wire import Statement
from web4.journal.lane import Lane
from web4.journal.record import Head, OpenWork, Record, Snapshot, read_record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal

    from psycopg.pq.abc import PGresult

    from web4.journal.backends.postgresql.pool import Pool
    from web4.journal.lane import LaneKind

PATIENCE: Final = 1.0
"""Seconds for which a reader of history waits for older transactions to end, when it has later news itself."""
_EVERYTHING: Final = 2**63 - 1
_COLUMNS: Final = "l.kind, l.id, r.seq, r.position, r.header, r.payload, r.salt, r.payload_hash, r.hash"

_HEAD: Final = Statement(
    "head", "SELECT kind, id, seq, hash, at, base_seq, base_hash FROM @.lanes WHERE kind = $1 AND id = $2"
)
_HEADS: Final = Statement(
    "heads",
    """SELECT kind, id, seq, hash, at, base_seq, base_hash FROM @.lanes
    WHERE seq > 0 AND (kind, id) > ($1, $2) ORDER BY kind, id LIMIT $3::bigint""",
)
_HEADS_OF: Final = Statement(
    "heads_of_kind",
    """SELECT kind, id, seq, hash, at, base_seq, base_hash FROM @.lanes
    WHERE seq > 0 AND kind = $1 AND (kind, id) > ($2, $3) ORDER BY kind, id LIMIT $4::bigint""",
)
_BOUND: Final = Statement(
    # Where history ends for now. Numbers beyond all that the server has handed out were restored from a dump, before
    # anybody opened it for writing: nothing of that can come late.
    "bound",
    """SELECT CASE WHEN (SELECT max(position) >> 16 FROM @.records)
            >= commit_offset + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        THEN 140737488355327
        ELSE commit_offset + pg_snapshot_xmin(pg_current_snapshot())::text::bigint END FROM @.meta""",
)


def _in_both_directions(name: str, sql: str, order: str) -> tuple[Statement, Statement]:
    return (
        Statement(name, sql.format(columns=_COLUMNS, order=order)),
        Statement(f"{name}_reverse", sql.format(columns=_COLUMNS, order=f"{order} DESC")),
    )


_READ: Final = _in_both_directions(
    "read",
    """SELECT {columns} FROM @.lanes AS l JOIN @.records AS r ON r.lane = l.lane
    WHERE l.kind = $4 AND l.id = $5 AND r.seq > $1::bigint AND r.seq < $2::bigint AND r.seq > l.base_seq
    ORDER BY {order} LIMIT $3::bigint""",
    "r.seq",
)
_SCAN: Final = _in_both_directions(
    "scan",
    """SELECT {columns} FROM @.records AS r JOIN @.lanes AS l ON l.lane = r.lane
    WHERE r.position > $1::bigint AND r.position < $2::bigint AND r.seq > l.base_seq
    ORDER BY {order} LIMIT $3::bigint""",
    "r.position",
)
_FIND: Final = _in_both_directions(
    "find",
    """SELECT {columns} FROM @.refs AS f JOIN @.records AS r ON r.position = f.position
        JOIN @.lanes AS l ON l.lane = r.lane
    WHERE f.kind = $4 AND f.value = $5 AND f.position > $1::bigint AND f.position < $2::bigint
        AND r.seq > l.base_seq
    ORDER BY {order} LIMIT $3::bigint""",
    "f.position",
)
_WORK: Final = Statement(
    "open_work",
    """SELECT l.kind, l.id, w.seq, w.kind, w.subject, w.started, w.command, w.idempotent
    FROM @.open_work AS w JOIN @.lanes AS l ON l.lane = w.lane
    WHERE (l.kind, l.id, w.seq) > ($1, $2, $3::bigint) ORDER BY l.kind, l.id, w.seq LIMIT $4::bigint""",
)
_WORK_OF: Final = Statement(
    "open_work_of_lane",
    """SELECT l.kind, l.id, w.seq, w.kind, w.subject, w.started, w.command, w.idempotent
    FROM @.lanes AS l JOIN @.open_work AS w ON w.lane = l.lane
    WHERE l.kind = $1 AND l.id = $2 AND w.seq > $3::bigint ORDER BY w.seq LIMIT $4::bigint""",
)
_SNAPSHOTS: Final = Statement(
    "snapshots",
    """SELECT s.seq, s.record_hash, s.state, s.state_hash, s.logic_version
    FROM @.lanes AS l JOIN @.snapshots AS s ON s.lane = l.lane
    WHERE l.kind = $1 AND l.id = $2 AND s.seq >= l.base_seq ORDER BY s.seq DESC""",
)
_BLOB: Final = Statement("blob", "SELECT data FROM @.blobs WHERE blob = $1")
_BLOBS: Final = Statement(
    "blobs", "SELECT blob, size, at FROM @.blobs WHERE blob > $1 ORDER BY blob LIMIT $2::bigint"
)
_STATS: Final = Statement(
    "stats",
    """SELECT (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class AS c
            WHERE c.relnamespace = to_regnamespace('@') AND c.relkind = 'r'),
        (SELECT coalesce(sum(seq - base_seq), 0)::bigint FROM @.lanes), (SELECT count(*) FROM @.lanes WHERE seq > 0),
        (SELECT count(*) FROM @.open_work), (SELECT count(*) FROM @.blobs), (SELECT count(*) FROM @.snapshots),
        (SELECT count(*) FROM @.nodes WHERE expires >= clock_timestamp()),
        current_setting('server_version'), pg_is_in_recovery()""",
)


class Reading:
    """The reading half of the backend. Every method raises `JournalUnavailable(suspended)` without a server."""

    def __init__(self, pool: Pool, journal_id: bytes) -> None:
        self._pool = pool
        self._journal_id = journal_id
        self._last_number = 0
        """Of the last commit of this process."""

    def genesis(self, lane: Lane) -> Head:
        """The head of a lane that nobody wrote."""
        start = _core.lane_genesis(self._journal_id, str(lane))
        return Head(0, start, 0, 0, start)

    async def head(self, lane: Lane) -> Head:
        """See `Backend.head`."""
        (found,) = await self._pool.run((_HEAD, (text(lane.kind), text(lane.id))))
        heads = _heads(found)
        return heads[0][1] if heads else self.genesis(lane)

    async def heads(
        self, kind: LaneKind | None = None, *, after: Lane | None = None, limit: int = 500
    ) -> list[tuple[Lane, Head]]:
        """See `Backend.heads`."""
        beyond = (text(after.kind), text(after.id)) if after else (b"", b"")
        if kind is None:
            (found,) = await self._pool.run((_HEADS, (*beyond, int8(limit))))
        else:
            (found,) = await self._pool.run((_HEADS_OF, (text(kind), *beyond, int8(limit))))
        return _heads(found)

    async def read(
        self,
        lane: Lane,
        *,
        after: int = 0,
        limit: int = 500,
        reverse: bool = False,
        before: int | None = None,
    ) -> list[Record]:
        """See `Backend.read`."""
        between = (int8(after), int8(_EVERYTHING if before is None else before), int8(limit))
        (found,) = await self._pool.run((_READ[reverse], (*between, text(lane.kind), text(lane.id))))
        return _records(found)

    async def scan(
        self, *, after: int = 0, limit: int = 500, reverse: bool = False, before: int | None = None
    ) -> list[Record]:
        """See `Backend.scan`. Ends where an older transaction may still become visible (see the module)."""
        return await self._history(_SCAN[reverse], (), after, before, limit)

    async def find(
        self,
        ref: tuple[str, str],
        *,
        after: int = 0,
        limit: int = 500,
        reverse: bool = False,
        before: int | None = None,
    ) -> list[Record]:
        """See `Backend.find`. Ends where `scan` does."""
        wanted = (text(ref[0]), text(ref[1]))
        return await self._history(_FIND[reverse], wanted, after, before, limit)

    async def _history(
        self, statement: Statement, wanted: Sequence[bytes], after: int, before: int | None, limit: int
    ) -> list[Record]:
        bound = await self._bound()
        end = bound if before is None else min(bound, before)
        (found,) = await self._pool.run((statement, (int8(after), int8(end), int8(limit), *wanted)))
        return _records(found)

    async def _bound(self) -> int:
        """The position at which history ends for now.

        It is asked for before the records are read: what is below was decided then.
        """
        pause = 0.001
        deadline = trio.current_time() + PATIENCE
        while True:
            (found,) = await self._pool.run((_BOUND, ()))
            number = read_int(found.get_value(0, 0))
            if number > self._last_number or trio.current_time() >= deadline:
                return number << PLACES_BITS
            await trio.sleep(pause)
            pause = min(pause * 2, 0.05)

    async def open_work(
        self, lane: Lane | None = None, *, after: OpenWork | None = None, limit: int = 500
    ) -> list[OpenWork]:
        """See `Backend.open_work`."""
        if lane is None:
            beyond = (
                (text(after.lane.kind), text(after.lane.id), int8(after.seq))
                if after
                else (b"", b"", int8(0))
            )
            (found,) = await self._pool.run((_WORK, (*beyond, int8(limit))))
        else:
            past = int8(after.seq if after else 0)
            (found,) = await self._pool.run((_WORK_OF, (text(lane.kind), text(lane.id), past, int8(limit))))
        return [
            OpenWork(
                Lane(cast("LaneKind", read_text(kind)), read_text(name)),
                read_int(seq),
                cast("Literal['command', 'effect']", read_text(what)),
                read_text(subject),
                read_bool(started),
                None if command is None else read_text(command),
                read_bool(idempotent),
            )
            for kind, name, seq, what, subject, started, command, idempotent in rows(found)
        ]

    async def snapshots(self, lane: Lane) -> list[Snapshot]:
        """See `Backend.snapshots`."""
        (found,) = await self._pool.run((_SNAPSHOTS, (text(lane.kind), text(lane.id))))
        return [
            Snapshot(
                lane=lane,
                seq=read_int(seq),
                record_hash=read_bytes(record_hash),
                state=read_bytes(state),
                state_hash=read_bytes(state_hash),
                logic_version=read_int(version),
            )
            for seq, record_hash, state, state_hash, version in rows(found)
        ]

    async def blob(self, blob: str) -> bytes | None:
        """See `Backend.blob`."""
        (found,) = await self._pool.run((_BLOB, (text(blob),)))
        return found.get_value(0, 0) if found.ntuples else None

    async def blobs(self, *, after: str = "", limit: int = 500) -> list[tuple[str, int, int]]:
        """See `Backend.blobs`."""
        (found,) = await self._pool.run((_BLOBS, (text(after), int8(limit))))
        return [(read_text(blob), read_int(size), read_int(at)) for blob, size, at in rows(found)]

    async def stats(self) -> Mapping[str, Any]:
        """See `Backend.stats`."""
        (found,) = await self._pool.run((_STATS, ()))
        *counts, version, standby = rows(found)[0]
        names = ("bytes", "records", "lanes", "open_work", "blobs", "snapshots", "nodes")
        figures: dict[str, Any] = dict(zip(names, map(read_int, counts), strict=True))
        return {**figures, "server_version": read_text(version), "standby": read_bool(standby)}


def _heads(found: PGresult) -> list[tuple[Lane, Head]]:
    return [
        (
            Lane(cast("LaneKind", read_text(kind)), read_text(name)),
            Head(read_int(seq), read_bytes(hash_), read_int(at), read_int(base), read_bytes(base_hash)),
        )
        for kind, name, seq, hash_, at, base, base_hash in rows(found)
    ]


def _records(found: PGresult) -> list[Record]:
    lanes: dict[tuple[bytes | None, bytes | None], Lane] = {}
    records = []
    for kind, name, seq, place, header, payload, salt, payload_hash, hash_ in rows(found):
        lane = lanes.get((kind, name))
        if lane is None:
            lane = lanes[kind, name] = Lane(cast("LaneKind", read_text(kind)), read_text(name))
        position = read_int(place)
        records.append(
            read_record(
                lane,
                read_int(seq),
                header=read_bytes(header),
                payload=payload,
                salt=salt,
                payload_hash=read_bytes(payload_hash),
                hash=read_bytes(hash_),
                commit=position >> PLACES_BITS,
                position=position,
            )
        )
    return records
