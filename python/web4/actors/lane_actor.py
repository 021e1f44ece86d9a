"""The actor of one lane: drain, decide, append, answer (ACT-2); restarted, halted or passivated (ACT-5, ACT-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import outcome
import trio

from web4.actors.definition import LaneDefinition, Origin
from web4.actors.effects import MAX_RESULTS, Effects, Result
from web4.actors.entry import Entry
from web4.actors.errors import ActorCrashError, ActorStoppedError, EffectError, MailboxFullError
from web4.actors.lane_writer import LaneWriter, open_lane_writer
from web4.actors.mailbox import Mailbox
from web4.actors.recovering import recover_lane
from web4.actors.restarting import RestartBudget
from web4.foundation.errors import Web4Error
from web4.journal.errors import (
    CorruptJournalError,
    JournalError,
    JournalUnavailable,
    LaneHalted,
    NotWriterError,
    WrongExpectedSeq,
)
from web4.journal.recovery import EffectLate, RecoverySummary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from web4.actors.metrics import ActorMetrics
    from web4.actors.options import ActorOptions
    from web4.journal.journal import Journal, Prepared
    from web4.journal.lane import Lane

_DEATHS: Final = 2
_AGAIN_SECONDS: Final = 0.1
_AGAIN_MOST_SECONDS: Final = 5.0
_ENDING: Final = (
    WrongExpectedSeq,
    NotWriterError,
    LaneHalted,
    CorruptJournalError,
    JournalUnavailable,
    EffectError,
)
_PASSING: Final = frozenset({"busy", "suspended", "outcome_unknown"})


class LaneActor:
    """The one actor of a lane in this process. `LaneActors` makes it, and runs it as one task.

    Args:
        journal: Where the lane is.
        lane: Which one.
        definition: Its logic and the rest.
        options: See `ActorOptions`.
        metrics: Where it is counted.
        recovery_over: Set when all lanes of the node are recovered: no effect starts before.
        over: Called when it takes nothing more, before anything else can happen.
    """

    def __init__(
        self,
        journal: Journal,
        lane: Lane,
        definition: LaneDefinition[Any, Any, Any, Any],
        *,
        options: ActorOptions,
        metrics: ActorMetrics,
        recovery_over: trio.Event,
        over: Callable[[LaneActor], None],
    ) -> None:
        self.lane = lane
        self.definition = definition
        self.mailbox: Mailbox[Entry] = Mailbox(
            control=options.control, work=options.work, conclusions=MAX_RESULTS
        )
        self.effects = Effects(
            lane,
            definition,
            deliver=self._deliver,
            ended=self.mailbox.wake,
            emit=journal.emit,
            metrics=metrics,
            grace_seconds=options.grace_seconds,
        )
        self.writer: LaneWriter[Any, Any, Any, Any] | None = None
        self.summary = RecoverySummary(profile=journal.durability)
        """What recovery found in this lane."""
        self.settled = trio.Event()
        """Set once it serves, or has ended."""
        self.ended: Exception | None = None
        """Why it takes nothing any more."""
        self.stopping = False
        self.passivating = False
        self.holds = 0
        """Who wants it to stay: subscribers."""
        self.rounds = 0
        self._journal = journal
        self._options = options
        self._metrics = metrics
        self._recovery_over = recovery_over
        self._over = over
        self._recovered = False
        self._snapshotting = False
        self._batch: list[Entry] = []
        self._deciding: Entry | None = None
        self._cuts = type(definition).cancels is not LaneDefinition.cancels

    @property
    def idle(self) -> bool:
        """Whether nothing waits, runs or holds it."""
        return not (self._batch or len(self.mailbox) or len(self.effects) or self.holds)

    # --- its life ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the lane until it ends. Cancelled, whoever waits is told that the outcome is not known."""
        end: Exception = ActorStoppedError(
            f"the actor of {self.lane} was stopped; the lane tells what happened", code="unknown_outcome"
        )
        try:
            async with trio.open_nursery() as nursery:
                self.effects.nursery = nursery
                end = await self._live()
                self._end(end)
        finally:
            self._end(end)

    def _end(self, error: Exception) -> None:
        if self.ended is not None:
            return
        self.ended = error
        self.effects.drop()
        self._over(self)
        for entry in self._batch:
            entry.refuse(error)
        self._batch = []
        # Of what it had not begun the outcome is known.
        if isinstance(error, ActorStoppedError):
            error = ActorStoppedError(f"the actor of {self.lane} was stopped")
        elif isinstance(error, JournalUnavailable) and isinstance(error.__cause__, Web4Error):
            error = error.__cause__
        while batch := self.mailbox.drain():
            for entry in batch:
                entry.refuse(error)
        self.settled.set()

    async def _live(self) -> Exception:
        """Serve, and start again after each crash; why it ended."""
        budget = RestartBudget(self._options.restarts, f"{self._options.seed} {self.lane}")
        while True:
            try:
                writer = await self._open()
                return await self._serve(writer)
            except _ENDING as error:
                end = self._end_of(error)
                if end is not None:
                    return end
                await trio.sleep(_AGAIN_SECONDS)
            except Exception as error:
                pause = self._crashed(error, budget)
                if pause is None:
                    return self._halt(f"its actor raised too often, last {type(error).__name__}")
                await trio.sleep(pause)

    def _end_of(self, error: Exception) -> Exception | None:
        """Why the actor ends on an error that a restart does not help; None for one that passes."""
        match error:
            case WrongExpectedSeq() | NotWriterError():
                self._journal.emit("actor_replaced", severity="error", lane=str(self.lane), reason=error.code)
            case CorruptJournalError():
                future = error.code == "future_event"
                self.summary.unsupported_versions += future
                self.summary.malformed_records += not future
                return self._halt(str(error), error.seq)
            case EffectError():  # the definition is at fault
                return self._halt(str(error))
            case JournalUnavailable() if error.code in _PASSING and not self._is_broken_by(error):
                return None
        return error

    def _is_broken_by(self, error: Exception) -> bool:
        """Whether the writer has given up: what was decided is not to be decided again."""
        return self.writer is not None and self.writer.broken is error

    def _halt(self, reason: str, seq: int | None = None) -> LaneHalted:
        self._journal.halt(self.lane, reason, seq=seq)
        return LaneHalted(f"{self.lane} was halted: {reason}")

    def _crashed(self, error: Exception, budget: RestartBudget) -> float | None:
        """Note a crash; how long to wait before the restart, or None if there is none."""
        entry, self._deciding = self._deciding, None
        reason = type(error).__name__
        self._metrics.crashes += 1
        self._journal.emit("actor_crashed", severity="error", lane=str(self.lane), reason=reason)
        pause = budget.crashed(trio.current_time())
        if entry is None:
            return pause
        entry.deaths += 1
        if entry.deaths < _DEATHS:
            return pause
        if entry.result is None:
            self._batch.remove(entry)
            entry.answer(
                outcome.Error(ActorCrashError(f"the actor of {self.lane} died of a command ({reason})"))
            )
        elif entry.result.command is not None:
            # Its effect must not stay open for ever: it is concluded as an error instead.
            entry.result = Result(entry.result.effect, outcome="error", reason="actor_crash")
            entry.deaths = 0
        else:
            return None
        return pause

    async def _open(self) -> LaneWriter[Any, Any, Any, Any]:
        writer = await open_lane_writer(self._journal, self.lane, self.definition, on_commit=self._committed)
        if not self._recovered:
            commands = await recover_lane(self._journal, writer, self.summary)
            self._recovered = True
            self.summary.records_scanned = writer.scanned
            self.summary.restore(self.definition.outcomes(writer.durable_state))
            now = self._journal.clock.monotonic_ns()
            self._batch = [*(Entry(command, now) for command in commands), *self._batch]
        self.writer = writer
        self.settled.set()
        await self._recovery_over.wait()
        # No effect starts meanwhile (JRN-15c). The journal has no event for its states, and this is seldom.
        while self._journal.state == "suspended":  # noqa: ASYNC110
            await trio.sleep(_AGAIN_SECONDS)
        for effect in writer.effects.values():
            self.effects.start(effect)
        return writer

    # --- the loop (ACT-2) -------------------------------------------------------------------------------

    async def _serve(self, writer: LaneWriter[Any, Any, Any, Any]) -> Exception:
        while True:
            if not self._batch:
                self._batch = self.mailbox.drain(self._options.drain)
            if self._batch:
                await self._round(writer)
            elif self.stopping and not len(self.effects):
                await self._last_snapshot(writer)
                if not len(self.mailbox):
                    return ActorStoppedError(f"the actor of {self.lane} was stopped")
            elif self.passivating:
                await self._last_snapshot(writer)
                unfinished = await self._journal.open_work(self.lane, limit=1)
                if self.idle and not unfinished:
                    self._metrics.passivated += 1
                    return ActorStoppedError(f"the actor of {self.lane} was passivated")
                self.passivating = False
            else:
                await self.mailbox.wait()

    async def _round(self, writer: LaneWriter[Any, Any, Any, Any]) -> None:
        self.rounds += 1
        metrics, clock = self._metrics, self._journal.clock
        begun = clock.monotonic_ns()
        metrics.wait.add(max(0, begun - self._batch[0].since))
        answers: list[tuple[Entry, outcome.Value[Any] | outcome.Error]] = []
        batch: list[Entry] = []
        for entry in self._batch:
            if writer.full:  # the others are decided in the next round: what was accepted is not refused
                break
            batch.append(entry)
            self._deciding = entry
            if entry.result is None:
                answers.append((entry, self._decide(writer, entry)))
            else:
                self._conclude(writer, entry.result)
        self._deciding = None
        metrics.batch.add(len(batch))
        if writer.pending:
            decided = clock.monotonic_ns()
            await self._make_durable(writer)
            metrics.commit.add(clock.monotonic_ns() - decided)
        else:
            await trio.lowlevel.checkpoint()
        self._batch = self._batch[len(batch) :]
        for entry, answer in answers:
            entry.answer(answer)
        if len(answers) < len(batch):
            for entry in batch:
                if entry.result is not None:
                    self.effects.taken(entry.result)
        if writer.snapshot_due and not self._snapshotting and self.effects.nursery is not None:
            self._snapshotting = True
            self.effects.nursery.start_soon(self._snapshot, writer)

    def _decide(
        self, writer: LaneWriter[Any, Any, Any, Any], entry: Entry
    ) -> outcome.Value[Any] | outcome.Error:
        """Decide a command; its reply, or why the journal does not take what it leads to (JRN-4e)."""
        try:
            return outcome.Value(writer.decide(entry.command).reply)
        except (JournalError, EffectError, MailboxFullError) as error:
            if writer.broken is not None:
                raise
            if entry.task is None:  # nobody else hears of it
                lane = str(self.lane)
                self._journal.emit("command_refused", severity="warning", lane=lane, reason=error.code)
            return outcome.Error(error)

    async def _make_durable(self, writer: LaneWriter[Any, Any, Any, Any]) -> None:
        """Append what was decided, for as long as it takes: what the journal cannot take now is held (JRN-15a)."""
        pause = _AGAIN_SECONDS
        while True:
            try:
                await writer.durable()
            except JournalUnavailable:
                if writer.broken is not None:
                    raise
                await trio.sleep(pause)
                pause = min(2 * pause, _AGAIN_MOST_SECONDS)
            else:
                return

    def _committed(self, events: Sequence[Prepared]) -> None:
        """Start the effects that became durable, and end those that were concluded."""
        for event in events:
            work = event.work
            if work is not None:
                if work.phase == "request":
                    effect = None if self.writer is None else self.writer.effects.get(work.subject)
                    if effect is not None:
                        self.effects.start(effect)
                elif work.phase == "conclusion":
                    self.effects.concluded(work.subject)
            if self._cuts and event.name in self.definition.event_names:
                self._cut_off(event.event)

    def _cut_off(self, event: Any) -> None:
        try:
            for effect_id in self.definition.cancels(event):
                self.effects.cut_off(effect_id)
        except Exception as error:  # the event is durable: its command must not be decided again
            reason = type(error).__name__
            self._journal.emit("actor_crashed", severity="error", lane=str(self.lane), reason=reason)

    # --- conclusions (ACT-3) ----------------------------------------------------------------------------

    def _deliver(self, result: Result) -> None:
        if self.ended is None:
            self.mailbox.conclude(Entry(result.command, self._journal.clock.monotonic_ns(), result=result))

    def _conclude(self, writer: LaneWriter[Any, Any, Any, Any], result: Result) -> None:
        """Decide what concludes an effect; what comes too late is recorded, and nothing else (JRN-13e)."""
        effect, command = result.effect, result.command
        if effect.id not in writer.effects:
            if command is not None:
                self._metrics.late += 1
                late = EffectLate(effect_id=effect.id, answer=type(command).__name__)
                writer.record(late, Origin(self.definition.origin(command).at))
            return
        ended, reason = result.outcome or "error", result.reason
        if command is not None:
            try:
                writer.decide(command)
                reason = "not_concluded"
            except (JournalError, EffectError, MailboxFullError) as error:
                if writer.broken is not None:
                    raise
                reason = error.code
            if effect.id not in writer.effects:
                return
        at = self._journal.clock.wall_ms()
        writer.decide(self.definition.conclude(effect, ended, reason, at))
        if effect.id in writer.effects:
            raise EffectError(f"{self.lane}: effect {effect.id} stays open", code="effect_not_concluded")

    # --- snapshots --------------------------------------------------------------------------------------

    async def _snapshot(self, writer: LaneWriter[Any, Any, Any, Any]) -> None:
        try:
            await writer.snapshot()
        except Exception as error:  # a snapshot is a convenience (JRN-7b)
            reason = type(error).__name__
            self._journal.emit("snapshot_failed", severity="warning", lane=str(self.lane), reason=reason)
        finally:
            self._snapshotting = False

    async def _last_snapshot(self, writer: LaneWriter[Any, Any, Any, Any]) -> None:
        if writer.snapshot_useful and not self._snapshotting:
            self._snapshotting = True
            await self._snapshot(writer)
        else:
            await trio.lowlevel.checkpoint()
