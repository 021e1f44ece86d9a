"""The one writer of a lane: decides against what will be, and says when it is (ACT-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple

import trio

from web4.actors.aside import aside
from web4.actors.definition import Command, Effect, Event, Origin, Reply, State
from web4.actors.errors import EffectError, MailboxFullError
from web4.actors.rebuilding import rebuild
from web4.foundation.logic import Decision
from web4.journal.errors import (
    InvalidEventError,
    JournalUnavailable,
    LaneHalted,
    NotCommittedError,
    WrongExpectedSeq,
)
from web4.journal.journal import NewEvent
from web4.journal.record import Snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import msgspec

    from web4.actors.definition import LaneDefinition
    from web4.actors.rebuilding import Rebuilt
    from web4.journal.journal import Journal, Prepared
    from web4.journal.lane import Lane
    from web4.journal.limits import JournalLimits
    from web4.journal.record import OpenWork

    OnCommit = Callable[[Sequence[Prepared]], None]
    BeforeAppend = Callable[[], Awaitable[None]]

MAX_PENDING: Final = 4_096
"""Events that may wait for the journal: another decision is refused as busy. So are too many bytes of them."""
MAX_EFFECTS: Final = 1_024
"""Effects of one lane that may be open: a decision that requests another is refused as busy."""
_MAX_DECIDED: Final = 512
_SNAPSHOT_EVENTS: Final = 1_000
HELD: Final = frozenset({"busy", "suspended", "outcome_unknown"})
"""Why an append did not return that may be tried again with the same events (JRN-4d)."""


def _nobody(_: Sequence[Prepared]) -> None:
    """Nobody asked to be told."""


async def _nothing_first() -> None:
    """Nothing has to be durable before."""


class _Bounds(NamedTuple):
    """What may wait, and be decided at once: together never more than one append of the journal takes."""

    pending: int
    decided: int
    full: int
    pending_bytes: int
    decided_bytes: int
    full_bytes: int

    @classmethod
    def of(cls, limits: JournalLimits) -> _Bounds:
        pending = max(1, min(MAX_PENDING, limits.batch_records // 2, limits.waiting_records // 2))
        decided, full = max(1, min(_MAX_DECIDED, pending // 2)), max(1, pending // 4)
        size = limits.waiting_bytes
        return cls(pending, decided, full, max(1, size // 2), size // 4, max(1, size // 8))


class LaneWriter(Generic[State, Command, Event, Reply]):
    """The single writer of one lane, rebuilt from it by `open_lane_writer`.

    `decide` is immediate: its events wait, and later decisions already see them. `durable` waits for the
    journal. One append is in flight; what was decided meanwhile is the next one (ACT-2c). Nothing of it runs
    by itself: whoever calls `durable` does the appending, for the others too.

    When the journal refuses an append for good, the writer is broken: what was decided and is not durable is
    dropped, and every call raises the journal's error. Open another one then: the lane tells what is there.
    """

    def __init__(
        self,
        journal: Journal,
        lane: Lane,
        definition: LaneDefinition[State, Command, Event, Reply],
        rebuilt: Rebuilt[State],
        *,
        on_commit: OnCommit = _nobody,
        before_append: BeforeAppend = _nothing_first,
    ) -> None:
        self.lane = lane
        self.definition = definition
        self.state = rebuilt.state
        """After all that was decided."""
        self.durable_state = rebuilt.state
        """After all that is durable."""
        self.seq = rebuilt.head.seq
        """Number of the last durable record."""
        self.effects: dict[str, Effect] = {}
        """Effects that were requested and not concluded, as far as was decided. `open_lane_writer` finds old ones."""
        self.unfinished: list[OpenWork] = []
        """Commands and effects that were open when the lane was opened (JRN-13)."""
        self.scanned = rebuilt.tail_records
        """Records that were applied to rebuild the lane."""
        self.broken: Exception | None = None
        self.at = rebuilt.head.at
        """Time of the last event, Unix milliseconds: the least that the next one gets."""
        self._journal = journal
        self._logic = definition.logic
        self._on_commit = on_commit
        self._before_append = before_append
        self._hash = rebuilt.head.hash
        self._queue: list[Prepared] = []
        self._queue_bytes = 0
        self._bounds = _Bounds.of(journal.limits)
        self._batch: list[Prepared] = []
        self._batch_state = rebuilt.state
        self._decided = self._durable = 0
        self._appending = False
        self._doubtful = False
        """Whether the batch may be durable already, although nobody could tell."""
        self._waiting = trio.lowlevel.ParkingLot()
        self._events_since = rebuilt.tail_records
        self._bytes_since = rebuilt.tail_bytes
        self._snapshot_bytes = rebuilt.snapshot_bytes

    @property
    def pending(self) -> bool:
        """Whether something was decided that is not durable."""
        return self._durable < self._decided

    @property
    def queued(self) -> int:
        """Events that no append has taken yet."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether what was decided should be made durable before more is: then a decision always finds room."""
        return len(self._queue) >= self._bounds.full or self._queue_bytes >= self._bounds.full_bytes

    # --- deciding ---------------------------------------------------------------------------------------

    def decide(self, command: Command) -> Decision[Event, Reply]:
        """Decide `command` against all that was decided before; its events as they will be persisted (JRN-19b).

        The reply must be held back until `durable` returns, also when there are no events: it may rest on
        what is not durable yet (ACT-2d). When it raises, nothing has changed.

        Raises:
            MailboxFullError: `busy`: too many events wait for the journal already.
            JournalError: An event that the journal does not take (JRN-4e), or the error that broke the writer.
            EffectError: The logic requests an open effect once more, or concludes one that is not open.
            Exception: Whatever the logic raises. It should not (ACT-1).
        """
        self._check()
        decision = self._logic.decide(self.state, command)
        if not decision.events:
            return decision
        prepared, state = self._prepare(decision.events, self.definition.origin(command))
        self._take(prepared, state)
        persisted: Any = tuple([one.event for one in prepared])
        return Decision(persisted, decision.reply)

    def record(self, event: msgspec.Struct, origin: Origin, refs: tuple[tuple[str, str], ...] = ()) -> None:
        """Queue an event of the runtime's own, which the logic does not see.

        Raises:
            JournalError, MailboxFullError: As `decide`.
        """
        self._check()
        at = max(origin.at, self.at)
        one = self._journal.prepare(NewEvent(event, at, origin.cause, origin.principal, refs))
        self._take([one], self.state)

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken.with_traceback(None)
        if len(self._queue) >= self._bounds.pending or self._queue_bytes >= self._bounds.pending_bytes:
            raise MailboxFullError(f"{len(self._queue)} events of {self.lane} wait for the journal")

    def _prepare(self, events: tuple[Event, ...], origin: Origin) -> tuple[list[Prepared], State]:
        bounds = self._bounds
        if len(events) > bounds.decided:
            raise InvalidEventError(
                f"{len(events)} events of one decision, {bounds.decided} are allowed", code="batch_too_large"
            )
        at = max(origin.at, self.at)
        prepare, apply = self._journal.prepare, self._logic.apply
        state = self.state
        names = self.definition.event_names
        prepared: list[Prepared] = []
        moving = False
        for event in events:
            one = prepare(NewEvent(event, at, origin.cause, origin.principal))  # type: ignore[arg-type]
            if one.name not in names:
                raise InvalidEventError(f"{one.name} is none of the lane's events", code="unregistered")
            state = apply(state, one.event)  # type: ignore[arg-type]
            moving = moving or one.work is not None
            prepared.append(one)
        size = sum([len(one.payload) for one in prepared])
        if size > bounds.decided_bytes:
            raise InvalidEventError(
                f"{size} bytes of one decision, {bounds.decided_bytes} are allowed", code="batch_too_large"
            )
        if moving:
            self._check_effects(prepared)
        return prepared, state

    def _check_effects(self, prepared: Sequence[Prepared]) -> None:
        """Refuse a second conclusion of an effect, and a second request of an open one (ACT-3c)."""
        changed: dict[str, bool] = {}
        for one in prepared:
            if one.work is None or one.work.phase not in {"request", "conclusion"}:
                continue
            subject, requests = one.work.subject, one.work.phase == "request"
            if changed.get(subject, subject in self.effects) is requests:
                code = "effect_requested" if requests else "effect_not_open"
                raise EffectError(f"{self.lane}: {one.name} of effect {subject}", code=code)
            changed[subject] = requests
        if len(self.effects) + sum([1 if added else -1 for added in changed.values()]) > MAX_EFFECTS:
            raise MailboxFullError(f"{len(self.effects)} effects of {self.lane} are open")

    def _take(self, prepared: list[Prepared], state: State) -> None:
        self.state = state
        self.at = prepared[-1].at
        self._queue += prepared
        self._decided += len(prepared)
        for one in prepared:
            self._queue_bytes += len(one.payload)
            work = one.work
            if work is None:
                continue
            if work.phase == "request":
                self.effects[work.subject] = Effect(work.subject, one.event, work.command, work.idempotent)
            elif work.phase == "conclusion":
                del self.effects[work.subject]

    # --- making durable ---------------------------------------------------------------------------------

    async def durable(self) -> None:
        """Wait until everything that was decided before this call is durable.

        Cancellation: what was decided stays decided and is made durable by the next call; whether it is
        already, the lane tells (JRN-5e).

        Raises:
            WrongExpectedSeq, NotWriterError: Another writer has the lane: stop (JRN-4f). The writer is broken.
            JournalUnavailable: While `broken` is None the events are held: call again. Else `outcome_unknown` says
                that they may be durable, every other code that they are not.
            JournalError: The writer is broken.
        """
        target = self._decided
        if self._durable >= target:
            await trio.lowlevel.checkpoint()
        while self._durable < target:
            if self.broken is not None:
                raise self.broken.with_traceback(None)
            if self._appending:
                await self._waiting.park()
            else:
                await self._append()

    async def _append(self) -> None:
        self._appending = True
        try:
            await self._before_append()
            # From here on nothing is awaited until the journal has the batch: what `before_append` saw is what goes.
            if not self._batch:
                self._batch, self._queue, self._queue_bytes = self._queue, [], 0
                self._batch_state = self.state
            batch = self._batch
            appended = await self._journal.append(self.lane, batch, expected_seq=self.seq)
        except JournalUnavailable as error:
            self._doubtful = self._doubtful or error.code == "outcome_unknown"
            if error.code not in HELD:
                self._break(error)
            raise
        except trio.Cancelled:
            self._doubtful = bool(self._batch)
            raise
        except Exception as error:
            self._break(error)
            raise
        else:
            self._batch, self._doubtful = [], False
            self.durable_state = self._batch_state
            self.seq, self._hash = appended.last_seq, appended.hash
            self._durable += len(batch)
            self._events_since += len(batch)
            self._bytes_since += sum([len(one.payload) for one in batch])
            self._on_commit(batch)
        finally:
            self._appending = False
            self._waiting.unpark_all()

    def _break(self, error: Exception) -> None:
        """Drop what is not durable. What may be durable all the same is not reported as refused (JRN-15d)."""
        self.state = self.durable_state
        self._queue, self._queue_bytes, self._batch = [], 0, []
        self.broken = error
        if self._doubtful and not isinstance(error, WrongExpectedSeq):
            message = f"whether the last events of {self.lane} are durable is not known; read the lane"
            self.broken = JournalUnavailable(message, code="outcome_unknown")
            raise self.broken from error

    # --- snapshots --------------------------------------------------------------------------------------

    @property
    def snapshot_due(self) -> bool:
        """Whether a snapshot is worth its bytes: 1 000 events `=`, and as many bytes of them as the last one had."""
        return self._events_since >= _SNAPSHOT_EVENTS and self._bytes_since >= self._snapshot_bytes

    @property
    def snapshot_useful(self) -> bool:
        """Whether anything became durable since the last snapshot."""
        return self._events_since > 0

    def count_more(self, events: int) -> None:
        """Count what shares a record with something else, for the next snapshot: applying it takes as long."""
        self._events_since += events

    async def snapshot(self) -> None:
        """Store a snapshot of the durable state (JRN-7a). One that fails is tried again when the next one is due.

        Raises:
            JournalError: It was not stored; nothing depends on it.
        """
        state, seq, digest = self.durable_state, self.seq, self._hash
        events, size = self._events_since, self._bytes_since
        # Counted at once: what is due is due once, also while this one is under way, and when it cannot be encoded.
        self._events_since = self._bytes_since = 0
        data = await aside(size + self._snapshot_bytes, self.definition.encode, state)
        self._snapshot_bytes = len(data)
        try:
            await self._journal.put_snapshot(
                Snapshot.of(self.lane, seq, digest, data, self.definition.version)
            )
        except trio.Cancelled:
            self._events_since += events
            self._bytes_since += size
            raise


async def open_lane_writer(
    journal: Journal,
    lane: Lane,
    definition: LaneDefinition[State, Command, Event, Reply],
    *,
    on_commit: OnCommit = _nobody,
    before_append: BeforeAppend = _nothing_first,
) -> LaneWriter[State, Command, Event, Reply]:
    """Rebuild `lane` and become its writer. A process has at most one writer of a lane: who opens sees to that.

    Args:
        journal: Where the lane is.
        lane: Which one.
        definition: Its logic and the rest.
        on_commit: Called with the events of each append that became durable, before `durable` returns. Must
            not raise.
        before_append: Awaited before each append, for what must be durable before its events are: blobs (JRN-8b).
            When it raises, that is as if the append had raised it.

    Raises:
        CorruptJournalError: The lane cannot be rebuilt: it must be halted (ACT-5e).
        LaneHalted: It takes nothing any more.
        NotWriterError: Another node has the lane.
        JournalUnavailable: `suspended`: the lane cannot be taken now. `closed`, `failed`: it cannot be taken at all.
    """
    await take_lane(journal, lane)
    writer = LaneWriter(
        journal,
        lane,
        definition,
        await rebuild(journal, lane, definition),
        on_commit=on_commit,
        before_append=before_append,
    )
    found = writer.unfinished
    while page := await journal.open_work(lane, after=found[-1] if found else None):
        found.extend(page)
    for item in found:
        if item.kind == "effect":
            (record,) = await journal.read(lane, after=item.seq - 1, limit=1)
            request = None if record.erased else journal.registry.decode(record)
            writer.effects[item.subject] = Effect(item.subject, request, item.command, item.idempotent)
    return writer


async def take_lane(journal: Journal, lane: Lane) -> None:
    """Become the node that writes `lane`.

    Raises:
        LaneHalted, NotWriterError, JournalUnavailable: See `open_lane_writer`.
    """
    if lane in journal.halted:
        raise LaneHalted(f"{lane} was halted: {journal.halted[lane]}")
    if (state := journal.state) in {"closed", "failed"}:
        raise JournalUnavailable(f"{lane} cannot be taken: the journal is {state}", code=state)
    try:
        await journal.backend.own(lane)
    except NotCommittedError as error:
        raise JournalUnavailable(f"{lane} cannot be taken: {error}", code="suspended") from None
