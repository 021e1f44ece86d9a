"""One sink's queue and task: it may be slow or fail, and loses its own events only (OBS-4)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.foundation.events import Event
    from web4.observe.sinks.sink import Sink

    Lagged = Callable[[str, int, int, int, str], None]
    """Told a sink's name, how many events it lost, the first and the last number among them, and why."""

BATCH: Final = 256
REPORT_SECONDS: Final = 1.0
"""A sink that goes on losing events is reported this often."""


class Feeding:
    """Feeds one sink.

    Args:
        sink: Which.
        size: Events that may wait for it; beyond that the newest are lost.
        write_seconds: How long one `write` may take before its events are given up.
        lagged: Told of losses, after they have ended or once a second.
    """

    def __init__(self, sink: Sink, *, size: int, write_seconds: float, lagged: Lagged) -> None:
        self.sink = sink
        self.lost = 0
        """Events that were lost so far."""
        self.failures = 0
        """Writes that failed or took too long."""
        self._size = size
        self._write_seconds = write_seconds
        self._lagged = lagged
        self._queue: deque[Event] = deque()
        self._filled = trio.Event()
        self._closing = False
        self._unreported = 0
        self._first = 0
        self._last = 0
        self._reason = ""
        self._reported = -float("inf")

    @property
    def waiting(self) -> int:
        """Events that wait."""
        return len(self._queue)

    def put(self, event: Event) -> None:
        """Let an event wait; lose it if there is no room. Never blocks."""
        if self._closing:
            return
        if len(self._queue) >= self._size:
            self._lose(event.seq, event.seq, 1, "full")
            return
        self._queue.append(event)
        self._filled.set()

    def close(self) -> None:
        """Take nothing more; what waits is still written."""
        self._closing = True
        self._filled.set()

    async def run(self) -> None:
        """Write what comes until `close`, then close the sink."""
        while not (self._closing and not self._queue):
            if not self._queue:
                self._report()
                self._filled = trio.Event()
                await self._filled.wait()
                continue
            await self._write([self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))])
            if trio.current_time() - self._reported >= REPORT_SECONDS:
                self._report()
        self._report()
        with trio.move_on_after(self._write_seconds):
            try:
                await self.sink.aclose()
            except Exception:  # foreign code, and nobody is left to be told
                self.failures += 1

    async def _write(self, batch: list[Event]) -> None:
        failure: str | None = None
        try:
            with trio.move_on_after(self._write_seconds) as scope:
                await self.sink.write(batch)
            if scope.cancelled_caught:
                failure = "too_slow"
        except Exception as error:  # foreign code: what it is, is the report
            failure = type(error).__name__
        if failure is not None:
            self.failures += 1
            self._lose(batch[0].seq, batch[-1].seq, len(batch), failure)
        await trio.lowlevel.checkpoint()

    def _lose(self, first: int, last: int, count: int, reason: str) -> None:
        self._first = first if not self._unreported else min(self._first, first)
        self._last = max(self._last, last)
        self._unreported += count
        self.lost += count
        self._reason = reason

    def _report(self) -> None:
        if self._unreported:
            lost, self._unreported = self._unreported, 0
            self._reported = trio.current_time()
            self._lagged(self.sink.name, lost, self._first, self._last, self._reason)
