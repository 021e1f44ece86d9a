"""A copy of a store, taken beside its writer, of one committed state.

The engine copies pages inside one transaction that reads: what is committed meanwhile is not in the copy, and keeps
neither the writer nor the copy waiting. Until the copy is done the write-ahead log cannot shrink.
"""

from __future__ import annotations

import os
import secrets
import shutil
from typing import TYPE_CHECKING, Final

import apsw

from web4.journal.backends.sqlite.directory import hash_key, prepare_directory, sync_directory
from web4.journal.backends.sqlite.engine import connect, connect_reader, require_engine, throw_away
from web4.journal.backends.sqlite.faults import describe, is_damage
from web4.journal.backends.sqlite.inspecting import edition
from web4.journal.backends.sqlite.layout import DATABASE, HASH_KEY
from web4.journal.errors import CorruptJournalError, ExportError, JournalOpenError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PAGES: Final = 256
"""Copied at a time: what progress and stopping have to wait for."""


class Copy:
    """A copy on its way. It blocks: give it a thread. All methods are called one after another.

    Args:
        directory: Of the journal.
        target: A directory that is not there yet, in one that is.

    Raises:
        JournalOpenError: There is no journal that can be read.
        ExportError: `target_exists`, `unwritable`.
    """

    def __init__(self, directory: Path, target: Path) -> None:
        require_engine()
        self._source = prepare_directory(directory, read_only=True)
        self._target = target
        if edition(self._source / DATABASE, vfs=None) is None:
            raise JournalOpenError(f"{directory}: there is no journal", code="not_found")
        self._key = hash_key(self._source, create=False)
        if os.path.lexists(target):
            raise _exists(target)
        self.draft: Final = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
        """Where the copy is until it is whole."""
        try:
            self.draft.mkdir(mode=0o700)
        except OSError as error:
            raise _unwritable(target, error) from None

    def run(self, step: Callable[[int, int], bool]) -> None:
        """Copy everything, durably.

        Args:
            step: Told pages done and pages in all; False stops the copy.

        Raises:
            CorruptJournalError: `store`.
            ExportError: `unwritable`.
            JournalOpenError: `directory`: the source cannot be read.
        """
        source = target = None
        path = self.draft / DATABASE
        try:
            source = connect_reader(self._source / DATABASE, vfs=None)
            source.execute("BEGIN")
            source.execute(
                "SELECT count(*) FROM sqlite_schema"
            ).fetchall()  # the state is that of this moment
            target = connect(path, vfs=None, create=True)
            path.chmod(0o600)
            with target.backup("main", source, "main") as copying:
                while not copying.done:
                    copying.step(_PAGES)
                    if not step(copying.page_count - copying.remaining, copying.page_count):
                        return
            target.close()
            self._keep_key()
            _sync(path)
            sync_directory(self.draft)
        except OSError as error:
            raise _unwritable(self._target, error) from None
        except apsw.Error as error:
            raise _refused(self._source, self._target, error) from error
        finally:
            throw_away(target)
            throw_away(source)

    def _keep_key(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self.draft / HASH_KEY, flags, 0o600), "wb") as file:
            file.write(self._key)
            file.flush()
            os.fsync(file.fileno())

    def publish(self) -> None:
        """Give the copy its name, durably.

        Raises:
            ExportError: `target_exists`, `unwritable`.
        """
        try:
            for name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):  # what a look at it left; nothing is in them
                (self.draft / name).unlink(missing_ok=True)
            sync_directory(self.draft)
            if os.path.lexists(self._target):
                raise _exists(self._target)
            self.draft.rename(self._target)
            sync_directory(self._target.parent)
        except OSError as error:
            raise _unwritable(self._target, error) from None

    def discard(self) -> None:
        """Leave nothing of a copy that has no name. Raises nothing."""
        shutil.rmtree(self.draft, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exists(target: Path) -> ExportError:
    return ExportError(f"{target} is there already and is left alone", code="target_exists")


def _unwritable(target: Path, error: OSError) -> ExportError:
    return ExportError(f"{target} cannot be written: {error.strerror}", code="unwritable")


def _refused(source: Path, target: Path, error: apsw.Error) -> Exception:
    if is_damage(error):
        return CorruptJournalError(f"{source}: the store is damaged ({describe(error)})", code="store")
    if isinstance(error, apsw.FullError):
        return ExportError(f"{target} cannot be written: no space", code="unwritable")
    return JournalOpenError(f"{source}: cannot be copied ({describe(error)})", code="directory")
