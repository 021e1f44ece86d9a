"""Files of a bundle: written for their owner alone, and read only if they are what they seem."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Final

from web4 import _core

if TYPE_CHECKING:
    from pathlib import Path

_PIECE: Final = 2**20


def create(path: Path) -> BinaryIO:
    """A new file that only its owner reads."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def write(path: Path, data: bytes) -> None:
    """Write a new file, durably."""
    with create(path) as file:
        file.write(data)
        sync(file)


def sync(file: BinaryIO) -> None:
    """Make what was written to it last."""
    file.flush()
    os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make names in it last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of(path: Path) -> tuple[str, int]:
    """The BLAKE3 (hex) and the size of a plain file."""
    hasher = _core.Blake3()
    size = 0
    with open_plain(path) as file:
        while piece := file.read(_PIECE):
            hasher.update(piece)
            size += len(piece)
    return hasher.digest().hex(), size


def open_plain(path: Path) -> BinaryIO:
    """A plain file, for reading. Of a link, a pipe or a device nothing is read: it might have no end.

    Raises:
        ValueError: It is none.
        OSError: It cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("it is a link") from None
        raise
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise ValueError("it is no plain file")
    return file
