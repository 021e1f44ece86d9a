"""What waits in the mailbox of a lane actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import outcome
import trio

from web4.foundation.errors import Web4Error

if TYPE_CHECKING:
    from web4.actors.effects import Result


class Entry:
    """A command on its way, and the task that waits for its reply, if one does."""

    __slots__ = ("command", "deaths", "result", "since", "task")

    def __init__(
        self,
        command: Any,
        since: int,
        *,
        task: trio.lowlevel.Task | None = None,
        result: Result | None = None,
    ) -> None:
        self.command = command
        self.since = since
        self.task = task
        self.result = result
        self.deaths = 0

    def refuse(self, error: Exception) -> None:
        """Wake whoever waits, with an error that many may be told."""
        self.answer(outcome.Error(error.again() if isinstance(error, Web4Error) else error))

    def answer(self, value: outcome.Value[Any] | outcome.Error) -> None:
        """Wake whoever waits."""
        task, self.task = self.task, None
        if task is not None:
            trio.lowlevel.reschedule(task, value)
