"""One task through the cycle: perceive, update state, form intent, decide, trace, exchange, remember (LOOP-6)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio
from msgspec import UNSET

from web4.agent.hooks import HookVetoed
from web4.agent.ports import without_consent
from web4.agent.tasks import Result
from web4.agent.working import THRESHOLDS
from web4.foundation.errors import Web4Error
from web4.protocols.cip.lane_errors import LANE_ERRORS
from web4.protocols.messages.cip import Reply
from web4.protocols.router.errors import HandlerError
from web4.protocols.router.foreign import shut_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.agent.hooks import Hooks
    from web4.agent.options import AgentOptions
    from web4.agent.ports import Consent, Mission, Remember
    from web4.agent.task_lanes import TaskLane, Work
    from web4.agent.tasks import Task, TaskHandler
    from web4.agent.working import Working
    from web4.foundation.events import Emitter
    from web4.protocols.ports import SendMessage

    StartSoon = Callable[[Callable[[], Awaitable[None]]], None]

BLACKLISTED: Final = "blacklisted"
_ANSWERED: Final = frozenset({"INTENT", "HCP_INTENT", "HCP_CONTEXT"})
"""What a REPLY is due to (LOOP-5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """Works on tasks.

    Args:
        handler: The agent's loop.
        hooks: Asked around the steps.
        send: How the answer leaves; durable before anything else happens.
        start_soon: Runs the handler as a task of its own, so that one that does not yield can be left behind.
        kill: Ends the worker of a task that outlived its grace. Must not block.
        options, consent, mission, remember, emit: See `AgentLoopAdapter`.
    """

    handler: TaskHandler
    hooks: Hooks
    options: AgentOptions
    consent: Consent
    mission: Mission
    remember: Remember
    send: SendMessage
    start_soon: StartSoon
    kill: Callable[[Task], None] | None
    emit: Emitter

    async def run(self, lane: TaskLane, work: Work) -> None:
        """Work on a task whose turn it is, and conclude it. The asker's answer is durable when this returns.

        Cancellation: the handler's scope ends; the task is not concluded, and comes again after a restart.

        Raises:
            Web4Error: The answer cannot be sent.
        """
        task = work.task
        if work.reason is None:
            task.presence.observer = partial(self._moved, task)
            result = await self._considered(lane, work)
        else:
            result = Result(status="failed", reason=work.reason)
        work.concluding = True
        if work.reason is not None:
            self._cancelled(task, work.reason)
            if lane.current is work:
                lane.to("idle", task)
            if work.reason != BLACKLISTED:  # to a blacklisted peer nothing more is said (TRUST-8)
                await self._exchange(task, Result(status="failed", reason=work.reason))
            return
        lane.to("responding", task)
        try:
            await self.hooks.ask("before_exchange", task, result)
        except HookVetoed as veto:
            result = Result(status="failed", reason=veto.reason)
        await self._exchange(task, result)
        await self._after("after_exchange", task, result)
        try:
            await shut_in(self.remember, task, result)
        except HandlerError as error:
            self._report(task, "remember", error)
        await self._after("after_memory", task, result)
        task.presence.reach("reflect")
        task.presence.progress()
        task.presence.reset()

    # --- up to the decision, within the task's scope ----------------------------------------------------

    async def _considered(self, lane: TaskLane, work: Work) -> Result:
        """Let the cycle up to the decision run as a task of its own; what came of it."""
        came: list[Result] = []
        done = trio.Event()
        ended = trio.Event()

        async def consider() -> None:
            try:
                came.append(await self._in_scope(lane, work))
            finally:
                done.set()
                ended.set()

        self.start_soon(consider)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, work, done, ended)
            try:
                await done.wait()
            except trio.Cancelled:
                work.scope.cancel()
                raise
            nursery.cancel_scope.cancel()
        return came[0] if came else Result(status="failed", reason=work.reason or "cancelled")

    async def _in_scope(self, lane: TaskLane, work: Work) -> Result:
        task = work.task
        result = Result(status="failed", reason="cancelled")
        try:
            with work.scope:
                consent = without_consent if task.human is None else self.consent
                async with consent(task) as revocation, trio.open_nursery() as nursery:
                    nursery.start_soon(_tell_revocation, work, revocation)
                    result = await self._decided(lane, task)
                    work.concluding = work.reason is None
                    nursery.cancel_scope.cancel()
        except Web4Error as error:
            return Result(status="failed", reason=error.code)
        except Exception as error:  # consent could not be asked: no is the answer
            self._report(task, "consent", error)
            return Result(status="failed", reason="no_consent")
        return result

    async def _decided(self, lane: TaskLane, task: Task) -> Result:
        """Perceive, update state, form intent, decide. Whatever goes wrong is a result."""
        try:
            await self.hooks.ask("before_perceive", task)
            lane.to("thinking", task)
            task.presence.reach("interpret")
            await self.hooks.ask("after_state", task)
            if task.kind == "HCP_INTENT":  # an INTENT was judged when it was accepted
                verdict = await self.mission(task)
                if not verdict.passes:
                    return Result(status="failed", reason=verdict.reason)
            task.presence.progress()
            await self.hooks.ask("before_decide", task)
            result = _checked(await shut_in(self.handler, task))
            await self.hooks.ask("after_decide", task, result)
        except HookVetoed as veto:
            return Result(status="failed", reason=veto.reason)
        except HandlerError as error:
            self._report(task, "handler", error)
            return Result(status="failed", reason="handler_failed")
        except Exception as error:
            self._report(task, "mission", error)
            return Result(status="failed", reason="mission_unknown")
        if result.confidence is not None:
            task.presence.say(confidence=result.confidence)
        return result

    async def _watch(self, work: Work, done: trio.Event, ended: trio.Event) -> None:
        """Give the task up at its deadline; give a cancelled handler its grace, kill it, then go on (LOOP-4)."""
        grace = self.options.cancel_grace_ms / 1_000
        with trio.move_on_at(work.expires):
            await work.task.cancelled.wait()
        work.cancel("timeout")
        with trio.move_on_after(grace):
            await ended.wait()
        if not ended.is_set() and self.kill is not None:
            try:
                self.kill(work.task)
            except Exception as error:
                self._report(work.task, "kill", error)
            with trio.move_on_after(grace):
                await ended.wait()
        if not ended.is_set():
            self._report(work.task, "handler", None)
            done.set()

    # --- answering --------------------------------------------------------------------------------------

    async def _exchange(self, task: Task, result: Result) -> None:
        """Answer the asker, then send what else there is (LOOP-5). HCP's contents go by HCP only."""
        for output in result.outputs:
            try:
                await self.send(
                    output.peer, output.payload, corr_id=output.corr_id or task.corr_id, about=output.about
                )
            except LANE_ERRORS:
                raise
            except Web4Error as error:
                self._report(task, "output", error)
                result = Result(status="failed", reason=f"output_refused: {error.code}")
                break
        if task.kind in _ANSWERED:
            content = result.content if task.kind == "INTENT" else None
            reply = Reply(
                in_reply_to=task.msg_id,
                status=result.status,
                reason=result.reason,
                content=UNSET if content is None else content,
            )
            await self.send(task.peer, reply, corr_id=task.corr_id)

    async def _after(self, point: str, task: Task, result: Result) -> None:
        with suppress(HookVetoed):  # recorded; what was done is done
            await self.hooks.ask(point, task, result)

    # --- telling ----------------------------------------------------------------------------------------

    def _moved(self, task: Task, now: Working) -> None:
        about: dict[str, Any] = {"threshold": now.phase} if now.phase in THRESHOLDS else {}
        self.emit(
            "phase",
            severity="debug",
            lane=task.lane,
            peer=task.peer,
            task_id=task.task_id,
            phase=now.phase,
            **about,
        )

    def _cancelled(self, task: Task, reason: str) -> None:
        self.emit(
            "task_cancelled",
            lane=task.lane,
            peer=task.peer,
            msg_id=task.msg_id,
            corr_id=task.corr_id,
            task_id=task.task_id,
            reason=reason,
            kind=task.kind,
        )

    def _report(self, task: Task, where: str, error: BaseException | None) -> None:
        cause = error if error is None else error.__cause__ or error
        about: dict[str, Any] = {} if cause is None else {"error": type(cause).__name__}
        self.emit(
            "error",
            severity="error",
            lane=task.lane,
            peer=task.peer,
            msg_id=task.msg_id,
            task_id=task.task_id,
            where=where,
            code="handler_abandoned" if error is None else getattr(error, "code", "handler_failed"),
            **about,
        )


async def _tell_revocation(work: Work, revocation: trio.CancelScope) -> None:
    """Notice that consent was revoked, though the handler may not."""
    try:
        await trio.sleep_forever()
    finally:
        if revocation.cancel_called:
            work.cancel("consent_revoked")


def _checked(result: object) -> Result:
    if isinstance(result, Result) and result.status in ("done", "failed"):
        return result
    raise HandlerError("a handler gives a Result", code="handler_failed")
