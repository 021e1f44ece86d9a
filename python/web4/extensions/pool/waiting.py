"""Calls that wait for a worker, in the order in which they came; each is handed one worker or one refusal."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.extensions.errors import WorkerStartError
    from web4.extensions.outcome import Outcome

Worker = TypeVar("Worker")
_START_OUTCOMES: Final[dict[str, Outcome]] = {
    "extension_start_failed": "error",
    "extension_start_timeout": "timeout",
    "extension_protocol_error": "killed",
    "extension_unprotected": "refused",
    "extension_changed": "refused",
}


class Refusal(NamedTuple):
    """Why a call gets no worker. `moved` is none: another generation shall serve it (EXT-39)."""

    code: str
    outcome: Outcome
    reason: str
    retryable: bool = True
    moved: bool = False


def start_refusal(error: WorkerStartError) -> Refusal:
    """For calls that wait where no worker is and the last start failed."""
    retryable = error.code in ("extension_start_failed", "extension_start_timeout")
    return Refusal(error.code, _START_OUTCOMES[error.code], error.args[0], retryable)


class Waiter(Generic[Worker]):
    """One call that waits. Its own task parks in `wait`; anybody may hand it an answer, once."""

    __slots__ = ("_task", "answer", "expires", "fresh", "pinned", "session")

    def __init__(self, session: str | None, fresh: bool, pinned: bool, expires: float) -> None:
        self.session = session
        self.fresh = fresh
        """Whether it needs a worker that has served nobody (EXT-23)."""
        self.pinned = pinned
        """Whether it belongs to a run that must not see another generation (EXT-39)."""
        self.expires = expires
        self.answer: Worker | Refusal | None = None
        self._task: trio.lowlevel.Task | None = None

    def hand(self, answer: Worker | Refusal) -> None:
        """Let it go on with this. A cancellation that comes later no longer takes it out of the queue."""
        self.answer = answer
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def wait(self, leave: Callable[[Waiter[Worker]], None]) -> Worker | Refusal:
        """What it was handed. When cancelled before, `leave` takes it out of the queue, and nothing is handed."""

        def abort(_raise: object) -> trio.lowlevel.Abort:
            self._task = None
            leave(self)
            return trio.lowlevel.Abort.SUCCEEDED

        if self.answer is None:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(abort)
        assert self.answer is not None
        return self.answer


class WaitingCalls(Generic[Worker]):
    """A bounded queue, first come, first served."""

    __slots__ = ("_bound", "queue")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self.queue: deque[Waiter[Worker]] = deque()
        """Those who wait, in order. To look at: whoever changes it does so here."""

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return len(self.queue) >= self._bound

    @property
    def earliest(self) -> float:
        """When the first of them has waited long enough; infinity when there is none."""
        return min((one.expires for one in self.queue), default=float("inf"))

    def add(self, waiter: Waiter[Worker]) -> None:
        """At the end."""
        self.queue.append(waiter)

    def remove(self, waiter: Waiter[Worker]) -> None:
        """Its task was cancelled."""
        self.queue.remove(waiter)

    def serve(self, find: Callable[[Waiter[Worker]], Worker | None], more: Callable[[], bool]) -> None:
        """Hand workers out in order, as long as `more` says so. Whom `find` has none for keeps its place."""
        queue = self.queue
        passed: list[Waiter[Worker]] = []
        while queue and more():
            waiter = queue.popleft()
            worker = find(waiter)
            if worker is None:
                passed.append(waiter)
            else:
                waiter.hand(worker)
        queue.extendleft(reversed(passed))

    def refuse(self, refusal: Refusal, *, which: Callable[[Waiter[Worker]], bool] = lambda _one: True) -> int:
        """Hand a refusal to those that `which` names; how many they were."""
        everyone = list(self.queue)
        self.queue.clear()
        refused = 0
        for one in everyone:
            if which(one):
                one.hand(refusal)
                refused += 1
            else:
                self.queue.append(one)
        return refused
