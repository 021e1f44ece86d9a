"""What lies in a directory before anything is opened for writing (JRN-10b, JRN-12a). Changes no byte of it."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import apsw

from web4.journal.backends.sqlite.engine import connect, throw_away
from web4.journal.backends.sqlite.faults import describe
from web4.journal.backends.sqlite.layout import APPLICATION_ID, SCHEMA, TABLES
from web4.journal.errors import JournalOpenError

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_schema"
_SMALLEST: Final = 512  # what is shorter the engine may take for an empty database
_WAL_HEADER: Final = 32
_FRAME_HEADER: Final = 24


def edition(path: Path, *, vfs: str | None) -> int | None:
    """The edition of the store at `path`; None if there is none yet.

    Raises:
        JournalOpenError: `not_a_journal`, `schema_newer`, `schema_foreign`, `directory`.
    """
    if not path.exists() or path.stat().st_size == 0:
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            # The engine would take it for the log of whatever database comes to lie beside it.
            raise JournalOpenError(
                f"{path}: missing, while its log {wal.name} is there: put it back, or take the log away too",
                code="not_a_journal",
            )
        return None
    if path.stat().st_size < _SMALLEST:
        raise JournalOpenError(f"{path}: no journal", code="not_a_journal")
    try:
        connection = _look_at(path, vfs)
        try:
            found: Any = connection.execute("SELECT application_id FROM pragma_application_id").fetchall()
            application = found[0][0]
            if application != APPLICATION_ID:
                raise JournalOpenError(f"{path}: a database, but no journal", code="not_a_journal")
            row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
            _require_tables(path, connection, row)
        finally:
            throw_away(connection)
    except apsw.Error as error:
        damaged = isinstance(error, apsw.NotADBError | apsw.CorruptError | apsw.SQLError)
        raise JournalOpenError(
            f"{path}: {'no journal, or damaged' if damaged else 'cannot be read'} ({describe(error)})",
            code="not_a_journal" if damaged else "directory",
        ) from error
    return _judge(path, row)


@cache
def _tables() -> frozenset[tuple[Any, ...]]:
    """What the engine says of the tables of this edition."""
    connection = apsw.Connection(":memory:")
    try:
        connection.execute(TABLES)
        return frozenset(connection.execute(_SCHEMA).fetchall())
    finally:
        connection.close()


def _require_tables(path: Path, connection: apsw.Connection, row: tuple[Any, ...] | None) -> None:
    """Refuse a store with other tables than a journal's, or with more: a trigger would change what is written."""
    found: Any = connection.execute(_SCHEMA).fetchall()
    if row and row[0] == SCHEMA:
        sound = frozenset(found) == _tables()
    else:
        sound = all(kind in {"table", "index"} for kind, *_ in found)
    if not sound:
        raise JournalOpenError(f"{path}: its tables are not a journal's", code="not_a_journal")


def _judge(path: Path, row: tuple[Any, ...] | None) -> int:
    schema = row[0] if row else None
    if not isinstance(schema, int) or schema < 1:
        raise JournalOpenError(f"{path}: no edition is named in it", code="schema_foreign")
    if schema > SCHEMA:
        raise JournalOpenError(
            f"{path}: schema {schema}, written by a newer Web4; this one reads schema {SCHEMA}: "
            "open it with the Web4 that wrote it, or update this one",
            code="schema_newer",
        )
    if schema < SCHEMA - 1:
        raise JournalOpenError(
            f"{path}: schema {schema}; this Web4 migrates {SCHEMA - 1} to {SCHEMA}: "
            "run `web4 journal migrate` of the releases in between first",
            code="schema_foreign",
        )
    return schema


def _look_at(path: Path, vfs: str | None) -> apsw.Connection:
    """A connection that leaves no file behind where it can do without."""
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        return connect(path, vfs=vfs, read_only=True)
    return connect(path, vfs=vfs, read_only=True, immutable=True)


def torn_commits(path: Path) -> int:
    """How many unfinished commits the WAL ends with: one or none (JRN-12a).

    Frames belong to the WAL as it is now if they carry its salts. If the last of them ends no commit, or is not whole,
    a commit was under way.
    """
    wal = path.with_name(path.name + "-wal")
    with suppress(OSError):
        descriptor = os.open(wal, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _torn(descriptor)
        finally:
            os.close(descriptor)
    return 0


def _torn(descriptor: int) -> int:
    header = os.pread(descriptor, _WAL_HEADER, 0)
    size = os.fstat(descriptor).st_size
    if len(header) < _WAL_HEADER:
        return int(size > 0)
    magic, _, page, _, *salts = struct.unpack(">4I2I", header[:24])
    frame = _FRAME_HEADER + page
    offset = _WAL_HEADER
    before = last = b""
    while offset < size:
        head = os.pread(descriptor, _FRAME_HEADER, offset)
        if len(head) < 16 or list(struct.unpack(">2I", head[8:16])) != salts:
            break
        before, last = last, head
        offset += frame
    if offset > size or 0 < size - offset < 16:
        return 1  # the last frame was cut
    if not last:
        return 0
    ends_commit = last[4:8] != bytes(4)
    return int(not ends_commit or not _whole(descriptor, offset - frame, frame, magic, header, before))


def _whole(descriptor: int, offset: int, frame: int, magic: int, header: bytes, before: bytes) -> bool:
    """Whether the checksum of the frame at `offset` continues that of the one `before` it."""
    order = ">" if magic & 1 else "<"
    first, second = struct.unpack(">2I", before[16:24] if before else header[24:32])
    data = os.pread(descriptor, frame, offset)
    words = struct.unpack(f"{order}{(frame - 16) // 4}I", data[:8] + data[_FRAME_HEADER:])
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return data[16:24] == struct.pack(">2I", first, second)
