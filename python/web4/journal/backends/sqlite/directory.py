"""The directory of a journal: whose it is, what it may be, its hash key and its lock (JRN-11, JRN-18d)."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final
from weakref import WeakSet

from web4.journal.backends.sqlite.layout import DATABASE, HASH_KEY, LOCK
from web4.journal.errors import JournalLocked, JournalOpenError

_NO_PLACE: Final = (Path("/proc"), Path("/sys"), Path("/dev"))
_NOT_LOCKING: Final = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_UNWRITABLE: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
_KEY_BYTES: Final = 32


def _refuse(where: Path, why: str, *, code: str = "directory") -> JournalOpenError:
    return JournalOpenError(f"{where}: {why}", code=code)


def refusal(error: OSError, where: Path, doing: str) -> JournalOpenError:
    """What to raise for a file or directory that cannot be used."""
    code = "read_only_directory" if error.errno in _UNWRITABLE else "directory"
    return _refuse(where, f"{doing}: {os.strerror(error.errno or 0)}", code=code)


def prepare_directory(directory: Path, *, read_only: bool) -> Path:
    """Check that a journal may be kept in `directory`, and make it, 0700, if a writer finds none.

    Returns:
        Its real path.

    Raises:
        JournalOpenError: `not_found`, `directory` or `read_only_directory`.
    """
    if directory.is_symlink():
        raise _refuse(directory, "a symbolic link; name the directory itself")
    real = Path(os.path.realpath(directory))
    if any(real == place or place in real.parents for place in _NO_PLACE):
        raise _refuse(directory, "not a place to keep anything")
    try:
        if not read_only:
            real.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = real.stat()
    except FileNotFoundError:
        raise _refuse(directory, "there is no journal", code="not_found") from None
    except FileExistsError:
        raise _refuse(directory, "not a directory") from None
    except OSError as error:
        raise refusal(error, directory, "cannot be used") from None
    if not stat.S_ISDIR(status.st_mode):
        raise _refuse(directory, "not a directory")
    if not read_only:
        _claim(real, status)
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", HASH_KEY, LOCK):
        _require_file(real / name)
    return real


def _require_file(path: Path) -> None:
    """Refuse a name in the directory that leads elsewhere."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise refusal(error, path, "cannot be looked at") from None
    if not stat.S_ISREG(mode):
        raise _refuse(path, "must be a file of its own, and no link")


def _claim(directory: Path, status: os.stat_result) -> None:
    """Take it for the owner alone."""
    if status.st_uid != os.geteuid():
        raise _refuse(directory, "belongs to somebody else")
    if stat.S_IMODE(status.st_mode) & 0o077:
        try:
            directory.chmod(0o700)
        except OSError as error:
            raise refusal(error, directory, "cannot be closed to others") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise _refuse(directory, "cannot be written", code="read_only_directory")


class WriterLock:
    """The kernel's lock that makes this the journal's one writer, until `release` or the end of the process.

    It is a lock of the file and one of the directory: who takes the file away, believing that a crash left it, has not
    made room for a second writer. A process that is forked off has neither.

    Args:
        directory: Of the journal.

    Raises:
        JournalLocked: There is a writer, in this process or another.
        JournalOpenError: `directory` or `read_only_directory`: it cannot be locked.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK
        self._descriptors: list[int] = []
        try:
            self._descriptors.append(self._open(self._path, os.O_RDWR | os.O_CREAT))
            self._lock(self._path)
            self._descriptors.append(self._open(directory, os.O_RDONLY | os.O_DIRECTORY))
            self._lock(directory)
        except BaseException:
            self.release()
            raise
        _LOCKS.add(self)

    @staticmethod
    def _open(path: Path, flags: int) -> int:
        try:
            return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise refusal(error, path, "cannot be opened") from None

    def _lock(self, path: Path) -> None:
        """Lock what was opened last."""
        try:
            # A lock of the open file, not of the process: a second opening in this process meets it too.
            fcntl.flock(self._descriptors[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            directory = self._path.parent
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                raise JournalLocked(directory, owner=self._owner()) from None
            if path == directory:
                return  # some file systems lock files only; the file is locked
            if error.errno in _NOT_LOCKING:
                raise _refuse(directory, "its file system has no locks; a journal needs them") from None
            raise refusal(error, path, "cannot be locked") from None

    def _owner(self) -> str:
        """What the file says, on one line."""
        text = os.pread(self._descriptors[0], 256, 0).decode("ascii", "replace")
        return ", ".join(line for line in text.splitlines() if line.isprintable())

    def inscribe(self, **facts: object) -> None:
        """Say who holds it, for people."""
        text = "".join(f"{name} {value}\n" for name, value in facts.items())
        with suppress(OSError):  # on a full disk the lock holds without a word
            os.ftruncate(self._descriptors[0], 0)
            os.pwrite(self._descriptors[0], text.encode(), 0)

    def release(self) -> None:
        """Let the next writer in."""
        while self._descriptors:
            os.close(self._descriptors.pop())


_LOCKS: Final[WeakSet[WriterLock]] = WeakSet()


def _let_go_in_child() -> None:
    # A child shares the locks of the process it was forked from, and would hold them beyond its end.
    for lock in _LOCKS:
        lock.release()


os.register_at_fork(after_in_child=_let_go_in_child)


def hash_key(directory: Path, *, create: bool) -> bytes:
    """The key under which hashed-only data are hashed (JRN-18d); 32 zero bytes are none.

    Args:
        directory: Of the journal.
        create: Draw one if there is none, which is right for a new journal only.

    Raises:
        JournalOpenError: `hash_key`: it is missing, others may read it, or it is no key; `directory`.
    """
    path = directory / HASH_KEY
    if create and not path.exists():
        _draw_key(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        message = "missing; without it nothing that was hashed can be found: restore it"
        raise _refuse(path, message, code="hash_key") from None
    except OSError as error:
        raise refusal(error, path, "cannot be opened") from None
    try:
        mode = os.fstat(descriptor).st_mode
        key = os.read(descriptor, _KEY_BYTES + 1)
    except OSError as error:
        raise refusal(error, path, "cannot be read") from None
    finally:
        os.close(descriptor)
    if stat.S_IMODE(mode) & 0o077:
        raise _refuse(path, "others may read it; make it 0600", code="hash_key")
    if len(key) != _KEY_BYTES:
        raise _refuse(path, "no key of 32 bytes", code="hash_key")
    return key


def _draw_key(path: Path) -> None:
    """Write a new key whole: under another name first, so that no crash leaves half of one."""
    fresh = path.with_name(HASH_KEY + ".new")
    try:
        with suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, os.urandom(_KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        raise refusal(error, path, "cannot be written") from None


def sync_directory(directory: Path) -> None:
    """Make names in it last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
