"""Standard output and error of a worker: always read, so that it never waits for ever; cut, so that nothing grows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.extensions.conversation.extension_log import ExtensionLog

TAIL: Final = 4096
"""Bytes of standard error that are kept for the outcome of a crash (EXT-28)."""
_KEPT: Final = 2 * TAIL
"""What is kept: a secret that begins before the tail is still recognised as a whole."""
_READ: Final = 64 * 1024
_LAST_READS: Final = 32
"""Reads of what a dead worker left in a pipe, which holds 64 KiB unless it was made larger; 1 MiB is the most."""
_LONGEST: Final = 4096
"""Bytes of a line; what follows up to its end is not kept."""


class Capture:
    """One of a worker's standard streams.

    Args:
        descriptor: Its read end, non-blocking. Closed by whoever owns it, after `run` has ended.
        source: Which it is.
        log: Gets its lines.
        count: Told of every byte that was read.
    """

    def __init__(
        self,
        descriptor: int,
        source: Literal["stdout", "stderr"],
        log: ExtensionLog,
        count: Callable[[int], None],
    ) -> None:
        self._descriptor = descriptor
        self._source = source
        self._log = log
        self._count = count
        self._line = bytearray()
        self._cut = False
        self._tail = bytearray()
        self.ended = False
        """Whether nothing can come any more."""

    @property
    def tail(self) -> bytes:
        """The last of it, at most twice `TAIL`."""
        return bytes(self._tail[-_KEPT:])

    async def run(self) -> None:
        """Read until its end."""
        while not self.ended:
            try:
                await trio.lowlevel.wait_readable(self._descriptor)
            except (trio.ClosedResourceError, OSError, ValueError):
                self._end()
                return
            self.read()

    def read(self) -> bool:
        """Read once, without waiting; whether anything was there."""
        try:
            data = os.read(self._descriptor, _READ)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._end()
            return False
        self._take(data)
        self._count(len(data))
        return True

    def read_rest(self) -> None:
        """Read what is there still of a worker that has ended, within a bound."""
        for _ in range(_LAST_READS):
            if self.ended or not self.read():
                return

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            if self._line and self._log.passing(1):
                self._hand_on(self._line)
            self._line = bytearray()

    def _take(self, data: bytes) -> None:
        self._tail += data[-_KEPT:]
        if len(self._tail) > 4 * _KEPT:
            del self._tail[:-_KEPT]
        lines = data.count(b"\n")
        if not lines:
            self._append(data)
            return
        granted = self._log.passing(lines)
        start = 0
        for _ in range(granted):
            end = data.index(b"\n", start)
            self._append(data[start:end])
            self._hand_on(self._line)
            self._line, self._cut = bytearray(), False
            start = end + 1
        if granted < lines:
            start = data.rindex(b"\n") + 1
            self._line, self._cut = bytearray(), False
        self._append(data[start:])

    def _append(self, data: bytes) -> None:
        room = _LONGEST - len(self._line)
        self._line += data[:room]
        self._cut = self._cut or len(data) > room

    def _hand_on(self, line: bytearray) -> None:
        text = line.decode("utf-8", "replace")
        self._log.line(self._source, None, text + " …" if self._cut else text)
