"""One CIP session without I/O: bytes and time go in, actions come out.

The session validates, asks the peer's lane, and seals what has to be said. Its runtime reads and writes the
channels, keeps the deadline, and runs the application's code. So a handshake can be played in memory, byte
for byte the same each time (HS-9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from web4.foundation.digest import blake3_hex
from web4.foundation.errors import EnvelopeError
from web4.protocols.cip import mesh_path
from web4.protocols.cip.actions import (
    Action,
    Arm,
    AskIntent,
    Close,
    Deliver,
    Delivery,
    Established,
    Receipted,
    Send,
)
from web4.protocols.cip.arrivals import Arrivals
from web4.protocols.cip.handshake import (
    Closed,
    DeadlinePassed,
    HelloAnswered,
    HelloPrepared,
    Opened,
    VerifySent,
    waits_ms,
)
from web4.protocols.cip.handshake_driver import HandshakeDriver
from web4.protocols.cip.outbox.answering import answer_intent
from web4.protocols.cip.outbox.entries import INLINE_BYTES
from web4.protocols.cip.peer_logic import LATE_MS
from web4.protocols.cip.peer_state import Refusal
from web4.protocols.cip.refusals import Refusals
from web4.protocols.cip.reports import Reports
from web4.protocols.cip.sealing import Sealed, seal
from web4.protocols.cip.taking import let_in
from web4.protocols.cip.validation import Incoming, checked, open_early
from web4.protocols.errors import NotConnectedError, TimestampError
from web4.protocols.messages import cip as m
from web4.protocols.messages.fields import Party
from web4.protocols.messages.vocabulary import TYPES, type_of
from web4.trust import TrustViolationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal

    from web4.foundation.envelope import Envelope
    from web4.protocols.cip.context import CipContext, SessionFacts
    from web4.protocols.cip.handshake import HandshakeOutcome, HandshakeState
    from web4.protocols.cip.peer import Peer
    from web4.protocols.cip.peer_state import PeerOutcome
    from web4.protocols.cip.proof import HelloFacts
    from web4.protocols.cip.sealing import About
    from web4.protocols.messages.vocabulary import AgentPayload, ChannelKind


class CipSession:
    """The CIP side of one RTT session. Every method returns what the runtime has to do, in order.

    Args:
        context: What all sessions of the node share.
        peer: What is held about the session's proven peer.
        facts: What RTT proved.
        may_answer: Whether one more REPLY could be queued; without, an INTENT is refused as `busy`.
    """

    def __init__(
        self,
        context: CipContext,
        peer: Peer,
        facts: SessionFacts,
        *,
        may_answer: Callable[[], bool] = lambda: True,
    ) -> None:
        self._context = context
        self._peer = peer
        self._facts = facts
        self._driver = HandshakeDriver(context, facts)
        self._refusals = Refusals(context, peer, facts, self._sealed)
        self._arrivals = Arrivals(context, peer, facts, self._driver, self._refusals.keeps, may_answer)
        self._reports = Reports(facts, context.emit)
        self._over = False
        self._armed_step = 0

    @property
    def state(self) -> HandshakeState | None:
        """Where the handshake stands; None before `start` and after `closed`."""
        return self._peer.lane.state.handshakes.get(self._facts.session_id)

    @property
    def established(self) -> bool:
        """Whether messages other than the handshake's may flow."""
        state = self.state
        return state is not None and state.established and not self._over

    # --- life -------------------------------------------------------------------------------------------

    def start(self) -> list[Action]:
        """Begin: the initiator says HELLO, the responder waits for it."""
        role = self._driver.role
        self._peer.lane.handle(Opened(session_id=self._facts.session_id, at_ms=self._now(), role=role))
        return self._say_hello() if self._facts.initiator else self._rearmed([])

    def verify_again(self) -> list[Action]:
        """Say HELLO once more on an established session (HS-8). Only the initiator can; nothing otherwise."""
        state = self.state
        if state is None or state.phase != "established" or not self._facts.initiator:
            return []
        return self._say_hello()

    def deadline(self, step: int) -> list[Action]:
        """Say that the time that was armed for `step` is over."""
        command = DeadlinePassed(session_id=self._facts.session_id, at_ms=self._now(), step=step)
        outcome = self._peer.lane.handle(command)
        return self._followed(outcome.handshake, None) if outcome.handshake else []

    def closed(self) -> None:
        """Say that the RTT session has ended; nothing of it is kept but the ids it used. Twice is as once.

        Never raises: what a journal does not take now is made up for when the lane is loaded again.
        """
        self._over = True
        self._peer.lane.handle(Closed(session_id=self._facts.session_id, at_ms=self._now()))

    # --- what arrives -----------------------------------------------------------------------------------

    def receive_together(self, messages: list[bytes], channel: ChannelKind) -> Iterator[list[Action]]:
        """Take in what came at once: as `receive` of each, in order, with fewer decisions.

        What is given is to be held before the next is asked for: room is found for it only once.
        """
        if self._over or not messages:
            return
        # Those that the rate lets through (LIM-2) are opened on all cores; what goes over the mesh is signed by others.
        most = self._peer.messages.take_several(len(messages), self._context.clock.monotonic_ns())
        reception = self._arrivals.reception(channel, self._now())
        opened: Sequence[Envelope | None] = (None,) * len(messages)
        if channel != "relay":
            opened = open_early(messages, reception, most)
        run: list[Incoming] = []  # verified, and to be decided: before anything else happens to what follows
        for place, data in enumerate(messages):
            found = checked(data, reception, opened[place]) if place < most else None
            if isinstance(found, Incoming) and self._arrivals.may_come_together(found.message, len(data)):
                run.append(found)
                continue
            yield from self._decided_together(run)
            run = []
            if self._over:
                return
            yield self._received(found, data, channel)
            if self._over:
                return
        yield from self._decided_together(run)

    def receive(self, data: bytes, channel: ChannelKind) -> list[Action]:
        """Take in one message, in the order of VAL-1."""
        if self._over:
            return []
        found: Incoming | EnvelopeError | None = None
        if self._peer.messages.take(self._context.clock.monotonic_ns()):
            found = checked(data, self._arrivals.reception(channel, self._now()))
        return self._received(found, data, channel)

    def _received(
        self, found: Incoming | EnvelopeError | None, data: bytes, channel: ChannelKind
    ) -> list[Action]:
        """Say what follows from one message; `found` is None if there were more of them than allowed (LIM-2)."""
        at_ms = self._now()
        if found is None:
            self._arrivals.dropped(data, channel, self._peer.messages.retry_after_ms())
            return self._refusals.rate_limited(data, self._context.clock.monotonic_ns())
        if isinstance(found, EnvelopeError):
            if isinstance(found, TimestampError):
                self._arrivals.put_off(channel, found.msg_id, LATE_MS)
            return self._ending(self._refusals.faulty(found, data, at_ms))
        if mesh_path.is_for_the_mesh(found.message.type):
            return self._meshed(found, channel)
        return self._arrived(found, at_ms)

    def _arrived(self, incoming: Incoming, at_ms: int) -> list[Action]:
        arrived = self._arrivals.arrived(incoming, self.state, at_ms)
        return self._decided(incoming, self._peer.lane.handle(arrived), at_ms)

    def _decided_together(self, run: Sequence[Incoming]) -> Iterator[list[Action]]:
        """Let in what goes the usual way in one decision, as much of `run` as does; decide about the others singly."""
        while run and not self._over:
            at_ms = self._now()
            count, actions = let_in(self._peer, self._arrivals, self._reports, run, at_ms)
            if not count:
                count, actions = 1, self._arrived(run[0], at_ms)
            run = run[count:]
            yield actions

    def _meshed(self, incoming: Incoming, channel: ChannelKind) -> list[Action]:
        """Let the mesh have what a neighbour may hand over (MESH-2): step 11. Whether it was here before it knows."""
        state = self.state
        agreement = state.agreement if state is not None and self.established else None
        code, admission = mesh_path.barred(incoming.message.type, self._peer.trust, agreement)
        if code is None and self._context.mesh is not None:
            return [mesh_path.DeliverMesh(incoming, channel)]
        refusal = Refusal("TrustViolationError", code or "gate", field="type", silent=admission == "drop")
        return self._refusals.refused(refusal, incoming)

    def _decided(self, incoming: Incoming, outcome: PeerOutcome, at_ms: int) -> list[Action]:
        """Do what the peer's lane decided about a message."""
        if outcome.refusal is not None:
            wait_ms = outcome.refusal.retry_after_ms
            if wait_ms is None:
                self._arrivals.came(incoming.message)
            elif TYPES[incoming.message.type].durable:
                message = incoming.message
                self._arrivals.put_off(TYPES[message.type].channel, message.msg_id, wait_ms)
            return self._ending(self._refusals.refused(outcome.refusal, incoming, outcome.trust))
        if outcome.status == "duplicate":
            self._refusals.duplicate(incoming)
            return [Receipted(incoming.message.msg_id)] if outcome.receipt else []
        self._peer.recent.put(incoming.message.msg_id, incoming.envelope.data)
        self._peer.agent_id = incoming.message.sender.agent_id
        if outcome.handshake is not None and outcome.handshake.code == "bad_response":
            self._refusals.bad_response(incoming, outcome.trust)
            return self._followed(outcome.handshake, incoming.message.msg_id)
        received = self._reports.received(incoming, outcome.admission)
        if outcome.handshake is not None:
            return [received, *self._followed(outcome.handshake, incoming.message.msg_id)]
        return [received, *self._taken(incoming, outcome, at_ms)]

    def _taken(self, incoming: Incoming, outcome: PeerOutcome, at_ms: int) -> list[Action]:
        """Say where a message goes that was let in."""
        message = incoming.message
        if isinstance(message, m.StateUpdateEnvelope):
            self._peer.newest_state = message.payload
            self._peer.newest_state_ms = incoming.timestamp_ms
            self._peer.state_heard_ms = self._ticks_ms()
            self._peer.queue.wake()  # it may ask for another pace (PACE-4)
            return [self._reports.told_state(message)]
        if isinstance(message, m.ReceiptEnvelope) or outcome.admission is None:
            return []
        if outcome.waits_ms is not None:
            self._peer.queue.again_in(outcome.waits_ms, self._ticks_ms())
        delivery = Delivery(
            peer=self._facts.peer,
            trust=self._peer.trust,
            admission=outcome.admission,
            message=message,
            digest=incoming.digest,
            size=len(incoming.envelope.data),
            received_ms=at_ms,
        )
        if not outcome.receipt:
            return [Deliver(delivery, optional=isinstance(message, m.ErrorEnvelope))]
        self._arrivals.came(message)
        if delivery.size > INLINE_BYTES:
            self._peer.lane.keep(f"b3:{delivery.digest}", incoming.envelope.data)
        receipted = Receipted(message.msg_id)
        if not isinstance(message, m.IntentEnvelope):
            return [receipted, Deliver(delivery)]
        return [receipted, *self._intent(delivery, message)]

    def _intent(self, delivery: Delivery, intent: m.IntentEnvelope) -> list[Action]:
        """Ask the application, unless there is no point in it now (CIP-4)."""
        retry_ms, reason = self._context.overload_retry_ms, "overloaded"
        if retry_ms is None and not self._context.room(self._facts.peer):
            retry_ms, reason = self._context.options.busy_retry_ms, "busy"
        if retry_ms is not None:
            return self.answer_intent(delivery, "deferred", reason, retry_ms)
        return [AskIntent(delivery, intent)]

    # --- what is said -----------------------------------------------------------------------------------

    def send(
        self, payload: AgentPayload, *, corr_id: str | None = None, about: About | None = None
    ) -> tuple[Sealed, list[Action]]:
        """Seal a message to the peer; `about` is what HCP and LIP envelopes say beside their payload.

        Raises:
            NotConnectedError: The session is not established.
            TrustViolationError: `capability`: what the type needs was not agreed.
            PayloadSchemaError: The payload does not fit its schema, or `about` not its protocol.
            InvalidEnvelopeError: `too_large`, or `syntax` for what has no canonical form.
        """
        state = self.state
        kind = type_of(payload)
        if not self.established or state is None or state.agreement is None:
            raise NotConnectedError("the session is not established", peer=self._facts.peer)
        if not state.agreement.allows(kind.name):
            raise TrustViolationError(f"{kind.name} was not agreed", code="capability", peer=self._facts.peer)
        sealed = self._sealed(payload, corr_id, about)
        if kind.channel == "knowledge":
            self._peer.sent(sealed.msg_id)
        return sealed, [Send(kind.channel, sealed)]

    def sent(self, sealed: Sealed) -> None:
        """Say that the transport has accepted a message: only then is it reported (RTT-70)."""
        self._reports.sent(sealed)

    def state_update(self) -> list[Action]:
        """Tell the peer how this node is (PACE-3); nothing while the session is not established."""
        if not self.established:
            return []
        view = self._peer.trust
        now = self._context.state
        payload = m.StateUpdate(
            presence=now.presence,
            lri=now.lri,
            ltppeerstate="untrusted" if view == "unknown" else view,
            kernel_signals=now.kernel_signals,
            intent=now.intent,
        )
        return self.send(payload)[1]

    def answer_intent(
        self,
        delivery: Delivery,
        status: Literal["accepted", "deferred", "refused"],
        reason: str,
        retry_after_ms: int | None = None,
    ) -> list[Action]:
        """Answer an INTENT at once (LOOP-5), by the outbox; an accepted one goes on to the application."""
        return answer_intent(self._context, self._peer, delivery, status, reason, retry_after_ms)

    def receipt(self, msg_ids: Sequence[str]) -> Sealed | None:
        """Say that messages are durable here (OUT-3); nothing to the blacklisted (CIP-2)."""
        if self._peer.trust == "blacklisted":
            return None
        return self._sealed(m.Receipt(msg_ids=tuple(msg_ids)))

    def _sealed(
        self, payload: AgentPayload, corr_id: str | None = None, about: About | None = None
    ) -> Sealed:
        return seal(
            self._context.identity,
            payload,
            agent_id=self._context.options.agent_id,
            receiver=Party(agent_id=self._peer.agent_id, fingerprint=self._facts.peer),
            msg_id=self._context.ids.uuid4(),
            now_ms=self._now(),
            corr_id=corr_id,
            about=about,
            max_bytes=self._context.options.envelope_bytes,
        )

    # --- the handshake ----------------------------------------------------------------------------------

    def _say_hello(self) -> list[Action]:
        own = self._driver.fresh()
        sealed = self._sealed(self._driver.hello(own))
        self._driver.sent(sealed.msg_id)
        hello = msgspec.structs.replace(own, digest=blake3_hex(sealed.data))
        self._peer.lane.handle(
            HelloPrepared(session_id=self._facts.session_id, at_ms=self._now(), hello=hello)
        )
        return self._rearmed([Send("control", sealed)])

    def _followed(self, outcome: HandshakeOutcome, cause: str | None) -> list[Action]:
        """Do what the handshake asks for next. `cause` is the msg_id of the message that led here."""
        actions: list[Action] = []
        match outcome.action:
            case "answer":
                actions = self._answer_hello()
            case "verify":
                actions = self._verify()
            case "established":
                actions = self._announce()
            case "retry":
                return self._say_hello()
            case "deferred" | "failed" if outcome.tell and outcome.code is not None:
                actions = self._refusals.tell(outcome.code, cause, outcome.retry_after_ms)
        if outcome.action == "failed":
            actions.append(Close(outcome.code or "failed"))
        return self._ending(self._rearmed(actions))

    def _answer_hello(self) -> list[Action]:
        own, peer = self._hellos()
        sealed = self._sealed(self._driver.answering_hello(own, peer))
        self._driver.sent(sealed.msg_id)
        self._peer.lane.handle(
            HelloAnswered(
                session_id=self._facts.session_id, at_ms=self._now(), digest=blake3_hex(sealed.data)
            )
        )
        return [Send("control", sealed)]

    def _verify(self) -> list[Action]:
        own, peer = self._hellos()
        sealed = self._sealed(self._driver.verify(own, peer))
        self._driver.sent(sealed.msg_id)
        self._peer.lane.handle(VerifySent(session_id=self._facts.session_id, at_ms=self._now()))
        return [Send("control", sealed), *self._announce()]

    def _announce(self) -> list[Action]:
        state = self.state
        if state is None or state.agreement is None:
            return []
        return [Established(state.agreement), *self.state_update()]

    def _hellos(self) -> tuple[HelloFacts, HelloFacts]:
        state = self.state
        if state is None or state.own is None or state.peer is None:
            raise RuntimeError("the handshake asked for an answer before both HELLOs were there")
        return state.own, state.peer

    def _rearmed(self, actions: list[Action]) -> list[Action]:
        """Set the deadline of a step once, when it is reached: nothing that is said later prolongs it."""
        state = self.state
        if state is not None and state.step != self._armed_step:
            self._armed_step = state.step
            actions.append(Arm(state.step, waits_ms(state, self._context.options.step_deadline_ms)))
        return actions

    def _ending(self, actions: list[Action]) -> list[Action]:
        """Take nothing more in once the session is being closed."""
        self._over = self._over or any(isinstance(action, Close) for action in actions)
        return actions

    def _ticks_ms(self) -> int:
        """For what is waited for: the wall clock may be set meanwhile."""
        return self._context.clock.monotonic_ns() // 1_000_000

    def _now(self) -> int:
        return self._context.clock.wall_ms()
