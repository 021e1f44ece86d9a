"""The directory in which a run of the node keeps what it makes for its workers, and finds what a killed run left."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from web4.extensions.errors import WorkerStartError
from web4.extensions.processes import groups
from web4.extensions.processes.removal import Removal

if TYPE_CHECKING:
    from web4.extensions.processes.groups import Hierarchy

_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_LOCK_SECONDS: Final = 5.0
_RUN: Final = "run-"
"""How the places of runs are called: nothing else in the directory is ever touched."""
_GROUPS: Final = "groups"
_SEARCHABLE: Final = 0o711
"""A worker of another user finds the way to its own directory, and can list none of the others."""


_held: Final[set[int]] = set()
"""Locks of the runs of this process. A child that it forks shall not keep them beyond its death."""


def _let_go() -> None:
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


class Leftovers(NamedTuple):
    """What runs that were killed had left, and is removed."""

    runs: int
    directories: int
    groups: int


class Runtime:
    """The place of one run: `<directory>/run-<instance>/`. Its lock is held as long as the process lives.

    Args:
        directory: Shared by the runs of a node; None for one of the user's own in the temporary directory.
        instance: Of this run, unique.

    Raises:
        WorkerStartError: The directory belongs to another user, or cannot be used.
    """

    def __init__(self, directory: Path | None, instance: str) -> None:
        self._directory = directory or Path(tempfile.gettempdir()) / f"web4-{os.getuid()}"
        self._place = self._directory / f"{_RUN}{instance}"
        self._lock = -1
        self._process = os.getpid()
        self._dead: list[tuple[Path, int]] = []
        self.hierarchies: tuple[Hierarchy, ...] = ()
        """Where the workers of this run make their control groups."""
        try:
            self._directory.mkdir(mode=_SEARCHABLE, parents=True, exist_ok=True)
            _check(self._directory, ours=directory is None)
            self._claim()
            self._make_hierarchies()
        except OSError as error:
            self.close()
            raise WorkerStartError(
                f"the runtime directory {self._directory} cannot be used: {error}"
            ) from None

    def remove_leftovers(self) -> Leftovers:
        """Remove what killed runs left. May take as long as their directories are large: call it in a thread."""
        runs = directories = removed = 0
        while self._dead:
            place, lock = self._dead.pop()
            try:
                with suppress(OSError):
                    for root in _lines(place / _GROUPS):
                        removed += groups.remove_root(Path(root))
                with suppress(OSError):
                    directories += sum(1 for one in (place / "tmp").iterdir())
                with suppress(OSError):
                    _remove(str(place))
                    runs += 1
            finally:
                os.close(lock)
        return Leftovers(runs, directories, removed)

    def make_tmp(self, worker_id: str, user: tuple[int, int] | None) -> str:
        """Make the private directory of a worker; its path."""
        path = str(self._place / "tmp" / worker_id)
        os.mkdir(path, 0o700)  # noqa: PTH102 - strings: on the path of every start
        if user is not None:
            os.chown(path, *user)
        return path

    def close(self) -> None:
        """Remove what this run has made; its workers have ended. Blocks: call it in a thread.

        In a fork of the process it does nothing: all this is the parent's.
        """
        if os.getpid() != self._process:
            return
        for hierarchy in self.hierarchies:
            groups.remove_root(hierarchy.root)
        for _place, lock in self._dead:
            os.close(lock)
        self._dead = []
        if self._lock >= 0:
            with suppress(OSError):
                _remove(str(self._place))
            _held.discard(self._lock)
            os.close(self._lock)
            self._lock = -1

    def _claim(self) -> None:
        """Make the place of this run and lock it; collect those whose run has died, and lock them against others."""
        shared = os.open(self._directory / "lock", _OPEN, 0o600)
        try:
            _lock(shared)
            for other in self._directory.iterdir():
                if other.name.startswith(_RUN) and other.is_dir() and not other.is_symlink():
                    try:
                        lock = os.open(other / "lock", _OPEN, 0o600)
                    except FileNotFoundError:  # its run is just leaving
                        continue
                    if _try_lock(lock):
                        self._dead.append((other, lock))
                    else:
                        os.close(lock)
            self._place.mkdir(mode=_SEARCHABLE)
            (self._place / "tmp").mkdir(mode=_SEARCHABLE)
            for path in (self._place, self._place / "tmp"):
                path.chmod(_SEARCHABLE)  # whatever the umask
            self._lock = os.open(self._place / "lock", _OPEN, 0o600)
            _held.add(self._lock)
            _lock(self._lock)
        finally:
            os.close(shared)

    def _make_hierarchies(self) -> None:
        planned = groups.plan_roots(self._place.name)
        # Written down before they are made: a kill in between leaves nothing.
        (self._place / _GROUPS).write_text("".join(f"{root.path}\n" for root in planned))
        self.hierarchies = groups.make_roots(planned)


def _check(directory: Path, *, ours: bool) -> None:
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise OSError("it is not a directory of this user; name another")
    if ours and found.st_mode & 0o022:  # anybody can have made it first, where everybody may
        raise OSError("others may write to it")


def _lock(descriptor: int) -> None:
    end = time.monotonic() + _LOCK_SECONDS
    while not _try_lock(descriptor):
        if time.monotonic() > end:
            raise OSError("another process holds its lock")
        time.sleep(0.01)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _remove(path: str) -> None:
    removal = Removal(path)
    try:
        while not removal.step(10_000):
            pass
    finally:
        removal.close()
