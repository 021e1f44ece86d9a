"""Rows as they are, and lanes cut behind their last sound record (JRN-23b)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.journal.backends.postgresql.encoding import (
    boolean_array,
    bytea_array,
    int8,
    int8_array,
    read_bytes,
    read_int,
    rows,
    text,
    text_array,
)
from web4.journal.backends.postgresql.tables import PLACES_BITS
from web4.journal.backends.postgresql.wire import Statement, StatementRefusedError
from web4.journal.backends.postgresql.writing import ASSERTION_FAILED
from web4.journal.errors import NotWriterError
from web4.journal.record import RawRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.journal.backends.postgresql.leases import Leases
    from web4.journal.backends.postgresql.pool import Pool
    from web4.journal.backends.postgresql.wire import Connection
    from web4.journal.lane import Lane
    from web4.journal.record import Head, OpenWork

_RAW: Final = Statement(
    "raw_records",
    """SELECT r.seq, r.header, r.payload, r.salt, r.payload_hash, r.hash, r.position
    FROM @.lanes AS l JOIN @.records AS r ON r.lane = l.lane
    WHERE l.kind = $1 AND l.id = $2 AND r.seq > $3::bigint ORDER BY r.seq LIMIT $4::bigint""",
)
_CUT_HEAD: Final = Statement(
    # As with every commit: owner and epoch are asserted in the transaction that writes.
    "cut_head",
    """WITH cut AS (
        UPDATE @.lanes AS l SET seq = $4::bigint, hash = $5, at = $6::bigint, base_seq = $7::bigint, base_hash = $8
        WHERE l.lane = $2::bigint AND (l.owner = $1) IS TRUE AND l.epoch = $3::bigint
        RETURNING 1)
    SELECT 1 / (SELECT count(*) FROM cut)::integer""",
)
_CUT_REFS: Final = Statement(
    "cut_refs",
    """DELETE FROM @.refs AS f USING @.records AS r
    WHERE r.lane = $1::bigint AND r.seq > $2::bigint AND f.position = r.position""",
)
_CUT_RECORDS: Final = Statement(
    "cut_records", "DELETE FROM @.records WHERE lane = $1::bigint AND seq > $2::bigint"
)
_CUT_SNAPSHOTS: Final = Statement(
    "cut_snapshots", "DELETE FROM @.snapshots WHERE lane = $1::bigint AND seq > $2::bigint"
)
_CUT_WORK: Final = Statement("cut_work", "DELETE FROM @.open_work WHERE lane = $1::bigint")
_SET_WORK: Final = Statement(
    "set_work",
    """INSERT INTO @.open_work (lane, kind, subject, seq, started, command, idempotent)
    SELECT $1::bigint, w.* FROM unnest($2::text[], $3::bytea[], $4::bigint[], $5::boolean[], $6::bytea[],
        $7::boolean[]) AS w""",
)


async def raw(pool: Pool, lane: Lane, after: int, limit: int) -> list[RawRecord]:
    """Stored rows of a lane, also such as cannot be read."""
    (found,) = await pool.run((_RAW, (text(lane.kind), text(lane.id), int8(after), int8(limit))))
    return [
        RawRecord(
            read_int(seq),
            read_bytes(header),
            payload,
            salt,
            read_bytes(payload_hash),
            read_bytes(hash_),
            read_int(place) >> PLACES_BITS,
            read_int(place),
        )
        for seq, header, payload, salt, payload_hash, hash_, place in rows(found)
    ]


async def cut(
    connection: Connection, leases: Leases, lane: Lane, head: Head, work: Sequence[OpenWork]
) -> int:
    """Make `head` the end of a lane that this opening owns; how many rows went.

    Raises:
        NotWriterError: `lease_lost`.
        StatementRefusedError, ConnectionLostError: As `Connection.run`.
    """
    held = leases.held.get(lane)
    if held is None:
        raise NotWriterError(f"{lane} is not owned by node {leases.node}", code="lease_lost", lane=lane)
    number, beyond = int8(held.number), (int8(held.number), int8(head.seq))
    ends = (int8(head.seq), head.hash, int8(head.at), int8(head.base_seq), head.base_hash)
    unfinished = (
        text_array([one.kind for one in work]),
        bytea_array([one.subject.encode() for one in work]),
        int8_array([one.seq for one in work]),
        boolean_array([one.started for one in work]),
        bytea_array([None if one.command is None else one.command.encode() for one in work]),
        boolean_array([one.idempotent for one in work]),
    )
    try:
        answers = await connection.run(
            (_CUT_HEAD, (text(leases.node), number, int8(held.epoch), *ends)),
            (_CUT_REFS, beyond),
            (_CUT_RECORDS, beyond),
            (_CUT_SNAPSHOTS, beyond),
            (_CUT_WORK, (number,)),
            (_SET_WORK, (number, *unfinished)),
        )
    except StatementRefusedError as refusal:
        if refusal.sqlstate == ASSERTION_FAILED:
            leases.forget(lane)
            message = f"{lane} is not owned by node {leases.node} any more"
            raise NotWriterError(message, code="lease_lost", lane=lane) from None
        raise
    return int(answers[2].command_tuples or 0)
