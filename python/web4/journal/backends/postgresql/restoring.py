"""Becoming the copy of another journal: one transaction, however large (see `web4.journal.copying`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.journal.backends.postgresql.encoding import (
    boolean_array,
    bytea_array,
    column,
    int8,
    int8_array,
    read_int,
    text,
    text_array,
)
from web4.journal.backends.postgresql.tables import PLACES_BITS, adopt, lock
from web4.journal.backends.postgresql.wire import Statement
from web4.journal.errors import CopyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.journal.backends.postgresql.wire import Connection
    from web4.journal.lane import Lane
    from web4.journal.record import Head, OpenWork, Record, Snapshot

_BEGIN: Final = Statement("begin", "BEGIN")
_COMMIT: Final = Statement("commit", "COMMIT")
_EMPTY: Final = Statement(
    "target_is_empty",
    """SELECT NOT EXISTS (SELECT FROM @.lanes WHERE seq > 0) AND NOT EXISTS (SELECT FROM @.records)
        AND NOT EXISTS (SELECT FROM @.snapshots) AND NOT EXISTS (SELECT FROM @.blobs)
        AND NOT EXISTS (SELECT FROM @.nodes WHERE node <> $1 AND expires >= clock_timestamp())""",
)
_FORGET: Final = Statement("forget_lanes", "DELETE FROM @.lanes")
_LANES: Final = Statement(
    "restore_lanes",
    """INSERT INTO @.lanes (kind, id, seq, hash, at, base_seq, base_hash)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bytea[])
    RETURNING lane""",
)
_RECORDS: Final = Statement(
    "restore_records",
    """INSERT INTO @.records (lane, seq, position, header, payload, salt, payload_hash, hash)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[],
        $8::bytea[])""",
)
_REFS: Final = Statement(
    "restore_refs",
    "INSERT INTO @.refs (kind, value, position) SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[])",
)
_WORK: Final = Statement(
    "restore_work",
    """INSERT INTO @.open_work (lane, kind, subject, seq, started, command, idempotent)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bigint[], $5::boolean[], $6::bytea[],
        $7::boolean[])""",
)
_SNAPSHOT: Final = Statement(
    "restore_snapshot",
    """INSERT INTO @.snapshots (lane, seq, record_hash, state, state_hash, logic_version)
    VALUES ($1::bigint, $2::bigint, $3, $4, $5, $6::bigint)""",
)
_BLOB: Final = Statement(
    "restore_blob",
    "INSERT INTO @.blobs (blob, size, at, data) VALUES ($1, octet_length($3::bytea), $2::bigint, $3)",
)


class PostgresqlRestoring:
    """A `Restoring` on a connection of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers: dict[Lane, int] = {}
        self._commit = 0
        self._place = 0

    async def begin(self, node: str, journal_id: bytes, hash_key: bytes) -> None:
        """Begin the transaction.

        Raises:
            CopyError: `not_empty`.
            JournalOpenError: `hash_key`.
        """
        await self._connection.run((_BEGIN, ()))
        await lock(self._connection)
        (empty,) = await self._connection.run((_EMPTY, (text(node),)))
        if empty.get_value(0, 0) != b"\x01":
            raise CopyError(
                "the target holds a journal already, or another node has it open", code="not_empty"
            )
        await self._connection.run((_FORGET, ()))
        await adopt(self._connection, journal_id, hash_key)

    async def end(self) -> None:
        """Make it all durable."""
        await self._connection.run((_COMMIT, ()))

    async def lanes(self, heads: Sequence[tuple[Lane, Head]]) -> None:
        """See `Restoring.lanes`."""
        parameters = (
            text_array([lane.kind for lane, _ in heads]),
            text_array([lane.id for lane, _ in heads]),
            int8_array([head.seq for _, head in heads]),
            bytea_array([head.hash for _, head in heads]),
            int8_array([head.at for _, head in heads]),
            int8_array([head.base_seq for _, head in heads]),
            bytea_array([head.base_hash for _, head in heads]),
        )
        (made,) = await self._connection.run((_LANES, parameters))
        self._numbers.update(zip([lane for lane, _ in heads], column(made, 0, read_int), strict=True))

    async def records(self, records: Sequence[Record]) -> None:
        """See `Restoring.records`."""
        positions = [self._position(record.commit) for record in records]
        parameters = (
            int8_array([self._numbers[record.lane] for record in records]),
            int8_array([record.seq for record in records]),
            int8_array(positions),
            bytea_array([record.header for record in records]),
            bytea_array([record.payload for record in records]),
            bytea_array([record.salt for record in records]),
            bytea_array([record.payload_hash for record in records]),
            bytea_array([record.hash for record in records]),
        )
        refs = [
            (kind.encode(), value.encode(), position)
            for record, position in zip(records, positions, strict=True)
            for kind, value in dict.fromkeys(record.refs)
        ]
        by_ref = (
            bytea_array([kind for kind, _, _ in refs]),
            bytea_array([value for _, value, _ in refs]),
            int8_array([position for _, _, position in refs]),
        )
        await self._connection.run((_RECORDS, parameters), (_REFS, by_ref))

    def _position(self, commit: int) -> int:
        self._place = self._place + 1 if commit == self._commit else 0
        self._commit = commit
        if self._place >= 1 << PLACES_BITS:
            raise CopyError(f"commit {commit} has more records than fit", code="too_large")
        return (commit << PLACES_BITS) + self._place

    async def open_work(self, work: Sequence[OpenWork]) -> None:
        """See `Restoring.open_work`."""
        parameters = (
            int8_array([self._numbers[one.lane] for one in work]),
            text_array([one.kind for one in work]),
            bytea_array([one.subject.encode() for one in work]),
            int8_array([one.seq for one in work]),
            boolean_array([one.started for one in work]),
            bytea_array([None if one.command is None else one.command.encode() for one in work]),
            boolean_array([one.idempotent for one in work]),
        )
        await self._connection.run((_WORK, parameters))

    async def snapshot(self, snapshot: Snapshot) -> None:
        """See `Restoring.snapshot`."""
        parameters = (
            int8(self._numbers[snapshot.lane]),
            int8(snapshot.seq),
            snapshot.record_hash,
            snapshot.state,
            snapshot.state_hash,
            int8(snapshot.logic_version),
        )
        await self._connection.run((_SNAPSHOT, parameters))

    async def blob(self, blob: str, data: bytes, *, at: int) -> None:
        """See `Restoring.blob`."""
        await self._connection.run((_BLOB, (text(blob), int8(at), data)))
