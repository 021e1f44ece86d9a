"""Handles on lane actors: all that others ever hold of them (ACT-4d)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from web4.actors.entry import Entry
from web4.actors.errors import ActorStoppedError, MailboxFullError
from web4.foundation.errors import Web4Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.actors.lane_actor import LaneActor
    from web4.actors.lane_actors import LaneActors
    from web4.journal.lane import Lane


class LaneRef:
    """A handle on the actor of a lane, whether or not it runs at the moment (ACT-4d). Cheap; keep it or drop it."""

    __slots__ = ("_actor", "_actors", "lane")

    def __init__(self, actors: LaneActors, lane: Lane) -> None:
        self.lane = lane
        self._actors = actors
        self._actor: LaneActor | None = None

    def __repr__(self) -> str:
        return f"<LaneRef {self.lane}>"

    async def ask(self, command: Any, *, control: bool = False) -> Any:
        """Give a command; its reply, once what it led to is durable (ACT-2a).

        Cancellation: the command is decided all the same; the lane tells how (JRN-5e).

        Args:
            command: What the lane's logic decides. `stops` cuts off effects at once while the journal cannot write.
            control: Whether it is served before work: abort, steer, a consent revoked.

        Raises:
            MailboxFullError: `busy`: the queue is full. The command was not taken.
            LaneHalted: The lane takes nothing any more.
            JournalUnavailable: The journal cannot write, or was closed. `suspended`, `no_space`: the command was not
                taken.
            JournalError: The journal does not take what the command leads to (JRN-4e).
            ActorCrashError: The actor died of the command twice (ACT-5b).
            ActorStoppedError: The node stops, `unknown_outcome`: it stopped before the outcome was durable.
            NotWriterError, WrongExpectedSeq: Another node writes the lane (JRN-4f).
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            entry = self._send(command, trio.lowlevel.current_task(), control=control)
        except Web4Error:
            await trio.lowlevel.checkpoint()  # whoever tries again and again lets others run
            raise

        def abandon(_: object) -> trio.lowlevel.Abort:
            entry.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abandon)

    def tell(self, command: Any, *, control: bool = False) -> None:
        """Give a command without waiting for anything.

        Raises:
            Everything that `ask` raises before the command is taken.
        """
        self._send(command, None, control=control)

    async def state(self) -> Any:
        """The lane's state as it is durable (ACT-2d).

        Raises:
            LaneHalted, JournalUnavailable, NotWriterError, ActorStoppedError: As `ask`.
        """
        while True:
            actor = self._actors.actor(self.lane)
            await actor.settled.wait()
            if actor.ended is None and actor.writer is not None:
                return actor.writer.durable_state
            if actor.ended is not None and not isinstance(actor.ended, ActorStoppedError):
                raise actor.ended.with_traceback(None)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the actor from being passivated: somebody follows the lane (ACT-6)."""
        actor = self._actors.actor(self.lane)
        actor.holds += 1
        try:
            yield
        finally:
            actor.holds -= 1

    def _send(self, command: Any, task: trio.lowlevel.Task | None, *, control: bool) -> Entry:
        actor = self._actor
        if actor is None or actor.ended is not None:
            actor = self._actor = self._actors.actor(self.lane)
        entry = Entry(command, self._actors.now(), task=task)
        self._actors.admit(actor, command, control=control)
        try:
            if control:
                actor.mailbox.control(entry)
            else:
                actor.mailbox.work(entry)
        except MailboxFullError:
            self._actors.metrics.refused += 1
            raise
        return entry
