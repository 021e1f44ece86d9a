"""An agent's loop behind two Trio channels: tasks come out, results go in (LOOP-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from web4.agent.errors import AgentError

if TYPE_CHECKING:
    from web4.agent.tasks import Result, Task

_TASKS: Final = 16
"""Tasks that may lie in the channel: as many as that many lanes begin before the loop takes one."""


class ChannelHandler:
    """A `TaskHandler` for a loop of another's that takes work from a channel.

        handler = ChannelHandler()
        adapter = AgentLoopAdapter(router, handler)
        async for task in handler.tasks:
            await handler.results(task, Result(content={"forecast": "dry"}))

    A task that is cancelled has its `cancelled` event set; its result is not waited for any more.
    """

    def __init__(self) -> None:
        self._out, self.tasks = trio.open_memory_channel["Task"](_TASKS)
        """`tasks` gives each task once, in order of the lanes' turns."""
        self._waiting: dict[str, tuple[trio.Event, list[Result]]] = {}

    async def __call__(self, task: Task) -> Result:
        """Hand a task out, and wait for its result."""
        done = trio.Event()
        results: list[Result] = []
        self._waiting[task.task_id] = (done, results)
        try:
            await self._out.send(task)
            await done.wait()
            return results[0]
        finally:
            del self._waiting[task.task_id]

    async def results(self, task: Task, result: Result) -> None:
        """Give the result of a task. Once.

        Raises:
            AgentError: `unknown_task`: it was cancelled meanwhile, or has its result.
        """
        await trio.lowlevel.checkpoint()
        waiting = self._waiting.get(task.task_id)
        if waiting is None or waiting[0].is_set():
            raise AgentError("no result of this task is waited for", code="unknown_task", peer=task.peer)
        waiting[1].append(result)
        waiting[0].set()
