"""From edition 1 to edition 2, in one transaction, after a verified copy was laid beside the store (JRN-10b, c, d).

Edition 1 named lanes by kind and id in every row, found records by an index, had no salts and no references. Its
headers are stored bytes like any others: nothing that a hash covers changes.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import apsw

from web4 import _core
from web4.journal.backends.sqlite.directory import sync_directory
from web4.journal.backends.sqlite.engine import connect, connect_writer, rewrite_wal, throw_away
from web4.journal.backends.sqlite.layout import SCHEMA, STRIDE, TABLES
from web4.journal.errors import CorruptJournalError

if TYPE_CHECKING:
    from pathlib import Path

_OLD: Final = ("meta", "lane", "record", "work", "snapshot", "blob")
_CHUNK: Final = 2_000

# Everything of the old tables that has to be in the new ones, from either of them, in the same order.
_CONTENT_1: Final = (
    "SELECT kind, id, head, hash, at, base, base_hash FROM {0}lane ORDER BY kind, id",
    (
        "SELECT position, lane_kind, lane_id, seq, commit_number, header, payload, payload_hash, hash "
        "FROM {0}record ORDER BY position"
    ),
    (
        "SELECT lane_kind, lane_id, kind, subject, seq, started, command, idempotent FROM {0}work "
        "ORDER BY lane_kind, lane_id, kind, subject"
    ),
    (
        "SELECT lane_kind, lane_id, seq, record_hash, state, state_hash, logic_version FROM {0}snapshot "
        "ORDER BY lane_kind, lane_id, seq"
    ),
    "SELECT name, data, at FROM {0}blob ORDER BY name",
    "SELECT value FROM {0}meta WHERE key IN ('journal_id', 'boot') ORDER BY key",
)
_CONTENT_2: Final = (
    "SELECT kind, name, head, hash, at, base, base_hash FROM lane ORDER BY kind, name",
    (
        "SELECT record.position, lane.kind, lane.name, seq, record.commit_number, header, payload, payload_hash, "
        "record.hash FROM record CROSS JOIN lane ON lane.id = record.lane ORDER BY record.position"
    ),
    (
        "SELECT lane.kind, lane.name, work.kind, subject, seq, started, command, idempotent FROM work "
        "JOIN lane ON lane.id = work.lane ORDER BY lane.kind, lane.name, work.kind, subject"
    ),
    (
        "SELECT lane.kind, lane.name, seq, record_hash, state, state_hash, logic_version FROM snapshot "
        "JOIN lane ON lane.id = snapshot.lane ORDER BY lane.kind, lane.name, seq"
    ),
    "SELECT blob.name, data, at FROM blob JOIN blob_part ON blob_part.name = blob.name ORDER BY blob.name",
    "SELECT value FROM meta WHERE key IN ('journal_id', 'boot') ORDER BY key",
)

_MOVE: Final = f"""
INSERT INTO meta SELECT key, value FROM old_meta WHERE key IN ('journal_id', 'boot');
INSERT INTO meta VALUES ('schema', {SCHEMA}), ('marks', 0),
    ('commit', (SELECT ifnull(max(commit_number), 0) FROM old_record));
INSERT INTO lane SELECT row_number() OVER (ORDER BY kind, id), kind, id, head, hash, at, base, base_hash,
    ifnull((SELECT commit_number FROM old_record WHERE lane_kind = kind AND lane_id = id AND seq = head), 0),
    ifnull((SELECT position FROM old_record WHERE lane_kind = kind AND lane_id = id AND seq = head), 0)
    FROM old_lane;
INSERT INTO record SELECT old_record.position, lane.id, seq, old_record.commit_number,
    ifnull((SELECT before.position FROM old_record AS before WHERE before.lane_kind = old_record.lane_kind
        AND before.lane_id = old_record.lane_id AND before.seq = old_record.seq - 1), 0),
    header, payload, CASE WHEN payload IS NULL THEN NULL ELSE x'' END, payload_hash, old_record.hash
    FROM old_record CROSS JOIN lane ON lane.kind = lane_kind AND lane.name = lane_id ORDER BY old_record.position;
INSERT INTO milestone SELECT lane, seq, position FROM record WHERE seq % {STRIDE} = 0;
INSERT INTO work SELECT lane.id, old_work.kind, subject, seq, started, command, idempotent
    FROM old_work JOIN lane ON lane.kind = lane_kind AND lane.name = lane_id;
INSERT INTO snapshot SELECT lane.id, seq, record_hash, state, state_hash, logic_version
    FROM old_snapshot JOIN lane ON lane.kind = lane_kind AND lane.name = lane_id;
INSERT INTO blob SELECT name, length(data), at FROM old_blob;
INSERT INTO blob_part SELECT name, 0, data FROM old_blob;
"""  # noqa: S608 - two constant numbers


def copy_path(path: Path, schema: int) -> Path:
    """Where the copy of a store of that edition lies."""
    return path.with_name(f"{path.name}.schema{schema}")


def copies(path: Path) -> list[Path]:
    """The copies that migrations left beside a store."""
    return sorted(path.parent.glob(f"{path.name}.schema*"))


def migrate(path: Path, *, vfs: str | None) -> None:
    """Bring a store of edition 1 to edition 2. A crash leaves it as the one or as the other.

    Raises:
        apsw.Error: It cannot be read or written. It is as it was.
        CorruptJournalError: `store`: what was copied or moved is not what was there. It is as it was.
    """
    rewrite_wal(path, vfs=vfs)
    connection = connect_writer(path, vfs=vfs, durable=True)
    try:
        was = _digest(connection, [text.format("") for text in _CONTENT_1])
        _lay_copy(connection, path, vfs=vfs, was=was)
        connection.execute("BEGIN IMMEDIATE")
        try:
            _move(connection)
            if _digest(connection, list(_CONTENT_2)) != was:
                raise CorruptJournalError(
                    f"{path}: the migrated store would not be the same; nothing was changed", code="store"
                )
            connection.execute("COMMIT")
        except BaseException:
            with suppress(apsw.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise
        # It holds the store twice over; what opens next need not look through that.
        with suppress(apsw.BusyError):
            connection.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        throw_away(connection)


def _move(connection: apsw.Connection) -> None:
    connection.execute("PRAGMA legacy_alter_table = ON").fetchall()
    for (index,) in connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall():
        connection.execute('DROP INDEX "{}"'.format(str(index).replace('"', '""')))
    for table in _OLD:
        connection.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    connection.execute("CREATE UNIQUE INDEX old_place ON old_record (lane_kind, lane_id, seq)")
    connection.execute(TABLES)
    connection.execute(_MOVE)
    for table in _OLD:
        connection.execute(f"DROP TABLE old_{table}")


def _lay_copy(connection: apsw.Connection, path: Path, *, vfs: str | None, was: bytes) -> None:
    """Copy the store, check that the copy says the same, and give it its name only then."""
    copy = copy_path(path, SCHEMA - 1)
    fresh = copy.with_name(copy.name + ".new")
    fresh.unlink(missing_ok=True)
    target = connect(fresh, vfs=vfs, create=True)
    try:
        fresh.chmod(0o600)
        backup = target.backup("main", connection, "main")
        try:
            try:
                while not backup.done:
                    backup.step(_CHUNK)
            finally:
                backup.close(True)
        except SystemError as error:  # how apsw closes a backup on a failing disk: what is wrong is the cause
            raise error.__cause__ or error from None
        # One file, complete in itself.
        target.execute("PRAGMA journal_mode = DELETE").fetchall()
        if target.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise CorruptJournalError(f"{path}: damaged; it was not migrated", code="store")
        if _digest(target, [text.format("") for text in _CONTENT_1]) != was:
            raise CorruptJournalError(f"{copy}: the copy is not the same; nothing was changed", code="store")
    finally:
        throw_away(target)
    for suffix in ("-wal", "-shm", "-journal"):
        fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
    fresh.rename(copy)
    sync_directory(path.parent)


def _digest(connection: apsw.Connection, queries: list[str]) -> bytes:
    """A hash over all that the queries find."""
    total = b""
    for query in queries:
        rows: Any = connection.execute(query)
        for row in rows:
            total = _core.blake3(total + b"".join(map(_spelling, row)))
        total = _core.blake3(total)
    return total


def _spelling(value: object) -> bytes:
    """A value in a form of which the beginning and the end are certain."""
    if isinstance(value, bytes):
        return b"b" + _core.blake3(value)
    text = repr(value).encode()
    return b"%d:%b" % (len(text), text)
