"""The calls of one generation of one extension: who is served by whom, who waits, who is refused (section 9)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple

import msgspec
import trio

from web4.extensions.errors import WorkerStartError
from web4.extensions.manifests.manifest import Reuse
from web4.extensions.metrics import ExtensionMetrics
from web4.extensions.pool.member import Call, Member, PoolWorker
from web4.extensions.pool.memory import MemoryCeiling
from web4.extensions.pool.pool_health import PoolHealth
from web4.extensions.pool.waiting import Refusal, Waiter, WaitingCalls, start_refusal
from web4.extensions.pool.workforce import Workforce

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from web4.extensions.outcome import CallOutcome

CALLS: Final = 1_000
"""After so many calls a worker is retired (EXT-25)."""
QUEUE: Final = 1_024
"""Calls that may wait in one pool."""
_MOVED: Final = Refusal("extension_busy", "refused", "another generation has taken over", moved=True)


class PoolOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool behaves; times in milliseconds. The meanings are those of sections 5, 6 and 9."""

    workers: int = 4
    spares: int = 1
    reuse: Reuse = "shared"
    queue_ms: int = 5_000
    idle_ms: int = 300_000
    calls: int = CALLS
    queue: int = QUEUE


class Moved(NamedTuple):
    """A call that another generation shall serve (EXT-39), and how: it is called with these.

    Args:
        again: Whether it may still be made once more.
        fresh: Whether it is made once more, and needs a worker that has served nobody.
        waited: The seconds it has waited already.
        call: As it was when it began to wait.
    """

    again: bool
    fresh: bool
    waited: float
    call: Any


class Pool(Generic[Call]):
    """Serves calls with at most `workers` at a time, and keeps `spares` more ready behind them.

    `run` is its home: every worker lives in a task of it. A call runs in the task of its caller; when a worker is
    free it gets there without a checkpoint.

    Args:
        start: Opens a worker that is ready, and closes it; raises `WorkerStartError` when it does not become so.
        refused: Makes the outcome of a call that no worker got: the call, why, and the seconds it waited.
        options: See there.
        memory: The ceiling it shares with other pools.
        metrics: Where it counts.
        settle: Makes of a call that has to wait one that its caller changes no more.
    """

    def __init__(
        self,
        start: Callable[[], AbstractAsyncContextManager[PoolWorker[Call]]],
        refused: Callable[[Call, Refusal, float], CallOutcome],
        *,
        options: PoolOptions,
        memory: MemoryCeiling | None = None,
        metrics: ExtensionMetrics | None = None,
        settle: Callable[[Call], Call] = lambda call: call,
    ) -> None:
        self._refused = refused
        self._settle = settle
        self._options = options
        self._memory = memory or MemoryCeiling()
        self._metrics = metrics or ExtensionMetrics()
        self._staff = Workforce(
            start,
            workers=options.workers,
            spares=options.spares,
            shared=options.reuse == "shared",
            memory=self._memory,
            metrics=self._metrics,
            changed=self._staff_changed,
            wake=self._wake_at,
        )
        self._idle = options.idle_ms / 1000
        self._longest = 1 if options.reuse == "call" else options.calls
        self._waiting: WaitingCalls[Member[Call]] = WaitingCalls(options.queue)
        self._pins = 0
        self._current = True
        self._closing: str | None = None
        self._broken = False
        self._alarm = trio.CancelScope()
        self._wakes_at = math.inf
        self._news = trio.Event()
        self._now: Callable[[], float] = trio.current_time

    # --- calls ------------------------------------------------------------------------------------------

    async def call(
        self,
        call: Call,
        *,
        session: str | None = None,
        within_ms: float = math.inf,
        again: bool = False,
        fresh: bool = False,
        pinned: bool = False,
        before: float = 0.0,
    ) -> CallOutcome | Moved:
        """Make a call in a worker of its own.

        Cancelled while it waits, it leaves the queue and nothing was requested of a worker; cancelled later, what
        the worker's `call` says holds.

        Args:
            call: Is handed to the worker as it is.
            session: Whose call it is, for `reuse = "session"`.
            within_ms: What its run has left: it does not wait longer, whatever `queue_ms` says (EXT-20).
            again: Whether it may be made once more, in a fresh worker, should this one be lost (EXT-23).
            fresh: Whether it needs a worker that has served nobody.
            pinned: Whether it must not move to another generation (EXT-39).
            before: Seconds it has waited elsewhere: they count as if it had waited here.

        Returns:
            What came of it; `Moved` when another generation must be asked instead.
        """
        while True:
            waited = before
            member = self._take(session, fresh=fresh)
            if member is None:
                since = self._now() - before
                call = self._settle(call)
                answer = await self._queue(session, since, within_ms, fresh=fresh, pinned=pinned)
                waited = self._now() - since
                if not isinstance(answer, Refusal) and self._closing is not None:  # between its turn and now
                    self._give_back(answer, None)
                    answer = self._closed_refusal()
                if isinstance(answer, Refusal):
                    moved = Moved(again, fresh, waited, call)
                    return moved if answer.moved else self._refused(call, answer, waited)
                member = answer
            code: str | None = "extension_cancelled"
            try:
                outcome = await member.worker.call(call, waited)
                code = outcome.code
            except BaseException:
                self._metrics.cancelled_running += 1
                raise
            finally:
                self._give_back(member, code)
            if code != "worker_lost" or not again:
                return outcome
            fresh, again = True, False
            before = waited + (outcome.elapsed_ms or 0.0) / 1000
            self._metrics.retries += 1

    def _take(self, session: str | None, *, fresh: bool) -> Member[Call] | None:
        """A free worker, for a call before which nobody waits."""
        staff = self._staff
        if self._waiting.queue or staff.busy >= staff.workers:
            return None
        member = staff.take(session, fresh=fresh)
        if not staff.plenty:
            staff.plan(0)
        return member

    async def _queue(
        self, session: str | None, since: float, within_ms: float, *, fresh: bool, pinned: bool
    ) -> Member[Call] | Refusal:
        refusal = None
        if self._closing is not None:
            refusal = self._closed_refusal()
        elif not self._current and not pinned:
            refusal = _MOVED
        elif self._waiting.full:
            refusal = Refusal("extension_busy", "refused", f"{self._options.queue} calls wait already")
        if refusal is not None:
            await trio.lowlevel.checkpoint()
            return refusal
        expires = since + min(self._options.queue_ms, within_ms) / 1000
        waiter: Waiter[Member[Call]] = Waiter(session, fresh, pinned, expires)
        self._waiting.add(waiter)
        if expires < self._wakes_at:
            self._wake_at(expires)
        staff = self._staff
        if staff.busy < staff.workers or not staff.plenty:
            self._match()
        return await waiter.wait(self._leave_queue)

    def _leave_queue(self, waiter: Waiter[Member[Call]]) -> None:
        """Its call was cancelled."""
        self._waiting.remove(waiter)
        self._metrics.cancelled_in_queue += 1
        self._see_whether_over()

    def _give_back(self, member: Member[Call], code: str | None) -> None:
        """Its call has ended, however it did: it is free, goes, or passes to whoever has waited longest."""
        staff = self._staff
        queue = self._waiting.queue
        if staff.release(member, longest=self._longest, code=code):
            over = self._over
            if over is not None:
                staff.let_go(member, over)
            elif queue and staff.shared and not queue[0].fresh:
                waiter = queue.popleft()
                staff.occupy(member, waiter.session)
                waiter.hand(member)
            else:
                member.used_at = now = self._now()
                staff.free.append(member)
                if now + self._idle < self._wakes_at:
                    self._wake_at(now + self._idle)
        if not staff.plenty or (queue and staff.busy < staff.workers):
            self._match()

    def _match(self) -> None:
        """Hand free workers to those who wait, and see that there will be enough."""
        staff = self._staff
        if self._waiting.queue:
            self._waiting.serve(self._find, lambda: staff.busy < staff.workers and bool(staff.free))
        if self._closing is None:
            staff.plan(len(self._waiting))

    def _find(self, waiter: Waiter[Member[Call]]) -> Member[Call] | None:
        member = self._staff.take(waiter.session, fresh=waiter.fresh)
        if member is None:
            self._staff.make_way()
        return member

    def _staff_changed(self, error: WorkerStartError | None) -> None:
        """A worker has joined, failed to start, or gone."""
        if error is not None and not self._staff.starting and not self._staff.serving:
            self._waiting.refuse(start_refusal(error))
        self._match()
        self._see_whether_over()
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def look_at_idle(self) -> None:
        """Let go of workers that do something though they have nothing to do; call it every second or so."""
        if self._staff.free:
            self._staff.let_restless_go(trio.current_time())
            self._match()

    def refuse_waiting(self, refusal: Refusal) -> None:
        """Hand this to all who wait now."""
        self._waiting.refuse(refusal)

    # --- generations ------------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Until a worker is ready, be it free or taken already; starts one if none is on its way.

        Raises:
            WorkerStartError: The start that was under way failed and no worker is there; or the pool has ended.
        """
        staff = self._staff
        while not staff.serving:
            if self._closing is not None:
                raise WorkerStartError(self._closing)
            if not staff.starting and staff.nursery is not None:
                staff.employ(needed=True)
            failed = staff.failed
            await self._news.wait()
            if staff.failed != failed and not staff.starting and staff.failure is not None:
                raise staff.failure.again()
        await trio.lowlevel.checkpoint()

    def pin(self) -> None:
        """A run sees this generation: it serves pinned calls until it is unpinned as often."""
        self._pins += 1

    def unpin(self) -> None:
        """A run that saw this generation has ended, or goes on with another."""
        self._pins -= 1
        self._see_whether_over()

    def supersede(self) -> None:
        """Another generation takes the calls from now on: those that wait move there, open ones finish here."""
        self._current = False
        self._staff.spares = 0
        self._waiting.refuse(_MOVED, which=lambda one: not one.pinned)
        self._see_whether_over()

    def close(self, reason: str) -> None:
        """End: calls that wait are refused, open ones are cancelled (EXT-19), the others are let go; `run` returns."""
        if self._closing is None:
            self._closing = reason
            self._waiting.refuse(self._closed_refusal())
            for member in self._staff.members:
                if member.busy:
                    member.worker.cancel(reason)
            self._see_whether_over()

    @property
    def _over(self) -> str | None:
        """Why a worker that becomes free is let go; None while it is not."""
        if self._closing is not None:
            return "closed"
        return None if self._current or self._pins or self._waiting.queue else "superseded"

    def _see_whether_over(self) -> None:
        if self._over:
            self._staff.let_all_go(self._over)
            self._wake_at(-math.inf)

    # --- its home ---------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the pool until it is closed or superseded, and nothing is left of it.

        Cancelled, it kills every worker and returns when none is left. Raises what is a mistake of the program;
        then, too, no worker is left, and those that waited are refused.
        """
        staff = self._staff
        self._now = trio.lowlevel.current_clock().current_time  # the same, by the shortest way
        self._memory.join(staff)
        try:
            async with trio.open_nursery() as nursery:
                staff.nursery = nursery
                self._match()
                self._tell()
                task_status.started()
                await self._keep()
                nursery.cancel_scope.cancel()  # a start may be under way that nobody waits for any more
        except Exception:
            self._broken = True
            raise
        finally:
            staff.nursery = None
            self._closing = self._closing or "the pool has ended"
            self._waiting.refuse(self._closed_refusal())
            self._memory.leave(staff)
            self._tell()

    async def _keep(self) -> None:
        """Do in time what time brings: refuse those who waited too long, let idle workers go, start again."""
        staff = self._staff
        while not self._over or staff.members or self._waiting:
            next_at = min(self._waiting.earliest, staff.last_used() + self._idle, staff.again)
            self._wakes_at = next_at
            with trio.CancelScope(deadline=next_at) as self._alarm:
                await trio.sleep_forever()
            now = trio.current_time()
            staff.again = math.inf if staff.again <= now else staff.again
            self._refuse_late(now)
            staff.let_idle_go(now, self._idle, "idle")
            self._match()
            self._see_whether_over()

    def _refuse_late(self, now: float) -> None:
        failure = self._staff.failure
        if failure is not None and not self._staff.serving:
            refusal = start_refusal(failure)
        else:
            refusal = Refusal("extension_busy", "refused", "no worker was free in time")
        self._waiting.refuse(refusal, which=lambda one: one.expires <= now)

    def _closed_refusal(self) -> Refusal:
        if self._broken:
            return Refusal("extension_start_failed", "error", "its pool is being set up again")
        return Refusal("extension_cancelled", "cancelled", self._closing or "the pool has ended")

    def _wake_at(self, moment: float) -> None:
        if moment < self._wakes_at:
            self._wakes_at = self._alarm.deadline = moment

    def health(self) -> PoolHealth:
        """How it stands."""
        staff = self._staff
        return PoolHealth(
            busy=staff.busy,
            free=len(staff.free),
            starting=staff.starting,
            leaving=staff.leaving,
            waiting=len(self._waiting),
            started=staff.started,
            failed=staff.failed,
            retired=staff.retired,
            lost=staff.lost,
            failure=None if staff.failure is None else str(staff.failure),
        )
