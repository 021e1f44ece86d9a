"""The deadlines of all sessions of an endpoint, in one task."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from typing import NoReturn


class Timed(Protocol):
    """Something with a deadline."""

    armed: float
    """When it will be looked at, by Trio's clock; infinity when it will not."""
    overtaken: float
    """A later time at which it will be looked at anyway, because it was armed for that first; or infinity."""

    def on_time(self) -> None:
        """Its deadline has come, or had come when it was armed: look again, and arm again."""
        ...


class Timers:
    """Wakes what is due. Deadlines that move later cost nothing until the earlier one has come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._order = itertools.count()
        self._scope = trio.CancelScope()

    def arm(self, timed: Timed, deadline: float) -> None:
        """Look at `timed` at `deadline`, if not earlier already."""
        if deadline < timed.armed:
            timed.overtaken = timed.armed
            timed.armed = deadline
            heapq.heappush(self._heap, (deadline, next(self._order), timed))
            self._scope.deadline = min(self._scope.deadline, deadline)

    async def run(self) -> NoReturn:
        """Wake what is due, until cancelled."""
        while True:
            deadline = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=deadline) as self._scope:
                await trio.sleep_forever()
            self._wake()

    def _wake(self) -> None:
        now = trio.current_time()
        while self._heap and self._heap[0][0] <= now:
            deadline, _, timed = heapq.heappop(self._heap)
            # The entry that this one overtook counts again, or each early deadline would leave a late one behind.
            # What even that one overtook is stale.
            if timed.armed == deadline:
                timed.armed, timed.overtaken = timed.overtaken, math.inf
                timed.on_time()
