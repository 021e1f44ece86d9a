"""Lane `peer:<fingerprint>` on a journal: what was decided is told only once it is durable (WEB-1, TRUST-7, REP-2)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from web4.actors.definition import LaneDefinition, Origin
from web4.actors.errors import ActorError
from web4.actors.lane_writer import open_lane_writer
from web4.journal.errors import CorruptJournalError, JournalError, JournalUnavailable
from web4.journal.lane import Lane
from web4.protocols.cip.handshake import Closed, HandshakeStep
from web4.protocols.cip.lane import LOGIC_VERSION, PEER_EVENTS, decode_state, encode_state
from web4.protocols.cip.peer import PeerLane, report_step
from web4.protocols.cip.peer_logic import PeerCommand, PeerEvent, PeerLogic, PeerOutcome, PeerState, Rest
from web4.protocols.cip.replay import ReplayLimits
from web4.trust import (
    ManualOverride,
    OperatorBlock,
    OperatorPromote,
    TrustEvent,
    TrustLimits,
    TrustLogic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from web4.actors.lane_writer import LaneWriter
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.journal.journal import Journal, Prepared
    from web4.protocols.cip.options import CipOptions
    from web4.trust import EvidenceStore, TrustRegistry

    Broken = Callable[[str, Exception], None]
    Writer = LaneWriter[PeerState, PeerCommand, PeerEvent, PeerOutcome]

LANE_ERRORS: Final = (JournalError, ActorError)
"""What a lane raises when its journal does not take what was decided: the session that asked ends."""
_PAUSE_SECONDS: Final = 0.1
"""Before an append is tried again that the journal did not take now."""


class PeerDefinition(LaneDefinition[PeerState, PeerCommand, PeerEvent, PeerOutcome]):
    """What lanes of peers consist of."""

    def encode(self, state: PeerState) -> bytes:
        """See `encode_state`."""
        return encode_state(state)

    def decode(self, data: bytes) -> PeerState:
        """See `decode_state`."""
        return decode_state(data)

    def origin(self, command: PeerCommand) -> Origin:
        """An operator's act is recorded on the operator's behalf."""
        human = isinstance(command, OperatorPromote | OperatorBlock | ManualOverride)
        return Origin(command.at_ms, principal=command.human if human else None)  # type: ignore[union-attr]


def _nobody_asks(_peer: str, _error: Exception) -> None:
    """Nobody wants to know that a lane broke."""


def peer_definition(trust: TrustLimits | None = None, replay: ReplayLimits | None = None) -> PeerDefinition:
    """The definition of the lanes of a node that decides under these limits; replay needs none."""
    logic = PeerLogic(trust=TrustLogic(trust or TrustLimits()), replay=replay or ReplayLimits())
    return PeerDefinition(logic=logic, state=PeerState, events=PEER_EVENTS, version=LOGIC_VERSION)


class DurablePeerLane(PeerLane):
    """The single writer of a peer's lane on a journal.

    `handle` decides at once, against all that was decided before. What follows from its outcome may be done once
    `durable` has returned: nothing is said, delivered or observed before the events that announce it are durable.
    The registry, its observers and the events out see durable events only.

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
    ) -> None:
        super().__init__(peer, trust=trust, options=options, emit=emit)
        self.lane = Lane("peer", peer)
        self._journal = journal
        self._definition = definition
        self._evidence = evidence
        self._clock = clock
        self._broken = broken
        self._writer: Writer | None = None
        self._life = trio.Lock()

    @property
    def state(self) -> PeerState:
        """The lane's state after all that was decided; before `load` what is known of the peer's trust."""
        if self._writer is None:
            return PeerState(self._trust.record(self.peer))
        return self._writer.state

    # --- its life ---------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Rebuild the lane, unless it is there. Sessions of before have ended: their handshakes are closed.

        Raises:
            JournalError: It cannot be read or owned now, or is halted, or was halted for what was found in it.
        """
        async with self._life:
            if self._writer is not None and self._writer.broken is None:
                return
            try:
                writer: Writer = await open_lane_writer(
                    self._journal,
                    self.lane,
                    self._definition,
                    on_commit=self._committed,
                    before_append=self._store_evidence,
                )
            except CorruptJournalError as error:
                self._journal.halt(self.lane, str(error), seq=error.seq)
                raise
            at_ms = self._clock.wall_ms()
            for session_id in writer.state.handshakes:
                writer.decide(Closed(session_id=session_id, at_ms=at_ms))
            self._writer = writer

    async def rest(self) -> bool:
        """Write what waits, and a snapshot, and let the lane go from memory; `load` brings it back.

        Returns:
            Whether it was let go; not if something was decided meanwhile.

        Raises:
            JournalError: The journal does not take it now. The lane is as before.
        """
        async with self._life:
            writer = self._writer
            if writer is None:
                return True
            if writer.broken is None:
                writer.decide(Rest(at_ms=self._clock.wall_ms()))
                await self.durable()
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
        writer = self._writer
        if writer is None:
            raise JournalUnavailable(f"{self.lane} was not loaded", code="closed")
        decision = writer.decide(command)
        if decision.reply.trust is not None:
            self._trust.count(decision.reply.trust)
        for event in decision.events:
            if isinstance(event, TrustEvent) and event.is_newcomer:
                self._trust.count_newcomer(event.at_ms)
        return decision.reply

    async def durable(self) -> None:
        """Wait until everything that was decided before this call is durable, and was told to who observes.

        While the journal is suspended this waits. Cancelled, what was decided stays so and waits for the next call.

        Raises:
            JournalError: The journal refuses for good; what was not durable is dropped.
        """
        writer = self._writer
        if writer is None:
            raise JournalUnavailable(f"{self.lane} was not loaded", code="closed")
        while True:
            try:
                await writer.durable()
                break
            except JournalUnavailable as error:
                if writer.broken is not None:
                    self._broken(self.peer, error)
                    raise
                await trio.sleep(_PAUSE_SECONDS)  # held: the same events are appended again (JRN-4d)
            except JournalError as error:
                self._broken(self.peer, error)
                raise
        if writer.snapshot_due:
            with suppress(JournalError):  # a convenience (JRN-7b)
                await writer.snapshot()

    async def _store_evidence(self) -> None:
        """Make durable what the events to come cite (JRN-8b)."""
        while (leaving := self._evidence.leaving(self.peer)) is not None:
            await self._journal.put_blob(leaving[1])
            self._evidence.gone(self.peer)

    def _committed(self, batch: Sequence[Prepared]) -> None:
        for one in batch:
            if isinstance(one.event, TrustEvent):
                self._trust.commit(self.peer, one.event)
            elif isinstance(one.event, HandshakeStep):
                report_step(self._emit, self.peer, one.event)
