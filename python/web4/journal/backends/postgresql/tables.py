"""The tables of a journal in PostgreSQL, and how they come to be (JRN-10).

`@` stands for the journal's schema. One advisory lock serialises what may happen once only: creating the tables, and
moving the numbers of commits.

- `meta`: one row about the whole journal.
- `nodes`: a row per node that ever opened it for writing, with the lease that covers all lanes of that node.
- `lanes`: a row per lane: its head and base, its owner, and the fencing epoch that each change of owner raises.
- `records`, `refs`, `snapshots`, `open_work`, `blobs`: what is kept.

Texts that come from outside (refs, subjects) are stored as bytes: PostgreSQL has no text with a zero character.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from web4.journal.backends.postgresql.encoding import int8, read_bool, read_bytes, read_int, rows, text
from web4.journal.backends.postgresql.wire import Statement
from web4.journal.errors import JournalOpenError
from web4.journal.hashed import key_check

if TYPE_CHECKING:
    from web4.journal.backends.postgresql.wire import Connection

EDITION: Final = 2
"""Edition 1 never existed in PostgreSQL; there is nothing to migrate."""
PLACES_BITS: Final = 16
"""A record's position is its commit's number, and beneath it its place in that commit."""

_TABLES: Final = """
CREATE TABLE @.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    schema integer NOT NULL,
    journal_id bytea NOT NULL CHECK (octet_length(journal_id) = 16),
    hash_key bytea CHECK (octet_length(hash_key) = 32),
    hash_key_check bytea NOT NULL,
    boots bigint NOT NULL DEFAULT 0,
    commit_offset bigint NOT NULL DEFAULT 0,
    commits_seen bigint NOT NULL DEFAULT 0
);
CREATE TABLE @.nodes (
    node text COLLATE "C" PRIMARY KEY,
    opening bigint NOT NULL,
    backend integer NOT NULL,
    backend_start timestamptz,
    expires timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE @.lanes (
    lane bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    at bigint NOT NULL,
    base_seq bigint NOT NULL,
    base_hash bytea NOT NULL,
    owner text COLLATE "C",
    epoch bigint NOT NULL DEFAULT 0,
    UNIQUE (kind, id)
) WITH (fillfactor = 50);
CREATE INDEX lanes_owner ON @.lanes (owner) WHERE owner IS NOT NULL;
CREATE TABLE @.records (
    lane bigint NOT NULL,
    seq bigint NOT NULL,
    position bigint NOT NULL,
    header bytea NOT NULL,
    payload bytea,
    salt bytea,
    payload_hash bytea NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (lane, seq)
);
CREATE UNIQUE INDEX records_position ON @.records (position);
CREATE TABLE @.refs (
    kind bytea NOT NULL,
    value bytea NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (kind, value, position)
);
CREATE TABLE @.snapshots (
    lane bigint NOT NULL,
    seq bigint NOT NULL,
    record_hash bytea NOT NULL,
    state bytea NOT NULL,
    state_hash bytea NOT NULL,
    logic_version bigint NOT NULL,
    PRIMARY KEY (lane, seq)
);
CREATE TABLE @.open_work (
    lane bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    subject bytea NOT NULL,
    seq bigint NOT NULL,
    started boolean NOT NULL,
    command bytea,
    idempotent boolean NOT NULL,
    PRIMARY KEY (lane, kind, subject)
);
CREATE INDEX open_work_seq ON @.open_work (lane, seq);
CREATE TABLE @.blobs (
    blob text COLLATE "C" PRIMARY KEY,
    size bigint NOT NULL,
    at bigint NOT NULL,
    data bytea NOT NULL
);
ALTER TABLE @.blobs ALTER COLUMN data SET STORAGE EXTERNAL;
"""

_BEGIN: Final = Statement("begin", "BEGIN")
_COMMIT: Final = Statement("commit", "COMMIT")
_LOCK: Final = Statement(
    "lock", "SELECT pg_advisory_xact_lock(hashtextextended('web4 journal ' || current_database() || ' @', 0))"
)
_SETTINGS: Final = Statement(
    # The catalogue itself is asked: what `to_regclass` says may be what this session saw before it waited.
    "settings",
    """SELECT current_setting('fsync') = 'on', EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
        EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname = $1 AND c.relname = 'meta')""",
)
_READ_EDITION: Final = Statement("read_edition", "SELECT schema FROM @.meta")
_READ_META: Final = Statement("read_meta", "SELECT journal_id, hash_key, hash_key_check FROM @.meta")
_CREATE_META: Final = Statement(
    "create_meta",
    """INSERT INTO @.meta (schema, journal_id, hash_key, hash_key_check)
       VALUES ($1::bigint::integer, $2, $3, $4)""",
)
_RENUMBER: Final = Statement(
    # Numbers of commits are the server's transaction ids (see `reading`). A dump that was restored elsewhere holds
    # numbers that the new server has not reached: then all that is to come is moved above all that is there.
    "renumber",
    """UPDATE @.meta SET commit_offset = CASE WHEN known.high >= commit_offset + known.next
            THEN known.high - known.oldest + 1 ELSE commit_offset END,
        commits_seen = greatest(known.high, commit_offset + known.oldest)
    FROM (SELECT greatest((SELECT commits_seen FROM @.meta), (SELECT max(position) >> 16 FROM @.records)) AS high,
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next,
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest) AS known
    RETURNING commit_offset""",
)
_ADOPT: Final = Statement(
    "adopt",
    """UPDATE @.meta SET journal_id = $1, hash_key = CASE WHEN hash_key IS NULL THEN NULL ELSE $2::bytea END,
        hash_key_check = $3""",
)


class Meta(NamedTuple):
    """What is known of the whole journal."""

    journal_id: bytes
    hash_key: bytes


async def open_tables(connection: Connection, *, hash_key: bytes | None, read_only: bool, where: str) -> Meta:
    """Find the journal's tables, or create them.

    Everything happens in one transaction under an advisory lock: two that open at once make one journal.

    Raises:
        JournalOpenError: See `open_postgresql`.
        StatementRefusedError: A privilege lacks, or the like. Nothing was changed.
    """
    if connection.server_version < 130000:
        raise JournalOpenError(f"{where} runs a server older than PostgreSQL 13", code="engine")
    fsync, _, has_tables = await _settings(connection)
    if not fsync:
        raise JournalOpenError(f"{where} runs with fsync off: nothing it says is durable", code="engine")
    if not has_tables:
        if read_only:
            raise JournalOpenError(f"there is no journal in {where}", code="not_found")
        await _create(connection, hash_key)
    return await _read_meta(connection, hash_key, where)


async def renumber(connection: Connection) -> int:
    """What is to be added to the server's transaction ids so that numbers of commits never go back."""
    offset = (await connection.run((_LOCK, ()), (_RENUMBER, ())))[1]
    return read_int(offset.get_value(0, 0))


async def lock(connection: Connection) -> None:
    """Keep every other opening waiting until the transaction that is open ends."""
    await connection.run((_LOCK, ()))


async def adopt(connection: Connection, journal_id: bytes, hash_key: bytes) -> None:
    """Become the journal of this id, in the transaction that is open: for a copy.

    Raises:
        JournalOpenError: `hash_key`: ours is kept outside the database, and is another.
    """
    (found,) = await connection.run((_READ_META, ()))
    _, stored_key, check = rows(found)[0]
    if stored_key is None and read_bytes(check) != key_check(hash_key):
        raise JournalOpenError("the hash key of the copy is another than its source's", code="hash_key")
    await connection.run((_ADOPT, (journal_id, hash_key, key_check(hash_key))))


async def _settings(connection: Connection) -> list[bool]:
    (settings,) = await connection.run((_SETTINGS, (text(connection.schema),)))
    return [read_bool(value) for value in rows(settings)[0]]


async def _create(connection: Connection, hash_key: bytes | None) -> None:
    await connection.run((_BEGIN, ()), (_LOCK, ()))
    try:
        _, has_schema, has_tables = await _settings(connection)
        if has_tables:
            return  # somebody else was faster
        if not has_schema:
            await connection.script("CREATE SCHEMA @")
        await connection.script(_TABLES)
        kept = hash_key or os.urandom(32)
        await connection.run(
            (
                _CREATE_META,
                (int8(EDITION), os.urandom(16), None if hash_key else kept, key_check(kept)),
            )
        )
    finally:
        if not connection.closed:
            await connection.run((_COMMIT, ()))  # which rolls back what was refused


async def _read_meta(connection: Connection, hash_key: bytes | None, where: str) -> Meta:
    (found,) = await connection.run((_READ_EDITION, ()))
    if found.ntuples != 1:
        raise JournalOpenError(f"the tables in {where} are no journal's", code="not_a_journal")
    edition = read_int(found.get_value(0, 0))
    if edition != EDITION:
        raise JournalOpenError(
            f"{where} holds edition {edition} of the schema; this is edition {EDITION}"
            + ("; use the version of web4 that wrote it" if edition > EDITION else "; nothing migrates it"),
            code="schema_newer" if edition > EDITION else "schema_foreign",
        )
    (found,) = await connection.run((_READ_META, ()))
    journal_id, stored_key, check = rows(found)[0]
    key = hash_key or stored_key
    if key is None or not hmac.compare_digest(key_check(key), read_bytes(check)):
        lacks = "is kept outside the database, and must be given" if key is None else "is another"
        raise JournalOpenError(f"the hash key of the journal in {where} {lacks}", code="hash_key")
    return Meta(read_bytes(journal_id), key)
