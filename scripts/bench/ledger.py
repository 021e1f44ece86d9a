"""What arrived of a numbered stream: once, twice, out of order, or not at all."""

from __future__ import annotations


class Ledger:
    """An account of numbers from 0 to `count` - 1 that should come once each, in order."""

    def __init__(self, count: int) -> None:
        self._seen = bytearray(count)
        self._highest = -1
        self.distinct = 0
        self.twice = 0
        self.reordered = 0

    def take(self, number: int) -> None:
        """Enter one that arrived."""
        if self._seen[number]:
            self.twice += 1
            return
        self._seen[number] = 1
        self.distinct += 1
        if number < self._highest:
            self.reordered += 1
        else:
            self._highest = number
