"""The one writer of a journal: gathers what waits into commits, and says truly what became of it (JRN-5, JRN-15)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import outcome
import trio

from web4.journal.errors import (
    CorruptJournalError,
    InvalidEventError,
    JournalError,
    JournalUnavailable,
    LaneHalted,
    NotCommittedError,
    NotWriterError,
    OutcomeUnknownError,
    WrongExpectedSeq,
)
from web4.journal.grouping import Group
from web4.journal.lane import SERVER, Lane
from web4.journal.own_events import JournalResumed
from web4.journal.owned_lanes import OwnedLanes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource
    from web4.journal.anchoring import Anchors
    from web4.journal.backends.backend import Backend
    from web4.journal.following import Followers
    from web4.journal.limits import JournalLimits
    from web4.journal.record import Appended, Commit, Record
    from web4.journal.waiting import Waiting

State = Literal["ready", "suspended", "failed", "closed"]
_T = TypeVar("_T")


class _GivenUpError(Exception):
    """The journal closes while it cannot write."""


class GroupCommit:
    """Serialises commits: while one is under way requests gather, and the next takes all of them (JRN-5a).

    It runs as one task, `run`, until it is told to close. Whoever appends parks in `write`; cancelling that does not
    undo the append.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        limits: JournalLimits,
        clock: Clock,
        ids: IdSource,
        emit: Emitter,
        anchors: Anchors,
        followers: Followers,
        say: Callable[[Any], Waiting],
    ) -> None:
        self.state: State = "ready"
        self.halted: dict[Lane, str] = {}
        self.commits = 0
        self.records = 0
        self.largest = 0
        """The most records that one commit took."""
        self._backend = backend
        self._limits = limits
        self._clock = clock
        self._emit = emit
        self._anchors = anchors
        self._followers = followers
        self._say = say
        self._ids = ids
        self._lanes = OwnedLanes(own=self._own, read=self._newest, bound=limits.heads, shared=backend.shared)
        self._queue: deque[Waiting] = deque()
        self._waiting_records = 0
        self._waiting_bytes = 0
        self._idle: trio.lowlevel.Task | None = None
        self._closing = trio.Event()
        self._suspended_ns = 0
        self._retries = 0

    # --- appending --------------------------------------------------------------------------------------

    async def write(self, waiting: Waiting) -> list[Appended]:
        """Wait until a batch is durable; where it went.

        Raises:
            JournalUnavailable: The journal was closed, has failed, or too much waits already.
            LaneHalted: One of the lanes takes nothing any more.
            WrongExpectedSeq, NotWriterError: See `Journal.append`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self.queue(waiting)
        appended: list[Appended] = await trio.lowlevel.wait_task_rescheduled(waiting.abandon)
        return appended[waiting.first : waiting.first + len(waiting.appends)]

    def queue(self, waiting: Waiting) -> None:
        """Let a batch into the next commit; the current task has to wait for it at once. Raises what `write` does."""
        self._admit(waiting)
        self._enqueue(waiting)
        waiting.task = trio.lowlevel.current_task()

    def say(self, event: Any) -> None:
        """Append an event of the journal's own to `server`, when it can be done; a halted lane takes not even that.

        What redaction does not let pass is left out and reported: what callers wrote must not suffer for it.
        """
        if SERVER not in self.halted:
            try:
                self._enqueue(self._say(event))
            except JournalError as error:
                name = type(event).__name__
                self._emit("own_event_refused", severity="error", event=name, reason=str(error))

    def close(self) -> None:
        """Take nothing more; `run` ends when what waits is written, or cannot be."""
        self._closing.set()
        self._wake()

    @property
    def waiting(self) -> int:
        """Batches that wait for a commit."""
        return len(self._queue)

    def _admit(self, waiting: Waiting) -> None:
        if self._closing.is_set() or self.state == "closed":
            raise JournalUnavailable("the journal was closed", code="closed")
        if self.state == "failed":
            raise JournalUnavailable("the journal has failed; see its health", code="failed")
        if self.halted:
            # What is damaged is evidence: it is neither compacted nor erased.
            kept = [*(base.lane for base in waiting.bases), *(lane for lane, _ in waiting.erasures)]
            for lane in [*(lane for lane, _, _ in waiting.appends), *kept]:
                if lane in self.halted:
                    raise LaneHalted(f"{lane} was halted: {self.halted[lane]}")
        limits = self._limits
        if waiting.records > limits.waiting_records or waiting.bytes > limits.waiting_bytes:
            what = f"{waiting.records} records and {waiting.bytes} bytes"
            raise InvalidEventError(f"a batch of {what} finds room at no time", code="batch_too_large")
        if (
            self._waiting_records + waiting.records > limits.waiting_records
            or self._waiting_bytes + waiting.bytes > limits.waiting_bytes
        ):
            raise JournalUnavailable("too many appends wait already", code="busy", retry_after_ms=100)

    def _enqueue(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._waiting_records += waiting.records
        self._waiting_bytes += waiting.bytes
        if self._idle is not None:
            self._wake()

    def _wake(self) -> None:
        if self._idle is not None:
            trio.lowlevel.reschedule(self._idle)
            self._idle = None

    # --- the writer -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write what waits until closed. A cancellation loses no truth: who waits is told nothing."""
        try:
            while True:
                if self.state == "failed":
                    await self._closing.wait()
                    return
                if self._queue:
                    await self._write_group()
                elif self.state == "suspended":
                    # The store has answered since; what waited for it was refused for good. Saying so tries it.
                    self._resume()
                elif not self._closing.is_set():
                    await self._sleep()
                elif not self._anchor():
                    return
        except _GivenUpError:
            pass
        finally:
            if self.state != "failed":
                self.state = "closed"
            self._refuse_all(JournalUnavailable("the journal was closed", code="closed"))
            self._followers.close()

    async def _sleep(self) -> None:
        self._idle = trio.lowlevel.current_task()

        def abandon(_: Any) -> trio.lowlevel.Abort:
            self._idle = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abandon)

    async def _write_group(self) -> None:
        group = Group(self._lanes, self._ids, self._after)
        try:
            try:
                await self._gather(group)
            finally:
                for waiting, repeated in group.repeated:
                    _succeed(waiting, repeated)
            if group.empty:
                return
            commit, appended = group.seal()
            number = await self._persist(commit)
            self._committed(group, commit, number)
        except (WrongExpectedSeq, NotWriterError) as error:
            self._step_back(group, error)
            return
        except _GivenUpError:
            self._fail(
                group, JournalUnavailable("the journal was closed before it could write", code="closed")
            )
            raise
        except (CorruptJournalError, OutcomeUnknownError) as error:
            # Also of a store that was found damaged when it was read back: the batch may be in it.
            self._break(error)
            self._fail(group, _unknown())
            return
        except BaseException:
            # Cancelled in the middle, or a backend that broke its contract: nobody may wait for ever.
            self._fail(group, _unknown())
            raise
        for waiting in group.taken:
            _succeed(waiting, appended)

    async def _gather(self, group: Group) -> None:
        """Take what waits, up to the bounds of a commit; whoever does not fit in is told at once."""
        limits = self._limits
        while self._queue:
            waiting = self._queue[0]
            if group.taken and (
                waiting.alone
                or group.records + waiting.records > limits.commit_records
                or group.bytes + waiting.bytes > limits.commit_bytes
            ):
                return
            try:
                if not group.place_known(waiting) and not await group.place(waiting):
                    return
            except (WrongExpectedSeq, NotWriterError) as error:
                _refuse(waiting, error)
            except _GivenUpError:
                _refuse(waiting, JournalUnavailable("the journal was closed", code="closed"))
                raise
            except CorruptJournalError as error:
                _refuse(waiting, error)
            self._queue.popleft()
            self._leave(waiting)
            if waiting.alone:
                return

    def _leave(self, waiting: Waiting) -> None:
        self._waiting_records -= waiting.records
        self._waiting_bytes -= waiting.bytes

    def _committed(self, group: Group, commit: Commit, number: int) -> None:
        self.commits += 1
        self.records += len(commit.records)
        self.largest = max(self.largest, len(commit.records))
        group.moved()
        for base in commit.bases:
            self._lanes.rebased(base)
        self._followers.offer(commit, number)
        if self.state == "suspended":
            self._resume()
        if not all(waiting.own for waiting in group.taken):
            self._anchors.note(commit.heads, len(commit.records))
            if self._anchors.due:
                self._anchor()

    def _anchor(self) -> bool:
        """Anchor what has changed; whether there is anything to write for it."""
        said = [] if SERVER in self.halted else self._anchors.take()
        for event in said:
            self.say(event)
        return bool(said)

    def _step_back(self, group: Group, error: WrongExpectedSeq | NotWriterError) -> None:
        """Somebody else has written a lane: who wanted to write it is told, the others wait for the next commit."""
        again = []
        for waiting in group.taken:
            lanes = {lane for lane, _, _ in waiting.appends}
            if error.lane is None or error.lane in lanes or waiting.alone:
                _refuse(waiting, error)
            else:
                again.append(waiting)
        group.forget(error.lane)
        for waiting in reversed(again):
            self._queue.appendleft(waiting)
            self._waiting_records += waiting.records
            self._waiting_bytes += waiting.bytes

    def _fail(self, group: Group, error: JournalUnavailable) -> None:
        for waiting in group.taken:
            _refuse(waiting, error)

    def _break(self, error: Exception) -> None:
        """The store cannot be trusted any more (JRN-15g)."""
        self.state = "failed"
        self._emit("journal_failed", severity="error", reason=str(error))
        self._refuse_all(JournalUnavailable("the journal has failed; see its health", code="failed"))

    def _refuse_all(self, error: JournalUnavailable) -> None:
        while self._queue:
            waiting = self._queue.popleft()
            self._leave(waiting)
            _refuse(waiting, error)

    # --- the store --------------------------------------------------------------------------------------

    async def _persist(self, commit: Commit) -> int:
        """Write until it is durable (JRN-15a, b). What failed with an unknown result is read back, never repeated."""
        unknown = False
        while True:
            try:
                if unknown:
                    number = await self._backend.recover(commit)
                    if number is not None:
                        return number
                    unknown = False
                return await self._backend.commit(commit)
            except NotCommittedError as error:
                await self._pause(error, unknown=unknown)
            except OutcomeUnknownError as error:
                unknown = True
                await self._pause(error, unknown=True)

    async def _pause(self, error: Exception, *, unknown: bool = False) -> None:
        """Wait before the next attempt, longer each time; give up only when the journal closes."""
        if self.state == "ready":
            self.state = "suspended"
            self._suspended_ns = self._clock.monotonic_ns()
            self._retries = 0
            self._emit("journal_suspended", severity="error", reason=str(error))
        seconds = min(
            self._limits.retry_seconds * 2 ** min(self._retries, 30), self._limits.retry_most_seconds
        )
        self._retries += 1
        with trio.move_on_after(seconds):
            await self._closing.wait()
        if self._closing.is_set():
            if unknown:
                raise OutcomeUnknownError(str(error)) from None
            raise _GivenUpError

    def _resume(self) -> None:
        suspended_ms = (self._clock.monotonic_ns() - self._suspended_ns) // 1_000_000
        self.state = "ready"
        self._emit("journal_resumed", suspended_ms=suspended_ms, retries=self._retries)
        self.say(JournalResumed(suspended_ms=suspended_ms, retries=self._retries))

    async def _reach(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Ask the store until it answers."""
        while True:
            try:
                return await call()
            except JournalUnavailable as error:
                if error.code == "closed":
                    raise
                await self._pause(error)
            except NotCommittedError as error:
                await self._pause(error)

    async def _own(self, lane: Lane) -> Any:
        return await self._reach(lambda: self._backend.own(lane))

    async def _newest(self, lane: Lane, before: int) -> list[Record]:
        return await self._reach(lambda: self._backend.read(lane, before=before, reverse=True))

    async def _after(self, lane: Lane, after: int, limit: int) -> list[Record]:
        return await self._reach(lambda: self._backend.read(lane, after=after, limit=limit))


def _unknown() -> JournalUnavailable:
    return JournalUnavailable("whether this is durable is not known; read the lane", code="outcome_unknown")


def _succeed(waiting: Waiting, appended: list[Appended]) -> None:
    if waiting.task is not None:
        trio.lowlevel.reschedule(waiting.task, outcome.Value(appended))
        waiting.task = None


def _refuse(waiting: Waiting, error: JournalError) -> None:
    if waiting.task is not None:
        trio.lowlevel.reschedule(waiting.task, outcome.Error(error.again()))
        waiting.task = None
