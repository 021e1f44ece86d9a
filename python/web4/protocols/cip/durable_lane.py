"""Lane `peer:<fingerprint>` on a journal: what was decided is told only once it is durable (WEB-1, TRUST-7, REP-2)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from web4.actors.definition import LaneDefinition, Origin
from web4.actors.lane_writer import HELD, LaneWriter, open_lane_writer, take_lane
from web4.actors.rebuilding import Rebuilt
from web4.journal.compaction import compact
from web4.journal.errors import CorruptJournalError, JournalError, JournalUnavailable, LaneHalted
from web4.journal.lane import Lane
from web4.protocols.cip.handshake import Closed, HandshakeStep
from web4.protocols.cip.lane import LOGIC_VERSION, PEER_EVENTS, decode_state, encode_state, of_version_2
from web4.protocols.cip.lane_errors import LANE_ERRORS
from web4.protocols.cip.outbox.entries import OutboxLimits, weight
from web4.protocols.cip.outbox.logic import OutboxLogic
from web4.protocols.cip.outbox.together import Together
from web4.protocols.cip.peer import PeerLane, report_step
from web4.protocols.cip.peer_logic import PeerLogic
from web4.protocols.cip.peer_state import (
    Caused,
    PeerCommand,
    PeerEvent,
    PeerOutcome,
    PeerState,
    Rest,
)
from web4.protocols.cip.replay import ReplayLimits
from web4.protocols.cip.stranger import Stranger
from web4.trust import (
    ManualOverride,
    OperatorBlock,
    OperatorPromote,
    TrustEvent,
    TrustLimits,
    TrustLogic,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.journal.journal import Journal, Prepared
    from web4.journal.record import Head
    from web4.protocols.cip.options import CipOptions
    from web4.protocols.cip.outbox.commands import Enqueue
    from web4.protocols.cip.stranger import Writer
    from web4.trust import EvidenceStore, TrustRegistry

    Broken = Callable[[str, Exception], None]

_T = TypeVar("_T")
_OPERATORS: Final = (OperatorPromote, OperatorBlock, ManualOverride)
_ROWS: Final = 4
"""Rows of one record that take about as long to read and apply as a record does."""
_PAUSE_SECONDS: Final = 0.1
"""Before an append is tried again that the journal did not take now."""


class PeerDefinition(LaneDefinition[PeerState, PeerCommand, PeerEvent, PeerOutcome]):
    """What lanes of peers consist of."""

    def of(self, peer: str) -> PeerDefinition:
        """The definition of this peer's lane: its decisions name it (MEM-1)."""
        logic: Any = self.logic  # a PeerLogic, as `peer_definition` made it
        return replace(self, logic=replace(logic, peer=peer))

    def encode(self, state: PeerState) -> bytes:
        """See `encode_state`."""
        return encode_state(state)

    def decode(self, data: bytes) -> PeerState:
        """See `decode_state`."""
        return decode_state(data)

    def origin(self, command: PeerCommand) -> Origin:
        """An operator's act is recorded on the operator's behalf."""
        said = command.command if type(command) is Caused else command
        if isinstance(said, _OPERATORS):
            return Origin(said.at_ms, principal=said.human)
        return Origin(command.at_ms)


def _nobody_asks(_peer: str, _error: Exception) -> None:
    """Nobody wants to know that a lane broke."""


def _nobody_tends(_peer: str) -> None:
    """Nobody writes snapshots of lanes."""


def peer_definition(
    trust: TrustLimits | None = None, replay: ReplayLimits | None = None, outbox: OutboxLimits | None = None
) -> PeerDefinition:
    """The definition of the lanes of a node that decides under these limits; replay needs none."""
    logic = PeerLogic(
        trust=TrustLogic(trust or TrustLimits()),
        replay=replay or ReplayLimits(),
        outbox=OutboxLogic(outbox or OutboxLimits()),
    )
    return PeerDefinition(
        logic=logic,
        state=PeerState,
        events=PEER_EVENTS,
        version=LOGIC_VERSION,
        upcasters={1: _as_it_was, 2: of_version_2},
    )


def _as_it_was(state: Any) -> Any:
    """A state of version 1 lacks only what version 2 leaves out when it is empty."""
    return state


class DurablePeerLane(PeerLane):
    """The single writer of a peer's lane on a journal.

    `handle` decides at once, against all that was decided before. What follows from its outcome may be done once
    `durable` has returned: nothing is said, delivered or observed before the events that announce it are durable.
    The registry, its observers and the events out see durable events only.

    A peer without a lane gets one with the first event of its trust: see `Stranger`.

    When the journal refuses for good, what was not durable is dropped, `broken` is called, and everything raises
    one of `LANE_ERRORS` until `load` has rebuilt the lane from what is there.
    """

    def __init__(
        self,
        peer: str,
        *,
        journal: Journal,
        definition: PeerDefinition,
        trust: TrustRegistry,
        evidence: EvidenceStore,
        options: CipOptions,
        emit: Emitter,
        clock: Clock,
        broken: Broken = _nobody_asks,
        due: Callable[[str], None] = _nobody_tends,
    ) -> None:
        super().__init__(peer, trust=trust, options=options, emit=emit)
        self.lane = Lane("peer", peer)
        self._journal = journal
        self._definition = definition.of(peer)
        self._evidence = evidence
        self._clock = clock
        self._broken = broken
        self._due = due
        self._writer: Writer | None = None
        self._stranger: Stranger | None = None
        self._most_records = options.lane_records
        self._leaving: dict[str, bytes] = {}
        """What has to become a blob before the next append."""
        self._told = 0
        """Steps that the journal does not have yet, and that were reported: a stranger's."""
        self._life = trio.Lock()
        self._together = Together(self.handle, self.durable)

    @property
    def state(self) -> PeerState:
        """The lane's state after all that was decided; before `load` what is known of the peer's trust."""
        if self._writer is not None:
            return self._writer.state
        if self._stranger is not None:
            return self._stranger.state
        return PeerState(trust=self._trust.record(self.peer))

    @property
    def ready(self) -> bool:
        """See `PeerLane.ready`."""
        return self._stranger is not None or (self._writer is not None and self._writer.broken is None)

    @property
    def settled(self) -> bool:
        """See `PeerLane.settled`."""
        return self.ready and self._writer is not None and not self._writer.pending

    # --- its life ---------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Rebuild the lane, unless it is there. Sessions of before have ended: their handshakes are closed.

        Raises:
            JournalError: It cannot be read or owned now, or is halted, or was halted for what was found in it.
        """
        async with self._life:
            if self.ready:
                return
            if self.lane in self._journal.halted:
                raise LaneHalted(f"{self.lane} was halted: {self._journal.halted[self.lane]}")
            self._writer, self._told = None, 0
            head = await self._journal.head(self.lane)
            if head.seq == 0:
                self._stranger = Stranger(partial(self._begin, head))
                return
            writer = await self._open()
            at_ms = self._clock.wall_ms()
            for session_id in writer.state.handshakes:
                writer.decide(Closed(session_id=session_id, at_ms=at_ms))
            self._writer = writer
            self.on_load(writer.durable_state)

    async def _open(self) -> Writer:
        try:
            return await open_lane_writer(
                self._journal,
                self.lane,
                self._definition,
                on_commit=self._committed,
                before_append=self._store_evidence,
            )
        except CorruptJournalError as error:
            self._journal.halt(self.lane, str(error), seq=error.seq)
            raise

    def _begin(self, head: Head) -> Writer:
        """The writer of a lane that nobody wrote. It appends nothing before the lane is taken."""
        return LaneWriter(
            self._journal,
            self.lane,
            self._definition,
            Rebuilt(self._definition.logic.initial, head, 0, 0, 0, 0),
            on_commit=self._committed,
            before_append=self._store_evidence,
        )

    async def rest(self) -> bool:
        """Write what waits, and a snapshot, and let the lane go from memory; `load` brings it back.

        Returns:
            Whether it was let go; not if something was decided meanwhile.

        Raises:
            JournalError: The journal does not take it now. The lane is as before.
        """
        if self._stranger is not None and self._stranger.recorded:
            await self.durable()
        async with self._life:
            if self._stranger is not None:
                if self._stranger.commands:
                    return False
                self._stranger = None
            writer = self._writer
            if writer is None:
                return True
            if writer.broken is None:
                writer.decide(Rest(at_ms=self._clock.wall_ms()))
                await self._until_durable()
                if writer.snapshot_useful:
                    await writer.snapshot()
                if writer.pending:
                    return False
            self._writer = None
            await self._journal.backend.release(self.lane)
            self._trust.fold(self.peer)
            return True

    # --- deciding ---------------------------------------------------------------------------------------

    def handle(self, command: PeerCommand) -> PeerOutcome:
        """Decide `command`; the caller does what the outcome asks for once `durable` has returned.

        Raises:
            JournalError: The lane was not loaded or is broken, or an event does not fit (JRN-4e).
            MailboxFullError: Too much waits for the journal.
        """
        if not isinstance(command, Closed):
            return self._decide(command)
        with suppress(*LANE_ERRORS):  # an end that the journal does not take is made up for by `load`
            self._decide(command)
        return PeerOutcome("taken")

    def _decide(self, command: PeerCommand) -> PeerOutcome:
        decider = self._writer or self._stranger
        if decider is None:
            raise JournalUnavailable(f"{self.lane} was not loaded", code="closed")
        decision = decider.decide(command)
        if decision.reply.trust is not None:
            self._trust.count(decision.reply.trust)
        for event in decision.events:
            if isinstance(event, TrustEvent) and event.is_newcomer:
                self._trust.count_newcomer(event.at_ms)
        return decision.reply

    def ask(self, command: Enqueue) -> Coroutine[Any, Any, PeerOutcome]:
        """See `Together.ask`."""
        return self._together.ask(command)

    def flush(self) -> None:
        """See `PeerLane.flush`."""
        self._together.flush()

    def keep(self, name: str, data: bytes) -> None:
        """See `PeerLane.keep`."""
        self._leaving[name] = data

    async def blob(self, name: str) -> bytes:
        """See `PeerLane.blob`."""
        return await self._journal.get_blob(name)

    async def durable(self) -> None:
        """Wait until everything that was decided before this call is durable, and was told to who observes.

        While the journal is suspended this waits. Cancelled, what was decided stays so and waits for the next call.

        Raises:
            JournalError: The journal refuses for good; what was not durable is dropped.
        """
        if self._stranger is not None and not await self._meet():
            return
        await self._until_durable()

    async def _meet(self) -> bool:
        """Give the peer a lane if there is something to record of it now; whether it has one."""
        await trio.lowlevel.checkpoint()
        async with self._life:
            stranger = self._stranger
            if stranger is None:
                return True
            if not stranger.recorded:
                for step in stranger.tell():
                    report_step(self._emit, self.peer, step)
                return False
            try:
                await self._patiently(partial(take_lane, self._journal, self.lane))
            except LANE_ERRORS as error:
                self._stranger = None
                self._broken(self.peer, error)
                raise
            for step in stranger.over:
                report_step(self._emit, self.peer, step)
            self._writer, self._stranger, self._told = stranger.writer, None, stranger.told
            return True

    async def _until_durable(self) -> None:
        writer = self._writer
        if writer is None:
            raise JournalUnavailable(f"{self.lane} was not loaded", code="closed")
        try:
            await self._patiently(writer.durable)
        except JournalError as error:
            self._broken(self.peer, error)
            raise
        if writer.snapshot_due:
            self._due(self.peer)

    async def upkeep(self) -> None:
        """Write a snapshot if one is due, and shorten a lane that has grown long; whoever waits for it is not held up.

        A convenience (JRN-7b): when the journal does not take it, it is tried again later.
        """
        writer = self._writer
        if writer is not None and writer.broken is None and writer.snapshot_due:
            with suppress(JournalError):
                await writer.snapshot()
                await self._shorten()

    async def _shorten(self) -> None:
        """Compact a lane that has grown long: what a peer says must not fill the disk (LIM-1).

        Up to the last snapshot but one, so that there is some history always.
        """
        head = await self._journal.head(self.lane)
        if self._most_records is None or head.seq - head.base_seq <= self._most_records:
            return
        taken = [one.seq for one in await self._journal.snapshots(self.lane) if one.seq > head.base_seq]
        if taken:
            await compact(self._journal, self.lane, seq=min(taken), reason="lane_records", thorough=False)

    async def _patiently(self, do: Callable[[], Awaitable[_T]]) -> _T:
        """Do it again for as long as the journal only cannot now: the same events are appended again (JRN-4d)."""
        while True:
            try:
                return await do()
            except JournalUnavailable as error:
                broken = self._writer is not None and self._writer.broken is not None
                if error.code not in HELD or broken:
                    raise
            await trio.sleep(_PAUSE_SECONDS)

    async def _store_evidence(self) -> None:
        """Make durable what the events to come cite (JRN-8b)."""
        while self._leaving:
            name, data = next(iter(self._leaving.items()))
            await self._journal.put_blob(data)
            self._leaving.pop(name, None)
        while (leaving := self._evidence.leaving(self.peer)) is not None:
            await self._journal.put_blob(leaving[1])
            self._evidence.gone(self.peer)

    def _committed(self, batch: Sequence[Prepared]) -> None:
        for one in batch:
            if isinstance(one.event, TrustEvent):
                self._trust.commit(self.peer, one.event)
            elif isinstance(one.event, HandshakeStep):
                if self._told:
                    self._told -= 1  # while it was a stranger's
                else:
                    report_step(self._emit, self.peer, one.event)
        if self._writer is not None:
            self._writer.count_more(sum([weight(one.event) // _ROWS for one in batch]))
        self.on_events([one.event for one in batch])  # type: ignore[misc]  # the lane's own events
