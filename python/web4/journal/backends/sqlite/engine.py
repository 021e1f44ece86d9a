"""Connections to the engine, opened in the one way that keeps a journal safe (JRN-24a)."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import apsw

from web4.journal.errors import JournalOpenError

if TYPE_CHECKING:
    from pathlib import Path

OLDEST: Final = (3, 51, 3)
"""Before it a WAL that a second connection uses can be corrupted."""
BUSY_MS: Final = 2_000
"""How long a connection waits for a lock that another process holds, milliseconds."""
_STEP: Final = 1 << 16  # the engine writes no 128 KiB at once


def require_engine(version: str | None = None) -> None:
    """Refuse an engine that may damage the store.

    Raises:
        JournalOpenError: `engine`.
    """
    version = version or apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise JournalOpenError(
            f"SQLite {version} can corrupt a journal; {needed} or newer is needed: update apsw", code="engine"
        )


def connect(
    path: Path, *, vfs: str | None, read_only: bool = False, create: bool = False, immutable: bool = False
) -> apsw.Connection:
    """A connection to the store that never checkpoints by itself, neither after commits nor when it closes.

    `immutable` is for a store that nobody can be writing: the engine then takes no locks and leaves no files.

    Raises:
        apsw.Error: It cannot be opened.
    """
    flags = apsw.SQLITE_OPEN_NOFOLLOW | apsw.SQLITE_OPEN_NOMUTEX
    flags |= apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    if create:
        flags |= apsw.SQLITE_OPEN_CREATE
    name = str(path)
    if immutable:
        name = f"file:{quote(name)}?immutable=1"
        flags |= apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(name, flags=flags, vfs=vfs, statementcachesize=256)
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        for pragma in (
            "wal_autocheckpoint = 0",
            "temp_store = MEMORY",
            "mmap_size = 0",
            "cell_size_check = 1",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close(force=True)
        raise
    return connection


def connect_writer(path: Path, *, vfs: str | None, durable: bool) -> apsw.Connection:
    """The one connection that writes.

    Raises:
        apsw.Error: It cannot be opened.
    """
    connection = connect(path, vfs=vfs)
    try:
        # The files of the WAL stay when nobody has them open: a reader in a directory that it cannot write needs them.
        yes = ctypes.c_int(1)
        connection.file_control("main", apsw.SQLITE_FCNTL_PERSIST_WAL, ctypes.addressof(yes))
        for pragma in (
            "journal_mode = WAL",
            "journal_size_limit = -1",
            # Deleted and erased values are overwritten where they were (JRN-16).
            "secure_delete = ON",
            "cache_size = -16000",
            "foreign_keys = OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        set_durable(connection, durable)
    except BaseException:
        connection.close(force=True)
        raise
    return connection


def connect_reader(path: Path, *, vfs: str | None) -> apsw.Connection:
    """A connection that only reads.

    Raises:
        apsw.Error: It cannot be opened.
    """
    connection = connect(path, vfs=vfs, read_only=True)
    connection.execute("PRAGMA cache_size = -8000").fetchall()
    return connection


def set_durable(connection: apsw.Connection, durable: bool) -> None:
    """Say whether each commit of the connection is forced to disk."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}").fetchall()


def throw_away(connection: apsw.Connection | None) -> None:
    """Close a connection of which nothing is expected any more."""
    if connection is not None:
        with suppress(apsw.Error):
            connection.close(force=True)


def rewrite_wal(path: Path, *, vfs: str | None) -> None:
    """Write the bytes of the WAL over themselves and force them to disk.

    After a failed `fsync` the system may show bytes that will never reach the disk and call them clean, so syncing
    again proves nothing (JRN-15b). Written anew they are dirty again, and the sync that follows tells the truth. Only
    then may a checkpoint move them on: with half a WAL on disk it would leave a database of two ages.

    Raises:
        apsw.Error: They could not be read, written or synced.
    """
    flags = [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0]
    try:
        file = apsw.VFSFile(vfs or "", f"{path}-wal", flags)
    except apsw.CantOpenError:
        return  # there is none
    try:
        size = file.xFileSize()
        for offset in range(0, size, _STEP):
            file.xWrite(file.xRead(min(_STEP, size - offset), offset), offset)
        file.xSync(apsw.SQLITE_SYNC_NORMAL)
    finally:
        file.xClose()
