"""The work of each lane: one task at a time, by priority, none of which can touch another lane's (LOOP-3)."""

from __future__ import annotations

from bisect import insort
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Final, Literal

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.agent.tasks import Task
    from web4.foundation.events import Emitter

LoopState = Literal["idle", "listening", "thinking", "responding"]
_COMES_WITHIN_SECONDS: Final = 60
_RANK: Final = {"high": 0, "normal": 1, "low": 2}


class Work:
    """One task from its acceptance to its conclusion.

    Args:
        task: The task.
        number: Of all tasks, counted: those of one priority are worked on in this order.
        expires: When it is given up, in Trio's time.
    """

    def __init__(self, task: Task, number: int, expires: float) -> None:
        self.task = task
        self.rank = (_RANK[task.priority], number)
        self.expires = expires
        self.reason: str | None = None
        """Why it was cancelled, if it was."""
        self.scope = trio.CancelScope()
        """What its handler runs in."""
        self.turn = trio.Event()
        """Set when it may begin, or has been cancelled."""
        self.concluding = False
        """Whether its handler is through: it cannot be cancelled any more."""

    def cancel(self, reason: str) -> bool:
        """Cancel it; whether that was in time. Its handler has `cancel_grace` to end (LOOP-4)."""
        if self.concluding or self.reason is not None:
            return False
        self.reason = reason
        self.task.cancelled.set()
        self.scope.cancel()
        self.turn.set()
        return True


class TaskLane:
    """The tasks of one lane, and its state (LOOP-2).

    Args:
        name: `peer:<fingerprint>` or `human:<id>`.
        emit: Gets `loop_state` events.
    """

    def __init__(self, name: str, emit: Emitter) -> None:
        self.name = name
        self.state: LoopState = "idle"
        self.current: Work | None = None
        self.waiting: list[Work] = []
        self._emit = emit

    def all(self) -> Iterator[Work]:
        """What is worked on, and what waits."""
        if self.current is not None:
            yield self.current
        yield from tuple(self.waiting)

    def put(self, work: Work) -> None:
        """Let a task wait for its turn."""
        insort(self.waiting, work, key=lambda one: one.rank)
        if self.state == "idle":
            self.to("listening", work.task)
        self._next()

    def leave(self, work: Work) -> None:
        """A task is concluded, or was cancelled before its turn came: the next one begins."""
        if work is self.current:
            self.current = None
            self.to("idle", work.task)
            if self.waiting:
                self.to("listening", self.waiting[0].task)
            self._next()
        elif work in self.waiting:
            self.waiting.remove(work)
        if self.current is None and not self.waiting:
            self.to("idle", work.task)  # also when all that waited was cancelled

    def to(self, state: LoopState, task: Task) -> None:
        """Be in another state, and say so."""
        if state != self.state:
            change: dict[str, Any] = {"from": self.state}
            self.state = state
            self._emit(
                "loop_state",
                lane=self.name,
                peer=task.peer,
                msg_id=task.msg_id,
                corr_id=task.corr_id,
                task_id=task.task_id,
                state=state,
                **change,
            )

    def _next(self) -> None:
        while self.current is None and self.waiting:
            work = self.waiting.pop(0)
            if work.reason is None:
                self.current = work
            work.turn.set()


class TaskLanes:
    """The lanes that have work.

    Args:
        emit: Gets the events.
    """

    def __init__(self, emit: Emitter) -> None:
        self._emit = emit
        self._lanes: dict[str, TaskLane] = {}

    def __iter__(self) -> Iterator[TaskLane]:
        return iter(tuple(self._lanes.values()))

    def get(self, name: str) -> TaskLane | None:
        """A lane that has work."""
        return self._lanes.get(name)

    def put(self, work: Work) -> TaskLane:
        """Let a task wait in its lane."""
        lane = self._lanes.get(work.task.lane)
        if lane is None:
            lane = self._lanes[work.task.lane] = TaskLane(work.task.lane, self._emit)
        lane.put(work)
        return lane

    def leave(self, lane: TaskLane, work: Work) -> None:
        """A task is through; a lane without work is let go."""
        lane.leave(work)
        if lane.current is None and not lane.waiting:
            self._lanes.pop(lane.name, None)

    def find(self, task_id: str) -> Work | None:
        """A task by its id."""
        for lane in self:
            for work in lane.all():
                if work.task.task_id == task_id:
                    return work
        return None


class Coming:
    """INTENTs that were accepted and have not come to their lane: they have a place there already.

    One whose message never comes, because the inbox had no room in the end, gives its place back after a minute.
    """

    def __init__(self) -> None:
        self._of: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()
        """By peer and msg_id: ids are their senders' own."""
        self._count: Counter[str] = Counter()

    def put(self, peer: str, msg_id: str, lane: str) -> None:
        """An INTENT was accepted. One that is sent again, as there was no room for it, has one place all the same."""
        self.take(peer, msg_id)
        self._of[peer, msg_id] = (lane, trio.current_time() + _COMES_WITHIN_SECONDS)
        self._count[lane] += 1

    def take(self, peer: str, msg_id: str) -> bool:
        """An INTENT came; whether it was accepted in this life, and not long ago."""
        found = self._of.pop((peer, msg_id), None)
        if found is not None:
            self._left(found[0])
        return found is not None

    def count(self, lane: str) -> int:
        """How many are coming to a lane."""
        now = trio.current_time()
        while self._of:
            key, (oldest, until) = next(iter(self._of.items()))
            if until > now:
                break
            del self._of[key]
            self._left(oldest)
        return self._count[lane]

    def _left(self, lane: str) -> None:
        self._count[lane] -= 1
        if not self._count[lane]:
            del self._count[lane]
