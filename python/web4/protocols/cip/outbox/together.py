"""What is asked for in one turn of the scheduler is decided together, and waited for by one task (OUT-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import outcome
import trio

from web4.foundation.errors import Web4Error
from web4.protocols.cip.lane_errors import LANE_ERRORS
from web4.protocols.cip.outbox.commands import EnqueueTogether
from web4.protocols.cip.peer_state import PeerOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.protocols.cip.outbox.commands import Enqueue
    from web4.protocols.cip.outbox.logic import Queueing

_MOST: Final = 256
"""Envelopes that one command queues; more become several."""
_OUTCOMES: Final[dict[Queueing, PeerOutcome]] = {
    one: PeerOutcome("taken", queueing=one) for one in ("queued", "known", "full", "answered")
}


class _Batch:
    """What was asked for together."""

    __slots__ = ("asked", "decided")

    def __init__(self) -> None:
        self.asked: list[_Asked] = []
        self.decided = False


class _Asked:
    """An envelope to be queued, what became of that, and the task that waits for it, if one is parked."""

    __slots__ = ("batch", "command", "error", "outcome", "task")

    def __init__(self, command: Enqueue, batch: _Batch) -> None:
        self.command = command
        self.batch = batch
        self.outcome: PeerOutcome | None = None
        self.error: Exception | None = None
        self.task: trio.lowlevel.Task | None = None

    @property
    def waits(self) -> bool:
        """Whether it was queued, and waits to be durable: a refusal rests on nothing that could be lost."""
        return self.outcome is not None and self.outcome.queueing in ("queued", "known")

    def told(self) -> PeerOutcome:
        if self.error is not None:
            raise self.error
        assert self.outcome is not None
        return self.outcome

    def wake(self, value: outcome.Value[bool] | outcome.Error) -> None:
        task, self.task = self.task, None
        if task is not None:
            trio.lowlevel.reschedule(task, value)

    def abandon(self, _: object) -> trio.lowlevel.Abort:
        """Wait no longer. What nobody has decided yet is not to be."""
        self.task = None
        if not self.batch.decided:
            self.batch.asked.remove(self)
        return trio.lowlevel.Abort.SUCCEEDED


class Together:
    """Makes one command of all that is asked for in one turn of the scheduler.

    Whoever asks first decides for all, waits for the journal and wakes the others. Cancelled, it leaves that to the
    next of them; so nobody waits for a task that is gone, and no task lives longer than who asked.

    Args:
        handle: Decides a command at once.
        durable: Waits until what was decided is durable.
    """

    def __init__(
        self,
        handle: Callable[[Enqueue | EnqueueTogether], PeerOutcome],
        durable: Callable[[], Awaitable[None]],
    ) -> None:
        self._handle = handle
        self._durable = durable
        self._gathering: _Batch | None = None

    async def ask(self, command: Enqueue) -> PeerOutcome:
        """Queue an envelope; what became of it, once that is durable. A refusal is told at once.

        Cancelled before it was decided, nothing has changed; afterwards it is queued, durable with the next commit.

        Raises:
            JournalError, MailboxFullError: The lane does not take it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        batch = self._gathering
        if batch is None:
            batch = self._gathering = _Batch()
        one = _Asked(command, batch)
        batch.asked.append(one)
        leads = len(batch.asked) == 1
        if not leads:
            one.task = trio.lowlevel.current_task()
            leads = await trio.lowlevel.wait_task_rescheduled(one.abandon)
        if leads:
            await self._lead(batch, one)
        return one.told()

    def flush(self) -> None:
        """Decide now what was asked for in this turn: whoever looks at the queue next must see it."""
        if self._gathering is not None:
            self._decide(self._gathering)

    async def _lead(self, batch: _Batch, one: _Asked) -> None:
        """Decide for all, unless that is done, and wait for all."""
        try:
            if not batch.decided:
                await trio.lowlevel.checkpoint()  # whoever asks in this turn comes along
                self._decide(batch)  # unless somebody looked at the queue meanwhile
            if one.waits:
                await self._durable()
        except Exception as error:
            for other in batch.asked:
                other.wake(outcome.Error(error.again() if isinstance(error, Web4Error) else error))
            raise
        except BaseException:
            if not batch.decided:
                batch.asked.remove(one)
            self._pass_on(batch)
            raise
        if not one.waits:
            self._pass_on(batch)
            return
        for other in batch.asked:
            other.wake(outcome.Value(False))

    def _pass_on(self, batch: _Batch) -> None:
        """Let the next one lead."""
        for other in batch.asked:
            if other.task is not None:
                other.wake(outcome.Value(True))
                return

    # --- deciding ---------------------------------------------------------------------------------------

    def _decide(self, batch: _Batch) -> None:
        if batch.decided:
            return
        if self._gathering is batch:
            self._gathering = None
        batch.decided = True
        for at in range(0, len(batch.asked), _MOST):
            self._decide_some(batch.asked[at : at + _MOST])
        for one in batch.asked:
            if not one.waits:
                one.wake(outcome.Value(False))

    def _decide_some(self, asked: list[_Asked]) -> None:
        commands = tuple([one.command for one in asked])
        if len(commands) > 1:
            together = EnqueueTogether(at_ms=max([one.at_ms for one in commands]), commands=commands)
            try:
                reply = self._handle(together)
            except LANE_ERRORS:
                pass  # perhaps because of one of them only: the others must not suffer for it
            else:
                for place, one in enumerate(asked):
                    one.outcome = reply if reply.refusal is not None else _OUTCOMES[reply.queueings[place]]
                return
        for one in asked:
            try:
                one.outcome = self._handle(one.command)
            except LANE_ERRORS as error:
                one.error = error
