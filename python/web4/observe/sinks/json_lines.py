"""Events as lines of JSON in a file that is rotated by size."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import trio

from web4.foundation.events import encode_event
from web4.observe.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from web4.foundation.events import Event

DEFAULT_BYTES: Final = 16 * 1024 * 1024


class JsonLinesSink:
    """Appends one line for each event to `path`; at its size the file becomes `path.1`, that one `path.2`, and so on.

    Files have mode 0600. A line that a crash cut off is ended before anything follows it. Nothing is synced: what
    must survive a power cut is in the journal.

    Args:
        path: The file; its directory exists.
        max_bytes: Size at which it is rotated: a file exceeds it by one batch at most.
        keep: Rotated files that are kept.
        name: In `sink_lag`.

    Raises:
        SinkError: `sink_options`.
    """

    def __init__(
        self, path: Path, *, max_bytes: int = DEFAULT_BYTES, keep: int = 4, name: str = "json_lines"
    ) -> None:
        if max_bytes < 1 or keep < 0:
            raise SinkError("max_bytes must be positive, keep not negative", code="sink_options")
        self.name = name
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._descriptor: int | None = None
        self._size = 0

    async def write(self, events: Sequence[Event]) -> None:
        """See `Sink.write`.

        Raises:
            OSError: The file cannot be written; it is opened anew for the next call.
        """
        data = b"".join(encode_event(event) + b"\n" for event in events)
        # A disk that stalls must hold up this sink only. Not to be abandoned: two writers would mix their lines.
        await trio.to_thread.run_sync(self._append, data)

    async def aclose(self) -> None:
        """See `Sink.aclose`."""
        await trio.lowlevel.checkpoint()
        self._close()

    def _append(self, data: bytes) -> None:
        try:
            if self._descriptor is not None and self._size >= self._max_bytes:
                self._rotate()
            descriptor = self._open() if self._descriptor is None else self._descriptor
            view = memoryview(data)
            while view:
                written = os.write(descriptor, view)
                self._size += written
                view = view[written:]
        except OSError:
            self._close()
            raise

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.fstat(descriptor).st_size
        if self._size and os.pread(descriptor, 1, self._size - 1) != b"\n":
            self._size += os.write(descriptor, b"\n")
        return descriptor

    def _rotate(self) -> None:
        self._close()
        for number in range(self._keep, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if not self._keep:
            self._path.unlink(missing_ok=True)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
