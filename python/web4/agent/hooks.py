"""Hooks around the cycle of a task: they may annotate or veto, and a failing one before a step vetoes (LOOP-6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from web4.ext.hooks import LOOP_POINTS, Annotate, LoopStep, Veto
from web4.extensions.hooks.hook_answers import MAX_REASON
from web4.protocols.router.foreign import shut_in
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from web4.agent.tasks import Task
    from web4.extensions.hooks.hooks import HookChain
    from web4.foundation.events import Emitter

LoopHook = Callable[["Task", Any], Awaitable[Annotate | Veto | None]]
"""Asked with the task and what is known at the point: the result after it was decided, None before."""


class HookVetoed(Exception):  # noqa: N818 - a decision, not an error
    """A hook vetoed a step. Stays in this room."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Hook(NamedTuple):
    name: str
    ask: Callable[[str, Task, Any], Awaitable[str | None]]
    """The reason of a veto, or None. Raises when it fails."""
    points: Callable[[str], int]
    """How many hooks it stands for at a point: so many times the limit it may take."""


class Hooks:
    """The hooks of an agent loop, asked in order of registration.

    Args:
        limit_ms: How long one may take.
        emit: Gets `hook_veto` and `error` events.
    """

    def __init__(self, limit_ms: int, emit: Emitter) -> None:
        self._limit_ms = limit_ms
        self._emit = emit
        self._hooks: list[_Hook] = []

    def add(self, point: str, hook: LoopHook, *, name: str | None = None) -> None:
        """Append a hook of this program.

        Args:
            point: Where it is asked.
            hook: See `LoopHook`.
            name: What events call it, and what the asker is told of a veto; the function's own if left out.

        Raises:
            ValueError: There is no such point.
        """
        if point not in LOOP_POINTS:
            raise ValueError(f"there is no point {point!r} in the loop")
        called = name or str(getattr(hook, "__qualname__", type(hook).__name__))

        async def ask(_point: str, task: Task, known: Any) -> str | None:
            answer = await hook(task, known)
            if isinstance(answer, Annotate):
                self._annotated(point, called, task, answer.annotation)
            elif isinstance(answer, Veto):
                return answer.reason or "vetoed"
            elif answer is not None:
                raise TypeError("a hook of the loop gives Annotate, Veto or None")
            return None

        self._hooks.append(_Hook(called, ask, lambda at: int(at == point)))

    def add_extensions(self, chain: HookChain) -> None:
        """Append the hooks of extensions, at every point they have; they run in their workers (EXT-10)."""

        async def ask(point: str, task: Task, _known: Any) -> str | None:
            told = {"task_id": task.task_id, "kind": task.kind, "peer": task.peer, "priority": task.priority}
            step = LoopStep(task=told, state=task.presence.now.phase)
            verdict = await chain.ask(point, step, CallContext())
            for one in verdict.annotations:
                self._annotated(point, one.extension, task, one.annotation)
            for failure in verdict.failures:
                self._failed(point, failure.extension, task, failure.code)
            if verdict.proceeds and verdict.failures and point.startswith("before_"):
                return f"hook_failed: {verdict.failures[0].extension}"
            return None if verdict.proceeds else verdict.reason or "vetoed"

        self._hooks.append(_Hook("extensions", ask, lambda at: len(chain.at(at))))

    async def ask(self, point: str, task: Task, known: Any = None) -> None:
        """Ask the hooks of a point.

        Raises:
            HookVetoed: One of them vetoed, or failed before a step. Recorded as `hook_veto`.
        """
        for hook in self._hooks:
            if count := hook.points(point):
                reason = await self._ask_one(hook, point, task, known, count * self._limit_ms / 1_000)
                if reason is not None:
                    self._emit(
                        "hook_veto",
                        severity="warning",
                        lane=task.lane,
                        peer=task.peer,
                        msg_id=task.msg_id,
                        task_id=task.task_id,
                        point=point,
                        hook=hook.name,
                        reason=reason[:MAX_REASON],
                    )
                    raise HookVetoed(f"hook_veto: {hook.name}")

    async def _ask_one(self, hook: _Hook, point: str, task: Task, known: Any, seconds: float) -> str | None:
        failure = "timeout"
        try:
            with trio.move_on_after(seconds):
                return await shut_in(hook.ask, point, task, known)
        except Exception as error:
            failure = type(error.__cause__ or error).__name__
        self._failed(point, hook.name, task, failure)
        return f"hook_failed: {failure}" if point.startswith("before_") else None

    def _annotated(self, point: str, name: str, task: Task, annotation: Any) -> None:
        self._emit(
            "phase",
            lane=task.lane,
            peer=task.peer,
            task_id=task.task_id,
            phase=task.presence.now.phase,
            point=point,
            hook=name,
            annotation=annotation,
        )

    def _failed(self, point: str, name: str, task: Task, failure: str) -> None:
        self._emit(
            "error",
            severity="warning",
            lane=task.lane,
            peer=task.peer,
            task_id=task.task_id,
            where="hook",
            hook=name,
            error=failure,
            detail=point,
        )
