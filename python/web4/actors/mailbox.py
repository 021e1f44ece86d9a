"""What waits for an actor: three bounded queues with one wake-up, and a slot per key for telemetry (ACT-4)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

import trio

from web4.actors.errors import MailboxFullError

if TYPE_CHECKING:
    from collections.abc import Hashable

Item = TypeVar("Item")

CONTROL: Final = 256
WORK: Final = 1_024
CONCLUSIONS: Final = 1_024
TELEMETRY: Final = 1_024
DRAIN: Final = 256
"""How many items one round serves."""
_SHARE: Final = 4
"""Each queue gets a quarter of a round at least, if it has as much."""


class Mailbox(Generic[Item]):
    """Three queues, each served in the order of its arrivals. One task receives; senders hold a handle, never this.

    Args:
        control: Bound of the control queue.
        work: Bound of the work queue.
        conclusions: Bound of the queue of conclusions: as many as there may be effects outstanding.
        telemetry: Bound of the number of keys that hold a value.
    """

    __slots__ = (
        "_asleep",
        "_bounds",
        "_conclusions",
        "_control",
        "_latest",
        "_work",
        "_work_bound",
        "dropped",
        "refused",
        "replaced",
    )

    def __init__(
        self,
        *,
        control: int = CONTROL,
        work: int = WORK,
        conclusions: int = CONCLUSIONS,
        telemetry: int = TELEMETRY,
    ) -> None:
        self._conclusions: deque[Item] = deque()
        self._control: deque[Item] = deque()
        self._work: deque[Item] = deque()
        self._work_bound = work
        self._bounds = (conclusions, control, telemetry)
        self._latest: dict[Hashable, Any] = {}
        self._asleep: trio.lowlevel.Task | None = None
        self.refused = 0
        """Items that found their queue full."""
        self.replaced = 0
        """Values of telemetry that a later one replaced before anybody looked."""
        self.dropped = 0
        """Values of telemetry that found no slot."""

    def __len__(self) -> int:
        return len(self._conclusions) + len(self._control) + len(self._work)

    @property
    def depths(self) -> tuple[int, int, int]:
        """How many conclusions, control items and work items wait."""
        return len(self._conclusions), len(self._control), len(self._work)

    # --- sending ----------------------------------------------------------------------------------------

    def work(self, item: Item) -> None:
        """Queue an item of work.

        Raises:
            MailboxFullError: `busy`.
        """
        queue = self._work
        if len(queue) >= self._work_bound:
            self._refuse("work", self._work_bound)
        queue.append(item)
        if self._asleep is not None:
            self._wake()

    def control(self, item: Item) -> None:
        """Queue an item that is served before work: abort, steer, a consent revoked.

        Raises:
            MailboxFullError: `busy`.
        """
        if len(self._control) >= self._bounds[1]:
            self._refuse("control", self._bounds[1])
        self._control.append(item)
        if self._asleep is not None:
            self._wake()

    def conclude(self, item: Item) -> None:
        """Queue the conclusion of an effect. Who starts effects sees to the bound: a conclusion must not be lost.

        Raises:
            MailboxFullError: `busy`.
        """
        if len(self._conclusions) >= self._bounds[0]:
            self._refuse("conclusions", self._bounds[0])
        self._conclusions.append(item)
        if self._asleep is not None:
            self._wake()

    def report(self, key: Hashable, value: Any) -> bool:
        """Leave a value of telemetry: the latest of its key wins (ACT-4c); False if there was no slot for it."""
        if key in self._latest:
            self.replaced += 1
        elif len(self._latest) >= self._bounds[2]:
            self.dropped += 1
            return False
        self._latest[key] = value
        if self._asleep is not None:
            self._wake()
        return True

    def wake(self) -> None:
        """Let the receiver look around, although there may be nothing."""
        if self._asleep is not None:
            self._wake()

    def _refuse(self, queue: str, bound: int) -> NoReturn:
        self.refused += 1
        raise MailboxFullError(f"{bound} items wait in the queue of {queue}", retry_after_ms=100)

    def _wake(self) -> None:
        task, self._asleep = self._asleep, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    # --- receiving --------------------------------------------------------------------------------------

    def drain(self, limit: int = DRAIN) -> list[Item]:
        """Take up to `limit` items: conclusions, then control, then work; none of the three starves (ACT-4a)."""
        work = self._work
        if not self._conclusions and not self._control:
            if len(work) <= limit:
                items = list(work)
                work.clear()
                return items
            return [work.popleft() for _ in range(limit)]
        share = limit // _SHARE
        for_work = min(len(work), share)
        for_control = min(len(self._control), share)
        items = _take(self._conclusions, limit - for_work - for_control)
        items += _take(self._control, limit - for_work - len(items))
        items += _take(work, limit - len(items))
        return items

    def telemetry(self) -> dict[Hashable, Any]:
        """Take the latest values."""
        if not self._latest:
            return {}
        latest, self._latest = self._latest, {}
        return latest

    async def wait(self) -> None:
        """Wait until something is there, or `wake` is called. One task at a time.

        Raises:
            RuntimeError: Another task waits already.
        """
        if self._asleep is not None:
            raise RuntimeError("a mailbox has one receiver")
        if self._work or self._conclusions or self._control or self._latest:
            await trio.lowlevel.checkpoint()
            return
        self._asleep = trio.lowlevel.current_task()

        def abandon(_: object) -> trio.lowlevel.Abort:
            self._asleep = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abandon)


def _take(queue: deque[Item], count: int) -> list[Item]:
    return [queue.popleft() for _ in range(min(len(queue), max(0, count)))]
