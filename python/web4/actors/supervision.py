"""Supervisors of plain actors: who is restarted with whom, how soon, and when no more (ACT-5)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import trio

from web4.actors.actor import Actor, ActorCell, ActorRef
from web4.actors.errors import ActorStoppedError, RestartLimitError
from web4.actors.mailbox import Mailbox
from web4.actors.restarting import RestartBudget, RestartPolicy
from web4.foundation.events import no_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from web4.actors.actor import Message, Reply
    from web4.foundation.events import Emitter

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""Which actors start anew when one crashed: it alone; all; it and those that were started after it."""


class _Child:
    def __init__(self, cell: ActorCell[Any, Any]) -> None:
        self.cell = cell
        self.scope = trio.CancelScope()
        self.may_run = trio.Event()
        self.may_run.set()
        self.down = trio.Event()
        """Set while no instance runs."""
        self.down.set()
        self.gone = trio.Event()
        """Set when there will be no instance any more."""


class Supervisor:
    """Actors that live and are restarted together. Open one with `open_supervisor`."""

    def __init__(
        self, strategy: Strategy, budget: RestartBudget, nursery: trio.Nursery, emit: Emitter
    ) -> None:
        self.failure: RestartLimitError | None = None
        self._strategy = strategy
        self._budget = budget
        self._nursery = nursery
        self._emit = emit
        self._children: list[_Child] = []
        self._restarting: set[_Child] = set()
        self._stopping = False

    def start(
        self, name: str, make: Callable[[], Actor[Message, Reply]], *, mailbox: Mailbox[Any] | None = None
    ) -> ActorRef[Message, Reply]:
        """Start an actor; its handle, which outlives its crashes.

        Args:
            name: For people and events.
            make: Makes an instance: at start, and after each crash.
            mailbox: With other bounds than the usual ones.

        Raises:
            ActorStoppedError: The supervisor stops.
        """
        if self._stopping:
            raise ActorStoppedError("the supervisor is being stopped")
        cell = ActorCell(name, make, Mailbox() if mailbox is None else mailbox)
        child = _Child(cell)
        self._children.append(child)
        self._nursery.start_soon(self._run, child, name=f"actor {name}")
        return ActorRef(cell)

    async def stop(self, deadline_seconds: float) -> bool:
        """Let every actor handle what it has, the last started first to be told; then cancel what is left.

        Returns:
            Whether all of them ended within `deadline_seconds`.
        """
        self._stopping = True
        children = list(reversed(self._children))
        for child in children:
            child.cell.stopping = True
            child.cell.mailbox.wake()
        with trio.move_on_after(deadline_seconds) as scope:
            for child in children:
                await child.gone.wait()
        for child in children:
            child.scope.cancel()
        return not scope.cancelled_caught

    # --- one child --------------------------------------------------------------------------------------

    async def _run(self, child: _Child) -> None:
        try:
            while True:
                while not child.may_run.is_set():  # it may be withdrawn before this task is awake
                    await child.may_run.wait()
                crash = await self._instance(child)
                if crash is not None:
                    await self._crashed(child, crash)
                elif not child.scope.cancel_called or self._stopping:
                    return
        finally:
            child.cell.end()
            self._children.remove(child)
            child.gone.set()

    async def _instance(self, child: _Child) -> Exception | None:
        """Run an instance; how it crashed, or None: it ended, or was cancelled."""
        child.down = trio.Event()
        child.scope = trio.CancelScope()
        try:
            with child.scope:
                await child.cell.live()
        except Exception as error:
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            return error
        finally:
            child.down.set()
        return None

    # --- restarts ---------------------------------------------------------------------------------------

    async def _crashed(self, child: _Child, error: Exception) -> None:
        reason = type(error).__name__
        self._emit("actor_crashed", severity="error", actor=child.cell.name, reason=reason)
        pause = self._budget.crashed(trio.current_time())
        if pause is None:
            if self.failure is None:
                self.failure = RestartLimitError(
                    f"{child.cell.name} and its like crashed too often ({reason})"
                )
                self.failure.__cause__ = error
            self._nursery.cancel_scope.cancel()
            await trio.lowlevel.checkpoint()
        elif child in self._restarting:
            await trio.lowlevel.checkpoint()  # it starts again with the group that it belongs to
        elif self._strategy == "one_for_one" or self._stopping:
            await trio.sleep(pause)
        else:
            await self._restart_group(self._group(child), child, pause)

    def _group(self, child: _Child) -> list[_Child]:
        if self._strategy == "one_for_all":
            return list(self._children)
        return self._children[self._children.index(child) :]

    async def _restart_group(self, group: list[_Child], crashed: _Child, pause: float) -> None:
        """Stop the others, last started first; start all again in the order of their first start."""
        group = [child for child in group if child not in self._restarting]
        self._restarting.update(group)
        for child in reversed(group):
            child.may_run = trio.Event()
            if child is not crashed:
                child.scope.cancel()
                await child.down.wait()
        await trio.sleep(pause)
        self._nursery.start_soon(self._start_in_order, group)

    async def _start_in_order(self, group: list[_Child]) -> None:
        for child in group:
            self._restarting.discard(child)
            child.cell.up = trio.Event()
            child.may_run.set()
            await child.cell.up.wait()


@asynccontextmanager
async def open_supervisor(
    strategy: Strategy = "one_for_one",
    *,
    policy: RestartPolicy | None = None,
    seed: int = 0,
    stop_seconds: float = 30.0,
    emit: Emitter = no_events,
) -> AsyncIterator[Supervisor]:
    """Supervise actors; on leaving, stop them gracefully within `stop_seconds`, then for good.

    Args:
        strategy: See `Strategy`.
        policy: How often, and how soon; counted for all its actors together.
        seed: Of the jitter.
        stop_seconds: How long actors may take to handle what they have.
        emit: Where `actor_crashed` goes.

    Raises:
        RestartLimitError: Too many restarts: its actors were stopped, and the body was cancelled.
    """
    supervisor: Supervisor | None = None
    async with trio.open_nursery() as nursery:
        budget = RestartBudget(policy or RestartPolicy(), seed)
        supervisor = Supervisor(strategy, budget, nursery, emit)
        yield supervisor
        await supervisor.stop(stop_seconds)
        nursery.cancel_scope.cancel()
    if supervisor.failure is not None:
        raise supervisor.failure
