"""`AgentLoopAdapter`: binds a router to an agent's loop, whoever wrote it (section 17, WEB-6)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from msgspec.structs import replace

from web4.agent.cycle import BLACKLISTED, Cycle
from web4.agent.hooks import Hooks
from web4.agent.options import AgentOptions
from web4.agent.ports import no_memory, no_mission, without_consent
from web4.agent.questions import Answer, Questions
from web4.agent.task_lanes import Coming, TaskLanes, Work
from web4.agent.tasks import task_of
from web4.foundation.clock import SystemClock
from web4.foundation.errors import Web4Error
from web4.foundation.ids import SystemIds
from web4.protocols.cip.intents import accept, defer, refuse
from web4.protocols.messages.cip import Intent, Reply
from web4.protocols.router.errors import HandlerError
from web4.protocols.router.foreign import shut_in
from web4.protocols.router.results import HandlerResult, Output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.agent.ports import Consent, Mission, Remember
    from web4.agent.task_lanes import TaskLane
    from web4.agent.tasks import Priority, Task, TaskHandler
    from web4.foundation.clock import Clock
    from web4.foundation.ids import IdSource
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.cip.intents import IntentAnswer
    from web4.protocols.messages.fields import JsonObject
    from web4.protocols.router.router import ProtocolRouter
    from web4.trust import TrustEvent


def same_kind(work: Task, new: Task) -> bool:
    """Let a new message of a conversation supersede work on one of the same type."""
    return work.kind == new.kind


def nothing_twice(_task: Task) -> bool:
    """Say of every task that it may not be begun again after a crash."""
    return False


async def accept_all(_task: Task) -> IntentAnswer:
    """Take on whatever there is room for."""
    return accept()


class AgentLoopAdapter:
    """Gives what peers and humans ask to an agent's loop as tasks, and sends what it answers.

        async def handler(task):
            return Result(content={"echo": task.content["topic"].text})

        AgentLoopAdapter(router, handler)

    Making it registers it: for INTENT and REPLY, and behind the consent gate for HCP_INTENT and HCP_CONTEXT, so
    register the gate first. Each lane works on one task at a time; those of other lanes never wait for it. An
    INTENT is answered at once, and again at the end of its task, through the outbox. Until that is durable a crash
    lets the task come again: it is begun anew if it is idempotent, and answered `failed` (`interrupted`) if not.

    Args:
        router: Where messages come from.
        handler: The loop: awaited with each task. Cancelling, revocation and the deadline end its scope.
        options: See `AgentOptions`.
        admit: Says whether an INTENT is taken on, within `CipOptions.intent_deadline_ms`.
        idempotent: Whether a task may be begun again after a crash.
        supersedes: Whether work gives way to a new message of its own lane, peer and conversation (LOOP-3).
        consent: Where work for a human runs: `lambda task: hcp.running(task.human)`.
        mission: Judges what is taken on.
        remember: Told what came of each task.
        kill: Ends the worker in which a task's handler runs, when it outlived its grace (LOOP-4). Must not block.
        clock, ids: Where time and ids come from.
    """

    def __init__(
        self,
        router: ProtocolRouter,
        handler: TaskHandler,
        *,
        options: AgentOptions | None = None,
        admit: Callable[[Task], Awaitable[IntentAnswer]] = accept_all,
        idempotent: Callable[[Task], bool] = nothing_twice,
        supersedes: Callable[[Task, Task], bool] = same_kind,
        consent: Consent = without_consent,
        mission: Mission = no_mission,
        remember: Remember = no_memory,
        kill: Callable[[Task], None] | None = None,
        clock: Clock | None = None,
        ids: IdSource | None = None,
    ) -> None:
        self.router = router
        self.options = AgentOptions() if options is None else options
        self.hooks = Hooks(self.options.hook_ms, router.emit)
        """The hooks of the loop: `add` one at a point, or those of extensions."""
        self._admit = admit
        self._idempotent = idempotent
        self._supersedes = supersedes
        self._mission = mission
        self._clock = SystemClock() if clock is None else clock
        self._ids = SystemIds() if ids is None else ids
        self._began_ms = self._clock.wall_ms()
        self._lanes = TaskLanes(router.emit)
        self._questions = Questions(self.options.asked)
        self._coming = Coming()
        self._number = 0
        self._cycle = Cycle(
            handler=handler,
            hooks=self.hooks,
            options=self.options,
            consent=consent,
            mission=mission,
            remember=remember,
            send=router.host.send,
            start_soon=router.start_soon,
            kill=kill,
            emit=router.emit,
        )
        for protocol, name in (("cip", "INTENT"), ("hcp", "HCP_INTENT"), ("hcp", "HCP_CONTEXT")):
            router.register(protocol, name, self._begin)
        router.register("cip", "REPLY", self._hear)
        router.register("cip", "STATE_UPDATE", self._noticed)
        router.host.accept_intent = self.accept_intent
        router.host.trust.observe(self._on_trust)

    # --- tasks ------------------------------------------------------------------------------------------

    def tasks(self) -> list[Task]:
        """What is worked on, and what waits, by lane."""
        return [work.task for lane in self._lanes for work in lane.all()]

    def cancel(self, task_id: str, reason: str = "cancelled") -> bool:
        """Cancel a task; whether it was there and in time (LOOP-4). Its asker is told `failed` with the reason."""
        work = self._lanes.find(task_id)
        return work is not None and work.cancel(reason)

    async def ask(
        self,
        peer: str,
        *,
        goal: str,
        topic: str,
        priority: Priority = "normal",
        context: JsonObject | None = None,
        corr_id: str | None = None,
    ) -> Answer:
        """Ask a peer, and wait for how it concludes that. What it says is its text: data (LIP-7).

        Cancellation: the question stays asked; what comes then is a task of kind REPLY. Likewise after a crash.

        Raises:
            AgentError: `too_many_questions`.
            Web4Error: Everything that sending raises.
        """
        msg_id = self._ids.uuid4()
        intent = Intent(goal=goal, topic=topic, priority=priority, context=context or {})  # type: ignore[arg-type]
        self._questions.put(peer, msg_id)
        try:
            await self.router.host.send(peer, intent, corr_id=corr_id or self._ids.uuid4(), msg_id=msg_id)
            return await self._questions.answered(peer, msg_id)
        finally:
            self._questions.drop(peer, msg_id)

    # --- what the runtime and the router ask ------------------------------------------------------------

    async def accept_intent(self, delivery: Delivery) -> IntentAnswer:
        """Answer an INTENT at once (LOOP-5): the first thing that is asked about it."""
        task = self._task(delivery)
        if self._full(task.lane):
            return self._deferred(task)
        answer = await self._admit(task)
        if answer.status != "accepted":
            return answer
        try:
            verdict = await self._mission(task)  # last: what passes counts as accepted (DRIFT-2)
        except Web4Error:
            return self._deferred(task, "mission_unknown")
        if not verdict.passes:
            return refuse(verdict.reason)
        if self._full(task.lane):  # others came meanwhile
            return self._deferred(task)
        self._coming.put(delivery.peer, delivery.msg_id, task.lane)
        self._tell("intent_accepted", task, reason=answer.reason)
        return answer

    async def _begin(self, delivery: Delivery) -> HandlerResult:
        """Make a task of a message and let it wait for its turn; the message is settled when it is concluded."""
        accepted = self._coming.take(delivery.peer, delivery.msg_id)
        task = self._task(delivery, again=not accepted and delivery.received_ms < self._began_ms)
        if task.again and not self._idempotent(task):
            return HandlerResult(outputs=(self._reply(task, "failed", "interrupted"),))
        if not accepted and self._full(task.lane):
            self._tell("intent_deferred", task, reason="busy", retry_after_ms=self.options.retry_after_ms)
            return HandlerResult("deferred", outputs=(self._reply(task, "deferred", "busy"),))
        for lane in self._lanes:
            if lane.name == task.lane:
                self._supersede(lane, task)
        work = self._work(task)
        return HandlerResult(rest=partial(self._conclude, self._lanes.put(work), work))

    async def take(self, delivery: Delivery) -> None:
        """Begin what came by HCP and had to wait for a human: the router brought it before (HCP-5).

        It counts as come now: its time begins, and however long it waited, over a restart too, it was not begun before.
        Waits until the router runs.

        Raises:
            Web4Error: It finds no room, and that cannot be said.
        """
        await self.router.running.wait()
        begun = await self._begin(replace(delivery, received_ms=self._clock.wall_ms()))
        for output in begun.outputs:
            await self.router.host.send(
                output.peer, output.payload, corr_id=output.corr_id, about=output.about
            )
        if begun.rest is not None:
            self.router.start_soon(partial(self._finished, delivery, begun.rest))

    async def _finished(self, delivery: Delivery, rest: Callable[[], Awaitable[object]]) -> None:
        """Do the rest of what was taken. It has answered by itself; that it could not is an event."""
        try:
            await shut_in(rest)
        except HandlerError as error:
            self.router.emit(
                "error",
                severity="error",
                peer=delivery.peer,
                msg_id=delivery.msg_id,
                where="answer",
                code=error.code,
                error=type(error.__cause__ or error).__name__,
            )

    async def _hear(self, delivery: Delivery) -> HandlerResult:
        """Give a REPLY to whoever asked; as a task to the loop, if nobody here waits for it."""
        reply = delivery.message.payload
        assert isinstance(reply, Reply)
        if self._questions.hear(delivery) or reply.status == "accepted":
            return HandlerResult()
        task = self._task(delivery)
        if self._full(task.lane):
            return HandlerResult("deferred")
        work = self._work(task)
        return HandlerResult(rest=partial(self._conclude, self._lanes.put(work), work))

    async def _noticed(self, _delivery: Delivery) -> None:
        """A peer's state: the runtime holds the newest, and the outbox heeds it (PACE-4)."""

    async def _conclude(self, lane: TaskLane, work: Work) -> HandlerResult:
        """Wait for a task's turn, work on it, answer."""
        try:
            with trio.move_on_at(work.expires):
                await work.turn.wait()
            if not work.turn.is_set():
                work.cancel("timeout")
            await self._cycle.run(lane, work)
        finally:
            work.task.presence.reset()
            self._lanes.leave(lane, work)
        return HandlerResult()

    # --- inside -----------------------------------------------------------------------------------------

    def _task(self, delivery: Delivery, *, again: bool = False) -> Task:
        late = self._clock.wall_ms() - delivery.received_ms if again else 0
        return task_of(delivery, task_id=self._ids.uuid4(), lasts_ms=self.options.task_ms + late, again=again)

    def _work(self, task: Task) -> Work:
        self._number += 1
        left_ms = task.deadline_ms - self._clock.wall_ms()
        return Work(task, self._number, trio.current_time() + left_ms / 1_000)

    def _full(self, lane_name: str) -> bool:
        lane = self._lanes.get(lane_name)
        waiting = 0 if lane is None else len(lane.waiting)
        return waiting + self._coming.count(lane_name) >= self.options.waiting_per_lane

    def _supersede(self, lane: TaskLane, new: Task) -> None:
        for work in lane.all():
            old = work.task
            if (old.peer, old.corr_id) == (new.peer, new.corr_id) and self._supersedes(old, new):
                work.cancel("superseded")

    def _deferred(self, task: Task, reason: str = "busy") -> IntentAnswer:
        self._tell("intent_deferred", task, reason=reason, retry_after_ms=self.options.retry_after_ms)
        return defer(self.options.retry_after_ms, reason)

    def _reply(self, task: Task, status: str, reason: str) -> Output:
        later = {"retry_after_ms": self.options.retry_after_ms} if status == "deferred" else {}
        reply = Reply(in_reply_to=task.msg_id, status=status, reason=reason, **later)  # type: ignore[arg-type]
        return Output(task.peer, reply, corr_id=task.corr_id)

    def _tell(self, kind: str, task: Task, **about: Any) -> None:
        self.router.emit(
            kind,
            lane=task.lane,
            peer=task.peer,
            msg_id=task.msg_id,
            corr_id=task.corr_id,
            task_id=task.task_id,
            **about,
        )

    def _on_trust(self, peer: str, event: TrustEvent) -> None:
        """Blacklisting cancels a peer's work (TRUST-8)."""
        if event.moved and event.to == "blacklisted":
            for lane in self._lanes:
                for work in lane.all():
                    if work.task.peer == peer:
                        work.cancel(BLACKLISTED)
