"""Snapshots, blobs and the removal of what a base stands for (JRN-7, JRN-8, JRN-17). None of it holds up commits."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from web4.journal.backends.postgresql.encoding import bytea_array, int8, int8_array, read_int, rows, text
from web4.journal.backends.postgresql.leases import KNOW_LANE
from web4.journal.backends.postgresql.reading import Reading
from web4.journal.backends.postgresql.wire import ConnectionLostError, Statement, StatementRefusedError
from web4.journal.errors import JournalUnavailable, NotCommittedError, NotWriterError
from web4.journal.record import read_refs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from web4.journal.backends.postgresql.pool import Pool
    from web4.journal.lane import Lane
    from web4.journal.record import Snapshot

_PUT_SNAPSHOT: Final = Statement(
    "put_snapshot",
    """INSERT INTO @.snapshots AS s (lane, seq, record_hash, state, state_hash, logic_version)
    SELECT l.lane, $3::bigint, $4, $5, $6, $7::bigint FROM @.lanes AS l
    WHERE l.kind = $1 AND l.id = $2 AND l.base_seq < $3::bigint
    ON CONFLICT (lane, seq) DO UPDATE SET record_hash = excluded.record_hash, state = excluded.state,
        state_hash = excluded.state_hash, logic_version = excluded.logic_version""",
)
_THIN_SNAPSHOTS: Final = Statement(
    "thin_snapshots",
    """DELETE FROM @.snapshots AS s USING @.lanes AS l
    WHERE l.kind = $1 AND l.id = $2 AND s.lane = l.lane AND s.seq <> l.base_seq AND s.seq NOT IN (
        SELECT k.seq FROM @.snapshots AS k WHERE k.lane = l.lane AND k.seq > l.base_seq
        ORDER BY k.seq DESC LIMIT $3::bigint)""",
)
_PRUNE: Final = Statement(
    "prune",
    """DELETE FROM @.records AS r USING @.lanes AS l
    WHERE l.kind = $1 AND l.id = $2 AND r.lane = l.lane AND r.seq <= l.base_seq AND r.seq < $3::bigint + (
        SELECT min(f.seq) FROM @.records AS f WHERE f.lane = l.lane)
    RETURNING r.position, r.header""",
)
_PRUNE_REFS: Final = Statement(
    "prune_refs",
    """DELETE FROM @.refs AS f USING unnest($1::bytea[], $2::bytea[], $3::bigint[]) AS g (kind, value, position)
    WHERE f.kind = g.kind AND f.value = g.value AND f.position = g.position""",
)
_PUT_BLOB: Final = Statement(
    "put_blob",
    """INSERT INTO @.blobs (blob, size, at, data) VALUES ($1, octet_length($3::bytea), $2::bigint, $3)
    ON CONFLICT (blob) DO UPDATE SET at = excluded.at""",
)
_TOUCH_BLOB: Final = Statement("touch_blob", "UPDATE @.blobs SET at = $2::bigint WHERE blob = $1")
_DELETE_BLOB: Final = Statement("delete_blob", "DELETE FROM @.blobs WHERE blob = $1 AND at <= $2::bigint")
_EVER: Final = 2**63 - 1
_BEGIN: Final = Statement("begin", "BEGIN")
_COMMIT: Final = Statement("commit", "COMMIT")


class Keeping(Reading):
    """The part of the backend that writes beside the lanes."""

    def __init__(self, pool: Pool, journal_id: bytes, *, read_only: bool) -> None:
        super().__init__(pool, journal_id)
        self._read_only = read_only

    async def put_snapshot(self, snapshot: Snapshot, *, keep: int) -> None:
        """See `Backend.put_snapshot`."""
        kind, name = text(snapshot.lane.kind), text(snapshot.lane.id)
        values = (int8(snapshot.seq), snapshot.record_hash, snapshot.state, snapshot.state_hash)
        async with self._beside():
            await self._pool.run(
                (KNOW_LANE, (kind, name, self.genesis(snapshot.lane).hash)),
                (_PUT_SNAPSHOT, (kind, name, *values, int8(snapshot.logic_version))),
                (_THIN_SNAPSHOTS, (kind, name, int8(keep))),
            )

    async def prune(self, lane: Lane, *, limit: int) -> int:
        """See `Backend.prune`."""
        async with self._beside(), self._pool.connection() as connection:
            parameters = (text(lane.kind), text(lane.id), int8(limit))
            _, gone = await connection.run((_BEGIN, ()), (_PRUNE, parameters))
            refs = [
                (kind.encode(), value.encode(), read_int(position))
                for position, header in rows(gone)
                for kind, value in read_refs(header or b"")
            ]
            parts: tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[int, ...]] = ((), (), ())
            if refs:
                parts = tuple(zip(*refs, strict=True))  # type: ignore[assignment]
            kinds, values, positions = parts
            await connection.run(
                (_PRUNE_REFS, (bytea_array(kinds), bytea_array(values), int8_array(positions))), (_COMMIT, ())
            )
            return gone.ntuples

    async def put_blob(self, blob: str, data: bytes, *, at: int) -> None:
        """See `Backend.put_blob`. What is there already does not travel again."""
        async with self._beside():
            (touched,) = await self._pool.run((_TOUCH_BLOB, (text(blob), int8(at))))
            if not touched.command_tuples:
                await self._pool.run((_PUT_BLOB, (text(blob), int8(at), data)))

    async def delete_blob(self, blob: str, *, before: int | None = None) -> None:
        """See `Backend.delete_blob`."""
        async with self._beside():
            await self._pool.run((_DELETE_BLOB, (text(blob), int8(_EVER if before is None else before))))

    async def scrub(self) -> None:
        """Rewrite the tables, so that nothing of what was erased or removed is left in their files.

        Commits wait for each table while it is rewritten. The server's write-ahead log, its archive and its back-ups
        are out of a client's reach: they keep what they have until they are recycled.
        """
        async with self._beside(), self._pool.connection() as connection:
            for table in ("records", "refs", "snapshots", "open_work", "blobs"):
                await connection.script(f"VACUUM (FULL) @.{table}")

    @asynccontextmanager
    async def _beside(self) -> AsyncGenerator[None]:
        if self._read_only:
            raise NotWriterError("the journal was opened for reading", code="read_only")
        try:
            yield
        except (ConnectionLostError, StatementRefusedError, JournalUnavailable) as error:
            raise NotCommittedError(str(error)) from None
