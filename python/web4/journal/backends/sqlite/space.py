"""Free space, and a reserve that keeps running work able to conclude (JRN-15e)."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from web4.journal.backends.sqlite.layout import RESERVE

if TYPE_CHECKING:
    from pathlib import Path

MIB: Final = 1 << 20


class Space:
    """The watch over the volume that the store is on.

    Args:
        directory: Of the store; None if its files are on no volume of this system.
        reserve_bytes: Size of the reserve file; 0 for none.
        floor_bytes: With less than that free, no new work should be taken.
    """

    def __init__(
        self, directory: Path | None, *, reserve_bytes: int = 16 * MIB, floor_bytes: int = 64 * MIB
    ) -> None:
        self._directory = directory
        self._path = None if directory is None else directory / RESERVE
        self._reserve_bytes = reserve_bytes
        self._floor_bytes = floor_bytes
        self.free_bytes: int | None = None
        """Free space when it was last looked at; None if nobody can tell."""
        self.accepting = True
        """Whether there is room for new work: enough is free, and the reserve is in its place."""
        self.reserved = False
        """Whether the reserve is in its place."""

    def look(self) -> None:
        """See how much is free; put the reserve back when there is room for it again. Never raises."""
        if self._directory is None:
            return
        try:
            volume = os.statvfs(self._directory)
        except OSError:
            self.free_bytes = None
            return
        self.free_bytes = volume.f_bavail * volume.f_frsize
        if not self.reserved and self.free_bytes >= self._floor_bytes + self._reserve_bytes:
            self._reserve()
        self.accepting = self.reserved and self.free_bytes >= self._floor_bytes

    def release(self) -> None:
        """Give the reserve up: something could not be written for want of space. Never raises."""
        if self._path is None:
            return
        self.reserved = False
        self.accepting = False
        with suppress(OSError):
            self._path.unlink()

    def _reserve(self) -> None:
        if self._path is None or not self._reserve_bytes:
            self.reserved = True
            return
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._path, flags, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._reserve_bytes)
                self.reserved = True
            finally:
                os.close(descriptor)
        except OSError:
            with suppress(OSError):
                self._path.unlink()
