"""Actors without a journal: a mailbox, one message at a time, handles for everybody else (ACT-4)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import outcome
import trio

from web4.actors.errors import ActorCrashError, ActorStoppedError, DeadlockError, MailboxFullError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from web4.actors.mailbox import Mailbox

Message = TypeVar("Message")
Reply = TypeVar("Reply")

_asking: ContextVar[ActorCell[Any, Any] | None] = ContextVar("_asking", default=None)
"""The actor on whose behalf the current task runs, if that actor waits for the task."""


class Actor(ABC, Generic[Message, Reply]):
    """Base of actors: override `receive`. One message is handled at a time; its result answers an ask.

    An exception out of any method is a crash: the supervisor starts a new instance, and the mailbox survives. The
    message that the actor died of is not handled again.
    """

    _cell: ActorCell[Message, Reply] | None = None

    async def started(self) -> None:
        """Called before the first message of each instance."""
        await trio.lowlevel.checkpoint()

    @abstractmethod
    async def receive(self, message: Message) -> Reply:
        """Handle a message."""

    async def noticed(self, key: Hashable, value: Any) -> None:
        """Look at the latest value of telemetry of a key (ACT-4c)."""
        await trio.lowlevel.checkpoint()

    async def stopped(self) -> None:
        """Called after the last message when the actor is stopped in order; not after a crash."""
        await trio.lowlevel.checkpoint()

    def start_soon(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        """Start a child task: work that takes long and must not keep messages waiting.

        It is cancelled with the actor, and its exception is the actor's crash.

        Raises:
            RuntimeError: The actor does not run.
        """
        nursery = None if self._cell is None else self._cell.nursery
        if nursery is None:
            raise RuntimeError("only a running actor starts tasks")
        # The child may ask whom it likes: the actor does not wait for it.
        context = copy_context()
        context.run(_asking.set, None)
        context.run(nursery.start_soon, function, *arguments)


class _Ask:
    __slots__ = ("message", "task")

    def __init__(self, message: Any, task: trio.lowlevel.Task) -> None:
        self.message = message
        self.task: trio.lowlevel.Task | None = task

    def answer(self, value: outcome.Value[Any] | outcome.Error) -> None:
        task, self.task = self.task, None
        if task is not None:
            trio.lowlevel.reschedule(task, value)


class ActorCell(Generic[Message, Reply]):
    """What of an actor survives its crashes: name, mailbox, and who waits for whom. Made by a supervisor."""

    def __init__(self, name: str, make: Callable[[], Actor[Message, Reply]], mailbox: Mailbox[Any]) -> None:
        self.name = name
        self.mailbox = mailbox
        self.nursery: trio.Nursery | None = None
        self.up = trio.Event()
        """Set when the instance that was last awaited has started, or has crashed before it had."""
        self.stopping = False
        self.waits_for: dict[ActorCell[Any, Any], int] = {}
        """Whom the message being handled asks at the moment, and how often."""
        self._make = make
        self._batch: deque[Any] = deque()

    async def live(self) -> None:
        """Run one instance until it is stopped.

        Raises:
            Exception: It crashed.
        """
        actor = self._make()
        actor._cell = self  # noqa: SLF001 - the two halves of one thing
        self.waits_for.clear()
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                _asking.set(self)
                await actor.started()
                self.up.set()
                await self._serve(actor)
                await actor.stopped()
                nursery.cancel_scope.cancel()
        finally:
            self.nursery = None
            self.up.set()

    async def _serve(self, actor: Actor[Message, Reply]) -> None:
        mailbox, batch = self.mailbox, self._batch
        while True:
            if batch or self.stopping:  # what the instance before this one has left
                await trio.lowlevel.checkpoint()
            else:
                await mailbox.wait()
            for key, value in mailbox.telemetry().items():
                await actor.noticed(key, value)
            batch.extend(mailbox.drain())
            if self.stopping and not batch:
                return
            while batch:
                item = batch.popleft()
                if type(item) is _Ask:
                    await self._answer(actor, item)
                else:
                    await actor.receive(item)

    async def _answer(self, actor: Actor[Message, Reply], ask: _Ask) -> None:
        try:
            reply = await actor.receive(ask.message)
        except trio.Cancelled:
            ask.answer(outcome.Error(_stopped(self.name, "unknown_outcome")))
            raise
        except BaseException:
            ask.answer(outcome.Error(ActorCrashError(f"{self.name} died of the message")))
            raise
        ask.answer(outcome.Value(reply))

    def end(self) -> None:
        """Take nothing more, and tell everybody who still waits."""
        self.stopping = True
        self._batch.extend(self.mailbox.drain(len(self.mailbox)))
        for item in self._batch:
            if type(item) is _Ask:
                item.answer(outcome.Error(_stopped(self.name)))
        self._batch.clear()

    def leads_to(self, target: ActorCell[Any, Any]) -> bool:
        """Whether this is `target`, or waits for it in the end."""
        seen, look = {self}, [self]
        while look:
            cell = look.pop()
            if cell is target:
                return True
            look += [one for one in cell.waits_for if one not in seen]
            seen.update(cell.waits_for)
        return False


def _stopped(name: str, code: str = "stopped") -> ActorStoppedError:
    return ActorStoppedError(f"{name} was stopped", code=code)


class ActorRef(Generic[Message, Reply]):
    """A handle on an actor: all that others ever hold of it (ACT-4d)."""

    __slots__ = ("_cell", "_work")

    def __init__(self, cell: ActorCell[Message, Reply]) -> None:
        self._cell = cell
        self._work = cell.mailbox.work

    def __repr__(self) -> str:
        return f"<ActorRef {self.name}>"

    @property
    def name(self) -> str:
        """The actor's name."""
        return self._cell.name

    def tell(self, message: Message) -> None:
        """Queue a message, and wait for nothing.

        Raises:
            MailboxFullError: `busy`.
            ActorStoppedError: There is no actor any more.
        """
        if self._cell.stopping:
            raise _stopped(self.name)
        self._work(message)

    def control(self, message: Message) -> None:
        """Queue a message that is handled before those of `tell` and `ask`.

        Raises:
            MailboxFullError, ActorStoppedError: As `tell`.
        """
        if self._cell.stopping:
            raise _stopped(self.name)
        self._cell.mailbox.control(message)

    def report(self, key: Hashable, value: Any) -> bool:
        """Leave a value of telemetry; whether there was a slot for it (ACT-4c)."""
        return not self._cell.stopping and self._cell.mailbox.report(key, value)

    async def ask(self, message: Message) -> Reply:
        """Queue a message; what the actor's `receive` returns for it.

        Cancellation: the message is handled all the same.

        Raises:
            DeadlockError: At once: the actor asked waits, in the end, for the one that asks.
            MailboxFullError: `busy`.
            ActorCrashError: It died of the message.
            ActorStoppedError: It was stopped before; `unknown_outcome`: while it handled the message.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        cell, asker = self._cell, _asking.get()
        if cell.stopping:
            raise _stopped(self.name)
        if asker is not None and cell.leads_to(asker):
            raise DeadlockError(f"{asker.name} asks {cell.name}, which waits for {asker.name}")
        ask = _Ask(message, trio.lowlevel.current_task())
        try:
            self._work(ask)
        except MailboxFullError:
            await trio.lowlevel.checkpoint()  # whoever tries again and again lets others run
            raise

        def abandon(_: object) -> trio.lowlevel.Abort:
            ask.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        if asker is None:
            reply: Reply = await trio.lowlevel.wait_task_rescheduled(abandon)
            return reply
        asker.waits_for[cell] = asker.waits_for.get(cell, 0) + 1
        try:
            reply = await trio.lowlevel.wait_task_rescheduled(abandon)
        finally:
            if asker.waits_for.get(cell, 0) > 1:
                asker.waits_for[cell] -= 1
            else:
                asker.waits_for.pop(cell, None)
        return reply
