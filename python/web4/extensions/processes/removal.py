"""Removing a directory that a worker filled, however it filled it (EXT-41).

A hostile tree may be deeper than any stack and any limit on descriptors, and may forbid to be entered. So nothing here
recurses, and what lies too deep is moved up to the top and met there again. Some dozens of descriptors are open at a
time, no link is followed, and whoever drives it decides how much is done in one go.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

_LEVELS: Final = 32
"""Directories that are open at a time, two descriptors each."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEVER_LARGE: Final = 16 * 1024
"""Bytes of a directory that takes no time to remove when it is empty. One that held a million names still has them."""


def remove_empty(path: str) -> bool:
    """Remove a directory that nobody has used; whether it is gone.

    It takes no time. All others can take seconds: one large file can, one emptied directory can.
    """
    try:
        if os.stat(path).st_size > _NEVER_LARGE:
            return False
        os.rmdir(path)
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return True


class Removal:
    """The removal of one directory, in steps. Nothing else writes to it meanwhile.

    Args:
        path: The directory. That it is gone already is no error.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._steps = self._remove()

    def step(self, entries: int) -> bool:
        """Remove up to about so many entries; whether all is done.

        Raises:
            OSError: Something cannot be removed. What could be, is.
        """
        return any(next(self._steps, _DONE) is _DONE for _ in range(entries))

    def close(self) -> None:
        """Stop where it is."""
        self._steps.close()

    def _remove(self) -> Generator[None, None, None]:
        try:
            top = _open(self._path, None)
        except FileNotFoundError:
            return
        try:
            moved = _Names()
            while (yield from self._pass(top, moved)):
                pass
        finally:
            os.close(top)
        os.rmdir(self._path)

    def _pass(self, top: int, moved: _Names) -> Generator[None, None, bool]:
        """Take the top level once; whether anything was there."""
        seen = removed = 0
        failure: OSError | None = None
        with os.scandir(top) as entries:
            for entry in entries:
                seen += 1
                try:
                    if entry.is_dir(follow_symlinks=False):
                        yield from _clear(entry.name, top, moved)
                    else:
                        os.unlink(entry.name, dir_fd=top)
                    removed += 1
                except FileNotFoundError:
                    continue
                except OSError as error:
                    failure = error
                yield
        if seen and not removed and failure is not None:
            raise failure
        return seen > 0


_DONE: Final = object()


class _Names:
    """Names that no worker could have guessed and taken."""

    def __init__(self) -> None:
        self._prefix = f".{secrets.token_hex(8)}."
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"


def _clear(name: str, top: int, moved: _Names) -> Generator[None, None, None]:
    """Remove the directory `name` of `top`; what is too deep in it becomes `top`'s."""
    levels = [_Level(name, top)]
    try:
        while levels:
            level = levels[-1]
            entry = next(level.entries, None)
            if entry is None:
                levels.pop().close()
                os.rmdir(level.name, dir_fd=levels[-1].descriptor if levels else top)
                continue
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=level.descriptor)
            elif len(levels) < _LEVELS:
                levels.append(_Level(entry.name, level.descriptor))
            else:
                _allow(entry.name, level.descriptor)
                os.rename(entry.name, moved.next(), src_dir_fd=level.descriptor, dst_dir_fd=top)
            yield
    finally:
        for level in levels:
            level.close()


class _Level:
    """A directory that is being emptied."""

    def __init__(self, name: str, parent: int) -> None:
        self.name = name
        self.descriptor = _open(name, parent)
        self.entries = os.scandir(self.descriptor)

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)


def _open(name: str, parent: int | None) -> int:
    try:
        descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:
        _allow(name, parent)
        return os.open(name, _DIRECTORY, dir_fd=parent)
    with suppress(PermissionError):
        os.fchmod(descriptor, 0o700)  # who may list it may not remove from it yet
    return descriptor


def _allow(name: str, parent: int | None) -> None:
    """Give the owner all rights on a directory: without them it can be neither read nor moved."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        with suppress(PermissionError):
            os.chmod(f"/proc/self/fd/{handle}", 0o700)  # by the handle: the name might lead elsewhere by now
    finally:
        os.close(handle)
