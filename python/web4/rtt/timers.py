"""The deadlines of all sessions of an endpoint, in one task."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


class Alarm:
    """A moving deadline of one session. `wake` is called when it has come, or had come when it was armed.

    At most two entries in the timers' heap count: the next one, and a later one that it overtook. Without the second,
    every acknowledgement that is due soon would leave a heartbeat behind that is due late.
    """

    __slots__ = ("at", "overtaken", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake: Callable[[], None] | None = wake
        self.at = math.inf
        self.overtaken = math.inf

    def cancel(self) -> None:
        """Never wake anybody again, and let go of whom it would have woken."""
        self.wake = None


class Timers:
    """Wakes what is due. Deadlines that move later cost nothing until the earlier one has come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        self._order = itertools.count()
        self._scope = trio.CancelScope()

    def __len__(self) -> int:
        """How many entries wait, those included that nothing will come of."""
        return len(self._heap)

    def arm(self, alarm: Alarm, deadline: float) -> None:
        """Wake `alarm` at `deadline` (Trio's clock), if not earlier already."""
        if deadline < alarm.at and alarm.wake is not None:
            alarm.overtaken, alarm.at = alarm.at, deadline
            heapq.heappush(self._heap, (deadline, next(self._order), alarm))
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
            deadline, _, alarm = heapq.heappop(self._heap)
            # An entry that is neither the next nor the one it overtook was overtaken twice: nothing comes of it.
            if alarm.at == deadline and alarm.wake is not None:
                alarm.at, alarm.overtaken = alarm.overtaken, math.inf
                alarm.wake()
