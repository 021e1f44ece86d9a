"""The writing end of the store, as it lives on its one thread (JRN-24a)."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import apsw

from web4.journal.backends.sqlite.commits import Counters, LaneCache, write_commit
from web4.journal.backends.sqlite.engine import BUSY_MS, connect_writer, rewrite_wal, set_durable, throw_away
from web4.journal.backends.sqlite.faults import certainly_not_written, describe, is_full, not_committed
from web4.journal.backends.sqlite.migration import copies
from web4.journal.backends.sqlite.slack import MOST_PAGES, clear_slack
from web4.journal.errors import CorruptJournalError, NotCommittedError, OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from web4.journal.backends.sqlite.space import Space
    from web4.journal.record import Commit

Result = TypeVar("Result")


@dataclass(slots=True)
class WriterFigures:
    """What a writer did since it was made."""

    commits: int = 0
    checkpoints: int = 0
    flushes: int = 0
    reopened: int = 0
    no_space: int = 0
    last_fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """How a writer behaves.

    Args:
        durable: Whether each commit is forced to disk before it counts: profile `strict`.
        flush_s: In profile `relaxed`, within how many seconds that happens to a commit.
        wal_pages: Pages written since the last checkpoint that make the next one due.
        idle_s: After so many seconds without work the WAL is moved into the database.
        space_s: How often free space is looked at, seconds.
    """

    durable: bool
    flush_s: float = 0.1
    wal_pages: int = 2048
    idle_s: float = 0.25
    space_s: float = 0.25


class Writer:
    """Everything that changes the store. All of it is called on one thread, one after another.

    Args:
        path: Of the database.
        vfs: The engine's file layer; None for the system's.
        journal_id: Of the store.
        options: See there.
        space: The reserve, and the watch over free space.
    """

    def __init__(
        self, path: Path, *, vfs: str | None, journal_id: bytes, options: WriterOptions, space: Space
    ) -> None:
        self.figures = WriterFigures()
        self._path = path
        self._vfs = vfs
        self._options = options
        self._space = space
        self._connection: apsw.Connection | None = None
        self._cache = LaneCache(journal_id)
        self._counters = Counters(0, 0, 0)
        self._unknown = False
        self._tried = 0  # the number of the last commit that was begun
        self._pages = 0  # the engine's count of pages written when the last checkpoint was made
        self._unflushed: float | None = None  # since when a relaxed commit waits for the disk
        self._looked = 0.0  # when free space was looked at
        self._unscrubbed = False  # whether files may still hold what was erased or removed

    @property
    def flushed(self) -> bool:
        """Whether every commit so far would survive the loss of power."""
        return self._unflushed is None

    # --- the connection -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the connection and read where everything ends.

        What the WAL holds is forced to disk first: whoever wrote it may have died of a sync that failed.

        Raises:
            apsw.Error: It cannot be opened.
        """
        rewrite_wal(self._path, vfs=self._vfs)
        connection = connect_writer(self._path, vfs=self._vfs, durable=self._options.durable)
        try:
            ends: Any = connection.execute(
                "SELECT max((SELECT value FROM meta WHERE key = 'commit'), ifnull(max(commit_number), 0)), "
                "max(ifnull((SELECT value FROM meta WHERE key = 'position'), 0), ifnull(max(position), 0)), "
                "ifnull(max(id), 0), EXISTS (SELECT 1 FROM meta WHERE key = 'unscrubbed') FROM lane"
            ).fetchall()
        except BaseException:
            throw_away(connection)
            raise
        self._connection = connection
        self._cache.clear()
        self._counters = Counters(*ends[0][:3])
        self._unscrubbed = bool(ends[0][3])
        self._pages = 0
        self._unflushed = None

    def close(self) -> None:
        """Move everything into the database and close. What cannot be moved is as safe in the WAL."""
        connection = self._connection
        if connection is not None and not self._unknown:
            if self._unflushed is not None:
                self._flush(connection)
            with suppress(apsw.Error):
                connection.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._drop()

    def _drop(self) -> None:
        """Throw the connection away, with what it believes of the store."""
        throw_away(self._connection)
        self._connection = None
        self._cache.clear()

    def _ready(self) -> apsw.Connection:
        """The connection; a new one if the last was thrown away."""
        if self._unknown:
            raise NotCommittedError("a commit before this one has to be recovered first")
        if self._connection is None:
            self._reopen()
        assert self._connection is not None
        return self._connection

    def _reopen(self) -> None:
        self._drop()
        try:
            self.open()
        except apsw.Error as error:
            self._drop()
            self._note(error)
            raise not_committed(error) from error
        self.figures.reopened += 1

    def _note(self, error: apsw.Error) -> None:
        self.figures.last_fault = describe(error)
        if is_full(error):
            self.figures.no_space += 1
            self._space.release()

    def _take_back(self, error: BaseException | None) -> None:
        """End a transaction that is not to be; the connection goes with it if it may be the cause."""
        connection = self._connection
        if isinstance(error, apsw.Error):
            self._note(error)
        self._cache.clear()
        if connection is None:
            return
        if isinstance(error, apsw.IOError):
            self._drop()
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            self._drop()

    # --- commits ------------------------------------------------------------------------------------------

    def commit(self, commit: Commit) -> int:
        """Make `commit` durable; its number. See `Backend.commit`."""
        connection = self._ready()
        self._tried = self._counters.commit + 1
        try:
            connection.execute("BEGIN IMMEDIATE")
            counters, rows = write_commit(connection, self._cache, commit, self._counters)
            removes = bool(commit.bases or commit.erasures)
            if removes:
                self._note_removal(connection)
        except apsw.Error as error:
            self._take_back(error)
            raise not_committed(error) from error
        except BaseException as error:
            self._take_back(error)
            raise
        try:
            connection.execute("COMMIT")
        except apsw.Error as error:
            if certainly_not_written(error):
                self._take_back(error)
                raise not_committed(error) from error
            self._note(error)
            self._unknown = True
            self._drop()
            raise OutcomeUnknownError(describe(error)) from error
        self._cache.update(rows)
        self._counters = counters
        self._unscrubbed = self._unscrubbed or removes
        self.figures.commits += 1
        self._committed()
        return counters.commit

    def _committed(self) -> None:
        if not self._options.durable and self._unflushed is None:
            self._unflushed = time.monotonic()

    def recover(self, commit: Commit) -> int | None:
        """Open the store anew; the number of `commit` if it is there. See `Backend.recover`."""
        self._reopen()
        connection = self._connection
        assert connection is not None
        try:
            number = self._find(connection, commit)
            self._settle(connection)
        except apsw.Error as error:
            self._note(error)
            self._drop()
            raise not_committed(error) from error
        self._unknown = False
        return number

    def _find(self, connection: apsw.Connection, commit: Commit) -> int | None:
        """The number of `commit`, the last that was tried, if it is there."""
        if not commit.heads:
            # Nobody else writes: its number is its own.
            return self._tried if self._counters.commit == self._tried else None
        lanes = self._cache.load(connection, [move.lane for move in commit.heads])
        there = all(lanes[move.lane].head.hash == move.after.hash for move in commit.heads)
        return lanes[commit.heads[0].lane].commit if there else None

    def _settle(self, connection: apsw.Connection) -> None:
        """Make what is there, and what is not there, last.

        What is there is moved into the database. Then one more synced commit takes the place behind it in the WAL, so
        that what lies there of a commit that was found missing can never be read again.
        """
        with suppress(apsw.BusyError):  # somebody reads: it lasts in the WAL, which was just forced to disk
            connection.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._mark(connection)
        self._pages = 0

    def _mark(self, connection: apsw.Connection) -> None:
        """Commit a mere mark, and with it everything before it, to disk."""
        set_durable(connection, True)
        connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'marks'")
        set_durable(connection, self._options.durable)
        self._unflushed = None

    # --- everything else that changes ---------------------------------------------------------------------

    def change(
        self, work: Callable[[apsw.Connection, LaneCache], Result], *, removes: bool = False
    ) -> Result:
        """Run `work` as a transaction of its own that is safe to repeat.

        Args:
            work: What is to be done.
            removes: Whether it lets something go of which no file may keep anything: see `scrub`.

        Raises:
            NotCommittedError: It did not commit, or nobody knows; it may be tried again.
            CorruptJournalError: The store cannot be read.
        """
        connection = self._ready()
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(connection, self._cache)
            if removes:
                self._note_removal(connection)
            connection.execute("COMMIT")
        except apsw.Error as error:
            self._take_back(error)
            raise not_committed(error) from error
        except BaseException as error:
            self._take_back(error)
            raise
        self._unscrubbed = self._unscrubbed or removes
        self._committed()
        return result

    def _note_removal(self, connection: apsw.Connection) -> None:
        """Say in the store that files have to be scrubbed: whoever opens it after a crash does it."""
        if not self._unscrubbed:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('unscrubbed', 1)")

    def scrub(self) -> None:
        """Leave nothing of what was erased in any file: not in the WAL, not in the copy that a migration left.

        It does not wait for readers, and neither does who comes next: it is tried again in between.

        Raises:
            NotCommittedError: Somebody reads what the WAL holds. May be tried again.
            CorruptJournalError: The store cannot be read.
        """
        connection = self._ready()
        try:
            # First what a reader may refuse: only then the work that has to go over the whole file.
            self._empty_wal(connection)
            small = int(connection.pragma("page_count")) < MOST_PAGES
            if not small:
                connection.execute("VACUUM")
                self._empty_wal(connection)
            for copy in copies(self._path):
                copy.unlink(missing_ok=True)
            # The connection remembers pages as they were.
            self._drop()
            if small:
                clear_slack(self._path, vfs=self._vfs)
            self._reopen()
            if self._unscrubbed:
                self._ready().execute("DELETE FROM meta WHERE key = 'unscrubbed'")
                self._unscrubbed = False
                self._committed()
        except apsw.Error as error:
            self._take_back(error)
            raise not_committed(error) from error
        except OSError as error:
            raise NotCommittedError(f"a copy of the store cannot be removed: {error.strerror}") from error

    def _empty_wal(self, connection: apsw.Connection) -> None:
        connection.set_busy_timeout(0)
        try:
            connection.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            connection.set_busy_timeout(BUSY_MS)

    # --- in between ---------------------------------------------------------------------------------------

    def upkeep(self, idle: bool) -> float | None:
        """What is due between two jobs; in how many seconds to look again if no job comes. Never raises."""
        now = time.monotonic()
        if now - self._looked >= self._options.space_s:
            self._looked = now
            self._space.look()
        pause = None if self._space.accepting else self._options.space_s
        connection = self._connection
        if connection is None:
            return pause
        if self._unflushed is not None:
            if now - self._unflushed >= self._options.flush_s / 2:
                self._flush(connection)
            else:
                pause = self._options.flush_s / 2
        pages = self._written() - self._pages
        if pages >= self._options.wal_pages or (idle and pages and pause is None):
            self._checkpoint()
        elif pages and pause is None:
            pause = self._options.idle_s
        if self._unscrubbed and not self._unknown:
            if idle:
                with suppress(NotCommittedError, CorruptJournalError):
                    self.scrub()
            pause = self._options.idle_s if pause is None else pause
        return pause

    def _written(self) -> int:
        if self._connection is None:
            return self._pages
        written: int = self._connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
        return written

    def _flush(self, connection: apsw.Connection) -> None:
        try:
            self._mark(connection)
            self.figures.flushes += 1
        except apsw.Error as error:
            self._take_back(error)

    def _checkpoint(self) -> None:
        """Move what nobody reads any more from the WAL into the database: the writer, and nobody else, does it."""
        connection = self._connection
        assert connection is not None
        self._pages = self._written()
        try:
            connection.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.figures.checkpoints += 1
        except apsw.BusyError:
            pass
        except apsw.Error as error:
            self._take_back(error)
