"""Sends and flushes of a session that wait, and how they end (RTT-41, RTT-62)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.rtt.session import RttSession


class _Wait:
    __slots__ = ("result", "task")

    def __init__(self) -> None:
        self.task: trio.lowlevel.Task | None = None
        self.result: bool | None = None


class Waits:
    """Who waits for a ticket. The native session gets the ticket's number, and names it when the wait is over."""

    def __init__(self, session: RttSession) -> None:
        self._session = session
        self._waiting: dict[int, _Wait] = {}
        self.ticket = 1
        """A number for the next send or flush that may have to wait; it is used up when it does."""

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, ticket: int, status: int, cancel: Callable[[], bool]) -> bool:
        """Wait for a ticket; False when it failed. `cancel` takes it back, and says whether it still could."""
        self.ticket = ticket + 1
        wait = self._waiting[ticket] = _Wait()
        self._session.react(status)
        if wait.result is None:

            def abort(_: object) -> trio.lowlevel.Abort:
                if not cancel():
                    # It is done, and its event is on the way: the caller must learn that (RTT-62).
                    return trio.lowlevel.Abort.FAILED
                del self._waiting[ticket]
                return trio.lowlevel.Abort.SUCCEEDED

            wait.task = trio.lowlevel.current_task()
            self._session.pump.attend()
            try:
                await trio.lowlevel.wait_task_rescheduled(abort)
            except BaseException:
                # Who stood behind a batch that was taken back may have been let in.
                self._session.react(self._session.link.write())
                raise
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return bool(wait.result)

    def conclude(self, ticket: int, *, done: bool) -> None:
        """The native session says how a wait ended."""
        wait = self._waiting.pop(ticket, None)
        if wait is not None:
            wait.result = done
            if wait.task is not None:
                trio.lowlevel.reschedule(wait.task)
