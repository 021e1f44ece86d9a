"""The workers of a pool: how they are started, found, and let go (EXT-25, EXT-37). Who waits is the pool's concern."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Generic

import trio

from web4.extensions.errors import WorkerStartError
from web4.extensions.pool.member import Call, Member, PoolWorker
from web4.extensions.pool.memory import GUESS, MemoryCeiling
from web4.extensions.pool.spares import Staff, StartPauses, to_start

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from web4.extensions.metrics import ExtensionMetrics

_ROOM_AGAIN: Final = 0.25
"""Seconds after which it is looked again whether there is memory for a worker."""
RESTLESS: Final = 0.5
"""The share of a processor that a worker without a call may use."""
_LOOK: Final = 1.0
"""Seconds over which that is measured at least."""
_DEATH: Final = 20.0
"""Seconds after which a killed worker that the kernel does not let go is given up."""


class Workforce(Generic[Call]):
    """Workers that are free, busy, starting or leaving. Each lives in a task of the nursery it is given.

    Args:
        start: Opens a worker that is ready, and closes it; raises `WorkerStartError` when it does not become so.
        workers: How many may be busy at once.
        spares: How many ready ones stand behind them.
        shared: Whether any worker may serve any call.
        memory: The ceiling shared with other pools.
        metrics: Told of starts, kills and ends.
        changed: Called when one has joined, failed to start, or gone.
        wake: Asks to be planned again at that moment.
    """

    def __init__(
        self,
        start: Callable[[], AbstractAsyncContextManager[PoolWorker[Call]]],
        *,
        workers: int,
        spares: int,
        shared: bool,
        memory: MemoryCeiling,
        metrics: ExtensionMetrics,
        changed: Callable[[WorkerStartError | None], None],
        wake: Callable[[float], None],
    ) -> None:
        self._start = start
        self.workers = workers
        self.spares = spares
        self.shared = shared
        self._memory = memory
        self._metrics = metrics
        self._changed = changed
        self._wake = wake
        self.free: deque[Member[Call]] = deque()
        """Fresh ones join at the left, used ones at the right."""
        self.members: set[Member[Call]] = set()
        self.busy = 0
        self.starting = 0
        self.leaving = 0
        self.nursery: trio.Nursery | None = None
        self.again = math.inf
        """When a start that is put off should be tried."""
        self.failure: WorkerStartError | None = None
        """Why the last start failed; None when it did not."""
        self.started = self.failed = self.lost = self.retired = 0
        self._pauses = StartPauses()
        self._size = GUESS

    @property
    def serving(self) -> int:
        """Workers that are there to stay."""
        return len(self.members) - self.leaving

    @property
    def plenty(self) -> bool:
        """Whether there are as many free as there should be, so that nothing need be planned for nobody."""
        return self.shared and len(self.free) >= self.spares

    # --- finding ----------------------------------------------------------------------------------------

    def take(self, session: str | None, *, fresh: bool) -> Member[Call] | None:
        """A free worker that may serve this session, busy from now on; None if there is none.

        Args:
            session: Whose call it is.
            fresh: Whether it must be one that has served nobody (EXT-23).
        """
        free = self.free
        while free:
            if self.shared and not fresh:
                member: Member[Call] | None = free.pop()  # the one used last: the others may become idle
            else:
                member = self._fitting(session, fresh=fresh)
            if member is None:
                return None
            if member.worker.usable:
                self.occupy(member, session)
                return member
            self._died(member)
            self.dismiss(member, "died")
        return None

    def occupy(self, member: Member[Call], session: str | None) -> None:
        """A worker that is not among the free serves this session's call from now on."""
        member.busy = True
        member.calls += 1
        member.session = session
        member.seen = None
        self.busy += 1

    def _fitting(self, session: str | None, *, fresh: bool) -> Member[Call] | None:
        found = None
        for member in self.free:
            if member.calls == 0:
                found = found or member
            elif not fresh and not self.shared and member.session == session:
                found = member
                break
        if found is not None:
            self.free.remove(found)
        return found

    def make_way(self) -> None:
        """Those that are free fit others only: if no more may start, the one idle longest makes way for a fresh one."""
        if self.free and not self.starting and self.serving >= self.workers + self.spares:
            self.give_up_one("session")

    # --- starting ---------------------------------------------------------------------------------------

    def plan(self, waiting: int) -> None:
        """Start what is missing for so many waiting calls, unless a pause or the memory ceiling stands against it."""
        free, starting, spares = len(self.free), self.starting, self.spares
        if self.nursery is None or (
            self.shared and free + starting >= spares and (not waiting or self.busy >= self.workers)
        ):
            return
        if not self.shared:
            self._bind_no_more_than_may_serve()
            free = len(self.free)
        useful = free if self.shared else sum(one.calls == 0 for one in self.free)
        staff = Staff(self.busy, useful, free - useful, starting, self.leaving, waiting)
        missing = to_start(staff, workers=self.workers, spares=spares)
        if missing == 0:
            return
        now = trio.current_time()
        if now < self._pauses.until:
            self._look_again(self._pauses.until)
            return
        for _ in range(missing):
            needed = waiting > self.starting
            if not self._memory.has_room(self._size * (1 + self.starting), needed=needed):
                self._look_again(now + _ROOM_AGAIN)
                return
            self.employ(needed=needed)

    def _bind_no_more_than_may_serve(self) -> None:
        """Workers bound to sessions must not take the places of spares: the one idle longest goes."""
        bound = sum(one.calls > 0 and not one.leaving for one in self.members)
        idle = [one for one in self.free if one.calls]
        if bound > self.workers and idle:
            member = min(idle, key=lambda one: one.used_at)
            self.free.remove(member)
            self.dismiss(member, "session")

    def _look_again(self, moment: float) -> None:
        self.again = min(self.again, moment)
        self._wake(moment)

    def employ(self, *, needed: bool) -> None:
        """Start one worker, whatever stands against it; `needed` when a call waits for it."""
        assert self.nursery is not None
        self.starting += 1
        self.nursery.start_soon(self._life, needed)

    async def _life(self, needed: bool) -> None:
        """A worker's life, from its start to its end."""
        began = trio.current_time()
        member: Member[Call] | None = None
        try:
            async with self._start() as worker:
                member = Member(worker, trio.current_time())
                self.starting -= 1
                self._metrics.started((member.ready_at - began) * 1000, waited_for=needed)
                await self._stand_by(member)
        except WorkerStartError as error:
            if member is not None:
                raise
            self.starting -= 1
            self.failed += 1
            self.failure = error
            self._pauses.failed(trio.current_time())
            self._changed(error)
        except BaseException:
            if member is None:
                self.starting -= 1
            raise

    async def _stand_by(self, member: Member[Call]) -> None:
        try:
            self._join(member)
            await member.worker.wait()
        finally:
            member.worker.kill("closed")
            with trio.CancelScope(deadline=trio.current_time() + _DEATH, shield=True):
                await member.worker.wait()
            self._gone(member)

    def _join(self, member: Member[Call]) -> None:
        self.members.add(member)
        self.started += 1
        self.failure = None
        resident = member.worker.resident
        self._size = resident if self._size == GUESS else max(resident, self._size)
        member.resident = resident
        self._memory.saw(member, resident)
        self.free.appendleft(member)
        self._changed(None)

    def _gone(self, member: Member[Call]) -> None:
        self.members.discard(member)
        self._memory.forget(member)
        member.gone = True
        self._metrics.exits += 1
        if member.leaving:
            self.leaving -= 1
        elif not member.busy:
            self.free.remove(member)
            self._died(member)
        self._changed(None)

    def _died(self, member: Member[Call]) -> None:
        """It ended by itself while it was free. One that never served may be the first of many."""
        self.lost += 1
        if member.calls == 0:
            now = trio.current_time()
            self._pauses.failed(now, lived=now - member.ready_at)

    # --- after a call -----------------------------------------------------------------------------------

    def release(self, member: Member[Call], *, longest: int, code: str | None) -> bool:
        """Its call has ended: whether it may serve on. If not it was let go, or is (EXT-25).

        Args:
            member: It is not free yet.
            longest: Calls after which a worker is retired.
            code: Of the call's outcome.
        """
        self.busy -= 1
        member.busy = False
        if member.gone:
            return False
        worker = member.worker
        if not worker.usable:
            self.dismiss(member, code or "left_behind")
            return False
        if self._pauses.failures:
            self._pauses.succeeded()
        resident = worker.resident
        if resident != member.resident:
            member.resident = resident
            self._memory.saw(member, resident)
        unfit = worker.unfit()
        if unfit is not None:
            self.retired += 1
            self.dismiss(member, unfit)
            return False
        if member.calls >= longest:
            self.retired += 1
            if longest == 1:
                self.dismiss(member, "served")
            else:
                self.let_go(member, "served")
            return False
        return True

    # --- leaving ----------------------------------------------------------------------------------------

    def dismiss(self, member: Member[Call], reason: str) -> None:
        """Kill a worker that has no call and is not among the free. `reason` is one of few words, for the figures."""
        self._metrics.killed(reason)
        member.leaving = True
        self.leaving += 1
        self._memory.forget(member)
        member.worker.kill(reason)

    def let_go(self, member: Member[Call], reason: str) -> None:
        """Give such a worker its time to end, then kill it."""
        if self.nursery is None:
            self.dismiss(member, reason)
            return
        member.leaving = True
        self.leaving += 1
        self.nursery.start_soon(self._see_off, member.worker, reason)

    async def _see_off(self, worker: PoolWorker[Call], reason: str) -> None:
        await worker.drain()
        worker.kill(reason)

    def let_all_go(self, reason: str) -> None:
        """All that are free."""
        while self.free:
            self.let_go(self.free.pop(), reason)

    def let_idle_go(self, now: float, idle: float, reason: str) -> None:
        """Those whose last call ended `idle` seconds ago. Spares, which have had none, are not idle."""
        for member in [one for one in self.free if one.calls and one.used_at + idle <= now]:
            self.free.remove(member)
            self.let_go(member, reason)

    def let_restless_go(self, now: float) -> None:
        """Those that keep a processor busy though they have no call: a thread was left behind (EXT-25)."""
        for member in list(self.free):
            cpu, seen = member.worker.cpu_seconds(), member.seen
            if cpu is None:
                continue
            if seen is not None and now - seen[1] < _LOOK:
                continue
            member.seen = cpu, now
            if seen is not None and cpu - seen[0] > RESTLESS * (now - seen[1]):
                self.free.remove(member)
                self.dismiss(member, "restless")

    def last_used(self) -> float:
        """When the first of the free that have served became idle; infinity when there is none."""
        return min((one.used_at for one in self.free if one.calls), default=math.inf)

    # --- what a ceiling asks for ------------------------------------------------------------------------

    def idle_since(self) -> float | None:
        """See `web4.extensions.pool.memory.Giver`."""
        return min((one.used_at for one in self.free), default=None)

    def give_up_one(self, reason: str = "memory") -> None:
        """See `web4.extensions.pool.memory.Giver`."""
        member = min(self.free, key=lambda one: one.used_at)
        self.free.remove(member)
        self.dismiss(member, reason)
