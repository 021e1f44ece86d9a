"""The newest events, in memory: what the command line and the dashboard look at."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from web4.foundation.events import Event


class MemorySink:
    """A ring of the newest events. It is written at once, within the emitting call: it never lags.

    Args:
        size: How many are held (section 22).
    """

    def __init__(self, size: int = 10_000) -> None:
        self._ring: deque[Event] = deque(maxlen=size)

    def __len__(self) -> int:
        return len(self._ring)

    def __iter__(self) -> Iterator[Event]:
        return iter(tuple(self._ring))

    def put(self, event: Event) -> None:
        """Hold an event; the oldest gives way."""
        self._ring.append(event)

    def select(self, wanted: Callable[[Event], bool], *, after: int = 0, limit: int = 1_000) -> list[Event]:
        """The oldest events beyond number `after` that are `wanted`, `limit` at most."""
        found: list[Event] = []
        for event in self._ring:
            if event.seq > after and wanted(event):
                found.append(event)
                if len(found) == limit:
                    break
        return found
