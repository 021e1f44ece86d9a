"""What a node holds in memory about one peer: its lane, and telemetry that no replay needs (WEB-1, WEB-3)."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.foundation.events import no_events
from web4.protocols.cip.handshake import HandshakeStep
from web4.protocols.cip.meters import FaultWindow, SlidingWindow, TokenBucket
from web4.protocols.cip.outbox.commands import Settle
from web4.protocols.cip.outbox.entries import (
    Conclusion,
    EnvelopeConcluded,
    EnvelopeQueued,
    EnvelopesQueued,
    MessageSettled,
    MessageTaken,
    weight,
)
from web4.protocols.cip.outbox.logic import OutboxLogic
from web4.protocols.cip.outbox.queue import OutboxQueue
from web4.protocols.cip.peer_logic import PeerLogic
from web4.trust import TrustEvent, TrustLogic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from web4.foundation.events import Emitter, Severity
    from web4.protocols.cip.handshake import Phase
    from web4.protocols.cip.options import CipOptions
    from web4.protocols.cip.outbox.commands import Enqueue
    from web4.protocols.cip.outbox.entries import QueuedRow, SettledStatus
    from web4.protocols.cip.peer_state import PeerCommand, PeerEvent, PeerOutcome, PeerState
    from web4.protocols.messages.cip import StateUpdate
    from web4.trust import TrustRegistry, TrustState

_LOG_EVENTS: Final = 1_024
_SENT_IDS: Final = 4_096
_STEP_EVENTS: Final[dict[Phase, tuple[str, Severity]]] = {
    "idle": ("handshake_started", "info"),
    "hello_sent": ("handshake_step", "debug"),
    "hello_received": ("handshake_step", "debug"),
    "verifying": ("handshake_step", "debug"),
    "established": ("handshake_completed", "info"),
    "deferred": ("handshake_deferred", "info"),
    "failed": ("handshake_failed", "warning"),
}


class PeerLane:
    """The single writer of lane `peer:<fingerprint>`, in memory: decide, keep the events, apply (WEB-1).

    Trust events are kept by the peer's `TrustFSM` in the registry, all others here. As there, the older half
    of a full log is folded into a base, so that base and log together rebuild the state. `DurablePeerLane` runs
    the same `PeerLogic` on a journal.
    """

    def __init__(self, peer: str, *, trust: TrustRegistry, options: CipOptions, emit: Emitter) -> None:
        self.peer = peer
        self.logic = PeerLogic(
            trust=TrustLogic(trust.limits),
            replay=options.replay,
            outbox=OutboxLogic(options.outbox),
            peer=peer,
        )
        self.base = self.logic.initial
        self.log: list[PeerEvent] = []
        self._trust = trust
        self._emit = emit
        self._state = self.base
        self._whole = self.base
        """The state as it was asked for last, trust included."""
        self._whole_of = self.base
        self._folds: deque[tuple[int, PeerState]] = deque()
        """The events of each half of the log, and the state after it: folding one need not apply them again."""
        self._since = self._weight = 0
        """Events since the last half, and what they hold."""
        self.on_events: Callable[[Sequence[PeerEvent]], None] = _nobody_listens
        """Told of events once they are durable."""
        self.on_load: Callable[[PeerState], None] = _nobody_listens
        """Told what the lane holds when it was loaded."""
        self._blobs: dict[str, bytes] = {}
        self._blob_of: dict[str, str] = {}

    @property
    def state(self) -> PeerState:
        """The lane's state, trust included."""
        trust = self._trust.record(self.peer)
        if self._whole_of is not self._state or self._whole.trust is not trust:
            self._whole_of = self._state
            self._whole = msgspec.structs.replace(self._state, trust=trust)
        return self._whole

    def handle(self, command: PeerCommand) -> PeerOutcome:
        """Decide `command` and commit the events; the caller does what the outcome asks for."""
        decision = self.logic.decide(self.state, command)
        if decision.reply.trust is not None:
            self._trust.count(decision.reply.trust)
        for event in decision.events:
            if isinstance(event, TrustEvent):
                self._trust.commit(self.peer, event)
            else:
                self._commit(event)
        if decision.events:
            self.on_events(decision.events)
        return decision.reply

    async def ask(self, command: Enqueue) -> PeerOutcome:
        """Queue an envelope; what became of it, once that may be told. In memory that is at once."""
        return self.handle(command)

    def flush(self) -> None:
        """Decide what was asked for before this call. In memory that is done."""

    def keep(self, name: str, data: bytes) -> None:
        """Keep bytes that are too long for an event, before the event that cites them is durable (JRN-8b)."""
        self._blobs[name] = data

    async def blob(self, name: str) -> bytes:
        """What an event cites.

        Raises:
            JournalError: It cannot be read.
        """
        return self._blobs[name]

    @property
    def ready(self) -> bool:
        """Whether it can be asked without `load`."""
        return True

    @property
    def settled(self) -> bool:
        """Whether all that was decided is durable."""
        return True

    async def load(self) -> None:
        """Be ready to be asked. In memory that is at once."""

    async def durable(self) -> None:
        """Wait until what was decided may be told. In memory that is at once."""

    async def upkeep(self) -> None:
        """Do what keeps a lane short. In memory that is nothing."""

    async def rest(self) -> bool:
        """Be let go; whether it may be. What a lane in memory holds is lost with it, save the peer's trust."""
        return True

    def _commit(self, event: PeerEvent) -> None:
        self._state = self.logic.apply(self._state, event)
        if isinstance(event, EnvelopeQueued | MessageTaken):
            if event.blob is not None:
                self._blob_of[event.msg_id] = event.blob
        elif isinstance(event, EnvelopeConcluded | MessageSettled) and self._blob_of:
            for msg_id in event.msg_ids:
                self._blobs.pop(self._blob_of.pop(msg_id, ""), None)
        self.log.append(event)
        if len(self._folds) == 2:
            count, self.base = self._folds.popleft()
            del self.log[:count]
        self._since += 1
        self._weight += weight(event)
        if self._weight >= _LOG_EVENTS // 2:
            self._folds.append((self._since, self._state))
            self._since = self._weight = 0
        if isinstance(event, HandshakeStep):
            report_step(self._emit, self.peer, event)


def _nobody_listens(_: object) -> None:
    """Nobody asked to be told."""


def report_step(emit: Emitter, peer: str, step: HandshakeStep) -> None:
    """Emit the event of a handshake's step (OBS-2); its session's end has one of the transport's."""
    if step.to is None:
        return
    kind, severity = _STEP_EVENTS[step.to]
    optional: dict[str, Any] = {
        "reason": step.reason,
        "retry_after_ms": step.retry_after_ms,
        "detail": step.detail,
    }
    emit(
        kind,
        severity=severity,
        peer=peer,
        session_id=step.session_id,
        protocol="cip",
        state=step.to,
        role=step.role,
        **{name: value for name, value in optional.items() if value is not None},
    )


class RecentEnvelopes:
    """The newest envelopes of one peer, by msg_id, within a bound in bytes.

    Any of them may turn out to be one half of an equivocation. Their ids are remembered elsewhere and longer.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def put(self, msg_id: str, envelope: bytes) -> None:
        """Hold `envelope`; the oldest give way."""
        if msg_id in self._held or len(envelope) > self._max_bytes:
            return
        self._held[msg_id] = envelope
        self._bytes += len(envelope)
        while self._bytes > self._max_bytes:
            _, dropped = self._held.popitem(last=False)
            self._bytes -= len(dropped)

    def get(self, msg_id: str) -> bytes | None:
        """The envelope that came under `msg_id`, if it is still held."""
        return self._held.get(msg_id)


class Peer:
    """One peer's lane, in memory unless another is given, and its telemetry."""

    def __init__(
        self,
        fingerprint: str,
        *,
        trust: TrustRegistry,
        options: CipOptions,
        emit: Emitter,
        lane: PeerLane | None = None,
    ) -> None:
        self.fingerprint = fingerprint
        self.lane = lane or PeerLane(fingerprint, trust=trust, options=options, emit=emit)
        self.messages = TokenBucket(options.messages_per_second, options.message_burst)
        self.errors = SlidingWindow(options.errors_per_second)
        self.rate_reports = TokenBucket(1, 1)
        self.faults = FaultWindow(options.faults_per_minute)
        self.dropped = 0
        self.recent = RecentEnvelopes(options.recent_bytes)
        self.newest_state: StateUpdate | None = None
        self.newest_state_ms = 0
        self.state_heard_ms = 0
        """When that came, by the monotonic clock."""
        self.agent_id = "unknown"
        """What it calls itself."""
        self.queue = OutboxQueue()
        self.given: set[str] = set()
        """Messages that this process has given to the application, of those that are not settled."""
        self.to_settle: dict[SettledStatus, list[str]] = {}
        """Messages to be settled with the next commit, by status."""
        self._emit = emit
        self._observed = emit is not no_events
        self.lane.on_events = self._told
        self.lane.on_load = self._loaded
        self._sent: OrderedDict[str, None] = OrderedDict()

    @property
    def trust(self) -> TrustState:
        """How far the peer is trusted by all that was decided, durable or not: for what waits until it is."""
        return self.lane.state.trust.state

    def sent(self, msg_id: str) -> None:
        """Remember a message of ours that the peer may answer; the oldest are forgotten beyond 4 096."""
        self._sent[msg_id] = None
        if len(self._sent) > _SENT_IDS:
            self._sent.popitem(last=False)

    def was_sent(self, msg_id: str) -> bool:
        """Whether `msg_id` is a message of ours to this peer."""
        out = self.lane.state.outbox
        return msg_id in self._sent or msg_id in out.entries or out.concluded.get(msg_id) is not None

    def idle(self, at_ms: int) -> bool:
        """Whether nothing is held that still matters: no session, and no id that could be replayed."""
        state = self.lane.state
        if state.handshakes or state.outbox.entries or state.taken.messages or self.to_settle:
            return False
        return state.replay.is_stale(at_ms, self.lane.logic.replay)

    @property
    def may_queue(self) -> bool:
        """Whether the outbox has room for an answer."""
        out, limits = self.lane.state.outbox, self.lane.logic.outbox.limits
        return len(out.entries) < limits.entries and out.bytes < limits.bytes

    def settle_now(self, at_ms: int) -> None:
        """Decide what the application has settled since; the next commit of the lane carries it.

        Raises:
            JournalError, MailboxFullError: The lane does not take it; it stays to be settled.
        """
        for status in list(self.to_settle):
            ids = self.to_settle[status]
            self.lane.handle(Settle(at_ms=at_ms, msg_ids=tuple(ids), status=status))
            del self.to_settle[status]

    # --- what has become durable ------------------------------------------------------------------------

    def _loaded(self, state: PeerState) -> None:
        out = state.outbox
        ended = (*out.concluded.newer.values(), *out.concluded.older.values())
        said_ms = max([one.at_ms for one in (*out.entries.values(), *ended)], default=0)
        self.queue.load(out.entries.values(), said_ms)

    def _told(self, events: Sequence[PeerEvent]) -> None:
        """Let the pump see what is durable, and say what happened to envelopes (OBS-2)."""
        for event in events:
            if isinstance(event, EnvelopeQueued):
                self._queued((event,))
            elif isinstance(event, EnvelopesQueued):
                self._queued(event.envelopes)
            elif isinstance(event, EnvelopeConcluded):
                self.queue.end(event.msg_ids, Conclusion(event.outcome, event.at_ms, event.reason))
                for msg_id in event.msg_ids if self._observed else ():
                    self._report("envelope_concluded", msg_id, outcome=event.outcome, reason=event.reason)
            elif isinstance(event, MessageSettled):
                self.given.difference_update(event.msg_ids)

    def _queued(self, envelopes: Sequence[EnvelopeQueued | QueuedRow]) -> None:
        entries = self.lane.state.outbox.entries
        for one in envelopes:
            entry = entries.get(one.msg_id)
            if entry is not None:  # else it has ended already, and that is durable soon
                self.queue.add(entry)
            if self._observed:
                self._report("envelope_queued", one.msg_id, type=one.type, corr_id=one.corr_id, size=one.size)

    def _report(self, kind: str, msg_id: str, **fields: Any) -> None:
        told = {name: value for name, value in fields.items() if value is not None}
        self._emit(kind, severity="debug", peer=self.fingerprint, msg_id=msg_id, **told)
