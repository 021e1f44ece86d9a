"""An alarm that is set often and hardly ever rings: setting it later than it is set costs nothing (EXT-21)."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable


class Alarm:
    """Rings at or after a moment, in a task of its own.

    Args:
        ring: Called when it rings, at the earliest moment that was set since. Gives the moment to ring next, if the
            one it rang for was put off meanwhile; infinite if there is none.
    """

    __slots__ = ("_ring", "_scope", "at")

    def __init__(self, ring: Callable[[], float]) -> None:
        self._ring = ring
        self.at = inf
        """When it rings at the latest."""
        self._scope = trio.CancelScope()

    def set(self, at: float) -> None:
        """Let it ring at `at`, of `trio.current_time`, or earlier if it was set earlier."""
        if at < self.at:
            self.at = self._scope.deadline = at

    async def run(self) -> None:
        """Wait and ring, for ever."""
        while True:
            self._scope = trio.CancelScope(deadline=self.at)
            with self._scope:
                await trio.sleep_forever()
            self.at = inf
            self.at = self._ring()
