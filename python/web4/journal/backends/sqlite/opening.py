"""Opening a journal's directory, for its one writer or for any number of readers (JRN-11)."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import apsw
import trio

from web4.journal.backends.sqlite import keeping
from web4.journal.backends.sqlite.bridge import open_bridge
from web4.journal.backends.sqlite.directory import (
    WriterLock,
    hash_key,
    prepare_directory,
    refusal,
    sync_directory,
)
from web4.journal.backends.sqlite.engine import connect, require_engine, throw_away
from web4.journal.backends.sqlite.faults import describe, is_damage
from web4.journal.backends.sqlite.inspecting import edition, torn_commits
from web4.journal.backends.sqlite.layout import APPLICATION_ID, DATABASE, HASH_KEY, SCHEMA, TABLES
from web4.journal.backends.sqlite.migration import migrate
from web4.journal.backends.sqlite.space import MIB, Space
from web4.journal.backends.sqlite.store import Readers, SqliteBackend
from web4.journal.backends.sqlite.writer import Writer, WriterOptions
from web4.journal.errors import CorruptJournalError, JournalOpenError, NotCommittedError
from web4.journal.hashed import key_check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from web4.journal.backends.backend import Durability
    from web4.journal.backends.sqlite.bridge import Bridge


Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteLimits:
    """What bounds a SQLite journal.

    Args:
        open_s: How long opening may take, a migration aside, seconds (JRN-11d).
        flush_ms: In profile `relaxed`, within how many milliseconds a commit is forced to disk (JRN-5c).
        wal_pages: Pages written since the last checkpoint, 4 KiB each, that make the next one due.
        reserve_bytes: Size of the reserve file; 0 for none (JRN-15e).
        floor_bytes: With less than that free on the volume the journal asks not to be given new work (JRN-15e).
        reading_threads: How many queries run at a time.
    """

    open_s: float = 5.0
    flush_ms: int = 100
    wal_pages: int = 2048
    reserve_bytes: int = 16 * MIB
    floor_bytes: int = 64 * MIB
    reading_threads: int = 2


class _Opening:
    """The steps of one opening, each run on the writing thread, and what they left to be closed."""

    def __init__(
        self,
        directory: Path,
        *,
        durability: Durability,
        read_only: bool,
        limits: SqliteLimits,
        vfs: str | None,
    ) -> None:
        self.named = directory
        self.directory = directory
        self.durability = durability
        self.read_only = read_only
        self.limits = limits
        self.vfs = vfs
        self.given_up = False
        self.lock: WriterLock | None = None
        self.writer: Writer | None = None
        self.readers: Readers | None = None
        self.space = Space(None)
        self.schema: int | None = None

    @property
    def path(self) -> Path:
        return self.directory / DATABASE

    def upkeep(self, idle: bool) -> float | None:
        """The writer's, once there is one."""
        return None if self.writer is None else self.writer.upkeep(idle)

    def look(self) -> None:
        """See what is there, and take the lock. Changes nothing in the store."""
        try:
            self._look()
        finally:
            self._close_if_late()

    def _look(self) -> None:
        require_engine()
        self.directory = prepare_directory(self.named, read_only=self.read_only)
        if not self.read_only:
            self.lock = WriterLock(self.directory)
        self.schema = edition(self.path, vfs=self.vfs)
        if self.read_only:
            if self.schema is None:
                raise JournalOpenError(f"{self.path}: there is no journal", code="not_found")
            if self.schema != SCHEMA:
                raise JournalOpenError(
                    f"{self.path}: schema {self.schema}; open it for writing once, or run "
                    f"`web4 journal migrate`, to bring it to schema {SCHEMA}",
                    code="schema_older",
                )

    def open(self, bridge: Bridge, reading: Bridge) -> SqliteBackend:
        """Open what `look` found."""
        try:
            return self._open(bridge, reading)
        finally:
            self._close_if_late()

    def _close_if_late(self) -> None:
        if self.given_up:
            self.close()

    def _open(self, bridge: Bridge, reading: Bridge) -> SqliteBackend:
        key = hash_key(self.directory, create=not self.read_only and self.schema is None)
        torn = 0
        boot = 0
        if not self.read_only:
            if self.schema is None:
                create_store(self.path, vfs=self.vfs)
            torn = torn_commits(self.path)
        self.readers = Readers(self.path, vfs=self.vfs)
        journal_id = read_journal_id(self.path, vfs=self.vfs)
        require_key(self.path, key, vfs=self.vfs)
        if not self.read_only:
            boot = self._open_writer(journal_id, key)
        return SqliteBackend(
            directory=self.directory,
            durability=self.durability,
            journal_id=journal_id,
            boot=boot,
            hash_key=key,
            torn=torn,
            writer=self.writer,
            writing=None if self.read_only else bridge,
            reading=reading,
            readers=self.readers,
            space=self.space,
        )

    def _open_writer(self, journal_id: bytes, key: bytes) -> int:
        assert self.lock is not None
        self.space = Space(
            None if self.vfs else self.directory,
            reserve_bytes=self.limits.reserve_bytes,
            floor_bytes=self.limits.floor_bytes,
        )
        self.space.look()
        options = WriterOptions(
            durable=self.durability == "strict",
            flush_s=self.limits.flush_ms / 1000,
            wal_pages=self.limits.wal_pages,
        )
        writer = Writer(self.path, vfs=self.vfs, journal_id=journal_id, options=options, space=self.space)
        writer.open()
        self.writer = writer
        boot = writer.change(partial(_next_boot, profile=self.durability, key=key))
        self.lock.inscribe(
            pid=os.getpid(), boot=boot, started=datetime.now(UTC).isoformat(timespec="seconds")
        )
        return boot

    def close(self) -> None:
        """Close whatever is open. Raises nothing."""
        if self.readers is not None:
            self.readers.close()
        if self.writer is not None:
            self.writer.close()
        if self.lock is not None:
            self.lock.release()
            self.lock = None


def _next_boot(connection: apsw.Connection, _: object, *, profile: Durability, key: bytes) -> int:
    """Count the boot, and say in the store under which profile and which key it is written from now on (JRN-5c)."""
    keeping.sweep_blob_parts(connection)
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('profile', ?)", (profile,))
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('hash_key_check', ?)", (key_check(key),))
    boot: Any = connection.execute(
        "UPDATE meta SET value = value + 1 WHERE key = 'boot' RETURNING value"
    ).fetchall()
    return int(boot[0][0])


def create_store(path: Path, *, vfs: str | None) -> None:
    """Make an empty store, as a whole or not at all: it gets its name when it is complete and on disk.

    Raises:
        apsw.Error: It could not be written.
        OSError: It could not be given its name.
    """
    fresh = path.with_name(path.name + ".new")
    _remove(fresh)
    connection = connect(fresh, vfs=vfs, create=True)
    try:
        fresh.chmod(0o600)
        for pragma in ("page_size = 4096", "journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        with connection:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(TABLES)
            meta = {"schema": SCHEMA, "journal_id": os.urandom(16), "boot": 0, "commit": 0, "marks": 0}
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    finally:
        throw_away(connection)
    fresh.rename(path)
    _remove(fresh)
    sync_directory(path.parent)


def _remove(path: Path) -> None:
    """Remove a database that nobody uses, with what the engine laid beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def read_journal_id(path: Path, *, vfs: str | None) -> bytes:
    """The random bytes drawn when the store was created.

    Raises:
        apsw.Error: They cannot be read.
        JournalOpenError: `not_a_journal`.
    """
    connection = connect(path, vfs=vfs, read_only=True)
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = 'journal_id'").fetchone()
    finally:
        throw_away(connection)
    if row is None or not isinstance(row[0], bytes) or len(row[0]) != 16:
        raise JournalOpenError(f"{path}: it has no id", code="not_a_journal")
    return row[0]


def require_key(path: Path, key: bytes, *, vfs: str | None) -> None:
    """Refuse a hash key under which this store was not written: what was hashed would never be found again.

    Raises:
        apsw.Error: The store cannot be read.
        JournalOpenError: `hash_key`.
    """
    connection = connect(path, vfs=vfs, read_only=True)
    try:
        row = connection.execute("SELECT value FROM meta WHERE key = 'hash_key_check'").fetchone()
    finally:
        throw_away(connection)
    if row is not None and row[0] != key_check(key):
        raise JournalOpenError(
            f"{path}: {HASH_KEY} is that of another journal: restore its own", code="hash_key"
        )


@asynccontextmanager
async def open_sqlite(
    directory: Path | str,
    *,
    durability: Durability = "strict",
    read_only: bool = False,
    limits: SqliteLimits = SqliteLimits(),
    vfs: str | None = None,
) -> AsyncIterator[SqliteBackend]:
    """Open the journal in `directory`, which is made if there is none; a store of the edition before is migrated.

    Args:
        directory: Where it is kept. Closed to everybody but its owner.
        durability: `strict`: a commit outlives the loss of power. `relaxed`: it outlives the process (JRN-5).
        read_only: Read only: no lock is taken, nothing is changed, and a running writer is no obstacle (JRN-11b).
        limits: See there.
        vfs: Name of another file layer of the engine, as a simulated disk registers one; None for the system's.

    Raises:
        JournalLocked: The journal has a writer.
        JournalOpenError: It cannot be opened; see its codes. What is there was not changed.
        CorruptJournalError: `store`: its tables are damaged.
        ValueError: `durability` is neither of the two.
    """
    if durability not in {"strict", "relaxed"}:
        raise ValueError(f"a journal in SQLite is strict or relaxed, not {durability!r}")
    opening = _Opening(Path(directory), durability=durability, read_only=read_only, limits=limits, vfs=vfs)
    async with open_bridge("web4-journal", upkeep=opening.upkeep) as writing:
        try:
            async with open_bridge("web4-journal-read", threads=limits.reading_threads) as reading:
                yield await _open(opening, writing, reading)
        finally:
            if not opening.given_up:
                with trio.CancelScope(shield=True):
                    await writing.call(opening.close)


async def _open(opening: _Opening, writing: Bridge, reading: Bridge) -> SqliteBackend:
    try:
        await _within(opening, writing, opening.look)
        if opening.schema is not None and opening.schema < SCHEMA:
            # As long as it takes: a store is migrated once.
            await writing.call(lambda: migrate(opening.path, vfs=opening.vfs))
        return await _within(opening, writing, lambda: opening.open(writing, reading))
    except apsw.Error as error:
        raise _refused(opening.path, error) from error
    except OSError as error:
        raise refusal(error, opening.path, "cannot be used") from error
    except NotCommittedError as error:
        raise JournalOpenError(f"{opening.path}: cannot be written ({error})", code="directory") from error


async def _within(opening: _Opening, writing: Bridge, step: Callable[[], Result]) -> Result:
    """One step of opening, on its thread, within the bound (JRN-11d)."""
    with trio.move_on_after(opening.limits.open_s):
        return await writing.call(step)
    # The thread is left to itself: what it opens after all it closes again.
    opening.given_up = True
    writing.abandon()
    raise JournalOpenError(f"{opening.path}: not open within {opening.limits.open_s:g} s", code="timeout")


def _refused(path: Path, error: apsw.Error) -> Exception:
    if is_damage(error):
        return CorruptJournalError(f"{path}: the store is damaged ({describe(error)})", code="store")
    code = "read_only_directory" if isinstance(error, apsw.ReadOnlyError) else "directory"
    return JournalOpenError(f"{path}: cannot be opened ({describe(error)})", code=code)
