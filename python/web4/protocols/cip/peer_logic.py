"""What lane `peer:<fingerprint>` decides for CIP: replay, handshake, trust and gates in one state (WEB-1).

Steps 10 and 11 of VAL-1 are here, because they need that state. Commands bring everything else: time,
digests, verdicts on signatures, and preconditions that other lanes resolved.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from web4.foundation.logic import Decision
from web4.protocols.cip.admitting import barred, key_of, taken_together
from web4.protocols.cip.deciding import records
from web4.protocols.cip.handshake import (
    HandshakeCommand,
    HandshakeLogic,
    HandshakeStep,
    HelloArrived,
    PutOff,
)
from web4.protocols.cip.outbox import logic as outboxes
from web4.protocols.cip.outbox.applying import MOVES, moved
from web4.protocols.cip.outbox.commands import Conclude, Enqueue, EnqueueTogether, OutboxCommand, Settle
from web4.protocols.cip.outbox.entries import (
    EnvelopeConcluded,
    MessageTaken,
)
from web4.protocols.cip.outbox.logic import OutboxLogic
from web4.protocols.cip.peer_state import (
    Arrived,
    ArrivedTogether,
    Caused,
    CauseHeard,
    IdHeard,
    PeerCommand,
    PeerEvent,
    PeerOutcome,
    PeerState,
    Refusal,
    Rest,
    Rested,
)
from web4.protocols.cip.replay import Heard, ReplayLimits, Verdict
from web4.protocols.decisions import DecisionOutcome, DecisionRecord
from web4.protocols.gates import GATES, Admission
from web4.trust import (
    AuthFailure,
    Evidence,
    HandshakeOk,
    MaliciousEvidence,
    TrustCommand,
    TrustEvent,
    TrustLogic,
    TrustOutcome,
    cited_envelope,
)

if TYPE_CHECKING:
    from web4.protocols.cip.outbox.known_ids import Room

_Decision = Decision[PeerEvent, PeerOutcome]
_QUEUES = (Enqueue, EnqueueTogether)
_ON_ITS_WAY = (*_QUEUES, Conclude, Settle)
_TELEMETRY = "STATE_UPDATE"
_changed = msgspec.structs.replace
_HANDSHAKE_TYPES = frozenset({"HELLO", "VERIFY", "ERROR"})
LATE_MS: Final = 1_000
"""After so long is said again what came too late to its peer."""


@dataclass(frozen=True)
class PeerLogic:
    """Logic of lane `peer:<fingerprint>`, as far as CIP goes.

    `peer` is that fingerprint: records of decisions name it (MEM-1). Applying needs none.
    """

    trust: TrustLogic = field(default_factory=TrustLogic)
    handshake: HandshakeLogic = field(default_factory=HandshakeLogic)
    replay: ReplayLimits = field(default_factory=ReplayLimits)
    outbox: OutboxLogic = field(default_factory=OutboxLogic)
    initial: PeerState = field(default_factory=PeerState)
    peer: str = "peer"

    def decide(self, state: PeerState, command: PeerCommand) -> _Decision:
        """Say what `command` leads to: at most one trust event, and the one outcome of a message."""
        if isinstance(command, Arrived):
            decision = self._arrived(state, command)
        elif isinstance(command, ArrivedTogether):
            return taken_together(self.replay, self.outbox.limits, state, command)
        elif isinstance(command, _ON_ITS_WAY):
            decision = self._on_its_way(state, command)
        elif isinstance(command, HandshakeCommand):
            decision = self._stepped(state, command)
        elif isinstance(command, Rest):
            return self._rested(state, command)
        elif isinstance(command, Caused):
            decision = self._caused(state, command)
        else:
            decision = self._trusted(state, command)
        if len(decision.events) == 1 and isinstance(decision.events[0], MessageTaken):
            return decision  # many of them
        if any(
            isinstance(one, TrustEvent) and one.moved and one.to == "blacklisted" for one in decision.events
        ):
            purged = self.outbox.purge(state.outbox, state.taken, "blacklisted", command.at_ms)  # TRUST-8
            decision = Decision((*decision.events, *purged), decision.reply)
        written = records(self.peer, state.taken, decision.events)
        return Decision((*decision.events, *written), decision.reply) if written else decision

    def apply(self, state: PeerState, event: PeerEvent) -> PeerState:
        """Give the state after `event`."""
        if isinstance(event, MOVES):
            return moved(state, event)
        if isinstance(event, HandshakeStep):
            handshakes, of = state.handshakes, event.session_id
            step = self.handshake.apply(handshakes.get(of), event)
            return _changed(
                state, handshakes=handshakes.delete(of) if step is None else handshakes.set(of, step)
            )
        if isinstance(event, TrustEvent):
            return _changed(state, trust=self.trust.apply(state.trust, event))
        if isinstance(event, DecisionRecord | DecisionOutcome):
            return state
        if isinstance(event, CauseHeard):
            key, at_ms = bytes.fromhex(event.key), event.at_ms
            causes = state.causes.adding(key, _NOTHING, at_ms, begins=event.begins, lets_go=event.lets_go)
            return _changed(state, causes=causes)
        limits = _limits(event.skew_ms)
        if isinstance(event, IdHeard):
            heard = Heard(bytes.fromhex(event.content), bytes.fromhex(event.envelope))
            key = bytes.fromhex(event.key)
            replay = state.replay.remembering(key, heard, at_ms=event.at_ms, limits=limits, anew=event.anew)
        else:
            replay = state.replay.without_stale(event.at_ms, limits)
        return _changed(state, replay=replay)

    def _rested(self, state: PeerState, command: Rest) -> _Decision:
        gone = state.replay != state.replay.without_stale(command.at_ms, self.replay)
        rested = Rested(at_ms=command.at_ms, skew_ms=self.replay.skew_ms)
        return Decision((rested,) if gone else (), PeerOutcome("taken"))

    def _on_its_way(self, state: PeerState, command: OutboxCommand) -> _Decision:
        """Queue, conclude or settle (section 18)."""
        if isinstance(command, _QUEUES) and state.trust.state == "blacklisted":
            return Decision((), PeerOutcome("refused", refusal=Refusal("TrustViolationError", "gate")))
        events: tuple[PeerEvent, ...]
        events, queueing = outboxes.decide(self.outbox, state.outbox, state.taken, command)
        if isinstance(queueing, tuple):
            return Decision(events, PeerOutcome("taken", queueings=queueing))
        if queueing == "queued" and isinstance(command, Enqueue) and command.decided is not None:
            events = (*events, command.decided)
        return Decision(events, PeerOutcome("taken", queueing=queueing))

    # --- a message ------------------------------------------------------------------------------------

    def _arrived(self, state: PeerState, command: Arrived) -> _Decision:
        replayed = self._replayed(state, command)  # step 10
        if replayed is not None:
            return replayed
        admission = GATES[command.type][state.trust.state]  # step 11
        if command.type in _HANDSHAKE_TYPES and admission != "drop":
            return self._handshake_message(state, command)
        refusal = barred(state.handshakes.get(command.session_id), command, admission)
        if refusal is not None:
            return Decision((), PeerOutcome("refused", refusal=refusal))
        if command.durable:
            return self._take(state, command, admission)
        ends = Conclude(at_ms=command.at_ms, msg_ids=command.receipts, outcome="delivered")
        concluded = self.outbox.conclude(state.outbox, ends)
        return Decision(
            (*self._heard(state, command), *concluded), PeerOutcome("handled", admission=admission)
        )

    def _take(self, state: PeerState, command: Arrived, admission: Admission) -> _Decision:
        """Let in a message of an outbox type: recorded whole, so that a restart delivers it again (OUT-3)."""
        room = self._room(state, command)
        taken = MessageTaken(
            number=state.taken.last + 1,
            msg_id=command.msg_id,
            type=command.type,
            at_ms=command.at_ms,
            admission=admission,
            trust=state.trust.state,
            content=command.content_digest,
            digest=command.digest,
            size=command.size,
            envelope=command.envelope,
            blob=command.blob,
            begins=room.begins,
            lets_go=room.lets_go,
        )
        return Decision((taken,), PeerOutcome("handled", admission=admission, receipt=True))

    def _room(self, state: PeerState, command: Arrived) -> Room:
        return state.known.room(command.at_ms, self.replay, self.outbox.limits.retention_ms)

    def _replayed(self, state: PeerState, command: Arrived) -> _Decision | None:
        """Step 10. What was heard is remembered only once the message is let in, so that a retry can be."""
        if command.type == _TELEMETRY:
            handshake = state.handshakes.get(command.session_id)
            floor_ms = max(command.newest_state_ms, 0 if handshake is None else handshake.heard_ms)
            # What lies further ahead than a timestamp can came before the clock was set back.
            holds = floor_ms <= command.at_ms + self.replay.retention_ms
            verdict = Verdict("forgotten" if command.timestamp_ms < floor_ms and holds else "fresh")
        else:
            content = bytes.fromhex(command.content_digest)
            verdict = self._judge(state, command, key_of(command.msg_id), content)
        if verdict.kind == "duplicate":
            return Decision((), PeerOutcome("duplicate", receipt=command.durable))
        if verdict.kind == "equivocation":
            return self._equivocated(state, command, verdict)
        if verdict.kind == "full":
            refusal = Refusal("ReplayError", "replay_window_full", retry_after_ms=verdict.retry_after_ms)
        elif verdict.kind == "forgotten":
            refusal = Refusal("ReplayError", "replayed", field="timestamp", silent=True)
        elif isinstance(command.handshake, HelloArrived):
            nonce = base64.b64decode(command.handshake.hello.nonce)
            if self._judge(state, command, nonce, nonce).kind != "duplicate":
                return None
            refusal = Refusal("ReplayError", "nonce_replayed", field="payload.session_nonce", silent=True)
        else:
            return None
        return Decision((), PeerOutcome("refused", refusal=refusal))

    def _judge(self, state: PeerState, command: Arrived, key: bytes, content: bytes) -> Verdict:
        first = state.known.find(key)
        if first is not None:
            return Verdict("duplicate" if first.content == content else "equivocation", first)
        if command.durable:
            first = state.replay.find(key)
            if first is not None:
                return Verdict("duplicate" if first.content == content else "equivocation", first)
            retry_after_ms = self._room(state, command).retry_after_ms
            return Verdict("fresh" if retry_after_ms is None else "full", retry_after_ms=retry_after_ms)
        return state.replay.judge(
            key,
            content,
            at_ms=command.at_ms,
            timestamp_ms=command.timestamp_ms,
            limits=self.replay,
            room_for=2 if command.type == "HELLO" else 1,
        )

    def _equivocated(self, state: PeerState, command: Arrived, verdict: Verdict) -> _Decision:
        """Two contents under one id: proof against the peer, whoever else is named (REP-3)."""
        assert verdict.first is not None
        blame = MaliciousEvidence(
            at_ms=command.at_ms,
            reason="equivocation",
            evidence=(
                cited_envelope(verdict.first.envelope.hex(), command.msg_id, command.keeps_first),
                cited_envelope(command.digest, command.msg_id, command.keeps),
            ),
            newcomer_allowed=command.newcomer_retry_ms is None,
        )
        decision = self.trust.decide(state.trust, blame)
        refusal = Refusal("ReplayError", "equivocation", field="msg_id", silent=True)
        return Decision(decision.events, PeerOutcome("refused", refusal=refusal, trust=decision.reply))

    def _heard(self, state: PeerState, command: Arrived) -> tuple[IdHeard, ...]:
        """What to remember of a message that was let in: its id, and a HELLO's nonce; of telemetry nothing."""
        if command.type == _TELEMETRY:
            return ()
        content, envelope, at_ms = command.content_digest, command.digest, command.at_ms
        skew_ms = self.replay.skew_ms
        key, anew = key_of(command.msg_id).hex(), state.replay.is_ahead(at_ms)
        heard = IdHeard(key=key, content=content, envelope=envelope, at_ms=at_ms, skew_ms=skew_ms, anew=anew)
        if not isinstance(command.handshake, HelloArrived):
            return (heard,)
        nonce = base64.b64decode(command.handshake.hello.nonce).hex()
        return (
            heard,
            IdHeard(key=nonce, content=nonce, envelope=envelope, at_ms=at_ms, skew_ms=skew_ms),
        )

    # --- the handshake --------------------------------------------------------------------------------

    def _handshake_message(self, state: PeerState, command: Arrived) -> _Decision:
        handshake = command.handshake
        if handshake is None:  # an ERROR about something else
            return self._complaint(state, command)
        if isinstance(handshake, HelloArrived):
            handshake = self._with_patience(state, command, handshake)
        evidence = (cited_envelope(command.digest, command.msg_id, command.keeps),)
        decision = self._stepped(
            state, handshake, newcomer_retry_ms=command.newcomer_retry_ms, evidence=evidence
        )
        outcome = decision.reply.handshake
        if outcome is not None and outcome.action == "out_of_turn":
            refusal = Refusal("InvalidEnvelopeError", "out_of_turn", field="type")
            return Decision((), PeerOutcome("refused", refusal=refusal))
        return Decision((*self._heard(state, command), *decision.events), decision.reply)

    def _complaint(self, state: PeerState, command: Arrived) -> _Decision:
        """An ERROR ends the entry it names, unless the peer asks for patience: then it goes again (OUT-5)."""
        heard = self._heard(state, command)
        waits_ms = command.about_retry_ms
        if waits_ms is None and command.about_code == "skew":
            waits_ms = (
                LATE_MS  # it waited for a carrier meanwhile: the next attempt has a fresh timestamp (OUT-2)
            )
        if waits_ms is not None:
            return Decision(heard, PeerOutcome("handled", admission="yes", waits_ms=waits_ms))
        ends: tuple[EnvelopeConcluded, ...] = ()
        if command.about is not None:
            refused = Conclude(
                at_ms=command.at_ms, msg_ids=(command.about,), outcome="refused", reason=command.about_code
            )
            ends = self.outbox.conclude(state.outbox, refused)
        return Decision((*heard, *ends), PeerOutcome("handled", admission="yes"))

    def _with_patience(self, state: PeerState, command: Arrived, hello: HelloArrived) -> HelloArrived:
        """Say whether this HELLO has to wait, before anything is answered: HS-5, TRUST-3, TRUST-10."""
        cooldown_ms = self.trust.cooldown_left_ms(state.trust, command.at_ms)
        if cooldown_ms:
            return msgspec.structs.replace(hello, defer="cooldown", retry_after_ms=cooldown_ms)
        if state.trust.state == "unknown" and command.newcomer_retry_ms is not None:
            return msgspec.structs.replace(
                hello, defer="newcomer_limit", retry_after_ms=command.newcomer_retry_ms
            )
        if command.overload_retry_ms is not None:
            return msgspec.structs.replace(hello, defer="deferred", retry_after_ms=command.overload_retry_ms)
        return hello

    def _stepped(
        self,
        state: PeerState,
        command: HandshakeCommand,
        *,
        newcomer_retry_ms: int | None = None,
        evidence: tuple[Evidence, ...] = (),
    ) -> _Decision:
        """Take one step of a session's handshake, and draw the consequence for trust (HS-2, HS-6)."""
        before = state.handshakes.get(command.session_id)
        step = self.handshake.decide(before, command)
        blame: TrustCommand | None = None
        if step.reply.proved and before is not None and not before.established:
            blame = HandshakeOk(at_ms=command.at_ms, newcomer_allowed=newcomer_retry_ms is None)
        elif step.reply.code == "bad_response":
            blame = AuthFailure(
                at_ms=command.at_ms,
                session_id=command.session_id,
                reason="bad_response",
                evidence=evidence,
            )
        if blame is None:
            return Decision(step.events, PeerOutcome("taken", handshake=step.reply))
        trust = self.trust.decide(state.trust, blame)
        retry_after_ms = trust.reply.retry_after_ms
        code = "cooldown"
        if trust.reply.refused == "newcomer_limit":
            retry_after_ms, code = newcomer_retry_ms, "newcomer_limit"
        if retry_after_ms is not None:
            # The proof was good, but it raises nobody now: the peer is told and the session waits.
            put_off = PutOff(
                session_id=command.session_id,
                at_ms=command.at_ms,
                code=code,
                retry_after_ms=retry_after_ms,
                by_peer=False,
            )
            step = self.handshake.decide(before, put_off)
        outcome = PeerOutcome("taken", handshake=step.reply, trust=trust.reply)
        return Decision((*trust.events, *step.events), outcome)

    def _trusted(self, state: PeerState, command: TrustCommand) -> _Decision:
        decision = self.trust.decide(state.trust, command)
        return Decision(decision.events, PeerOutcome("taken", trust=decision.reply))

    def _caused(self, state: PeerState, command: Caused) -> _Decision:
        """Move trust once for a cause (ROUTE-3)."""
        if state.causes.find(bytes.fromhex(command.key)) is not None:
            return Decision((), PeerOutcome("duplicate", trust=TrustOutcome(state.trust.state)))
        decision = self.trust.decide(state.trust, command.command)
        if not decision.events:
            return Decision((), PeerOutcome("taken", trust=decision.reply))
        retention_ms = self.outbox.limits.retention_ms
        room = state.causes.room(command.at_ms, self.replay, retention_ms, refuse=False)
        heard = CauseHeard(key=command.key, at_ms=command.at_ms, begins=room.begins, lets_go=room.lets_go)
        return Decision((*decision.events, heard), PeerOutcome("taken", trust=decision.reply))


_NOTHING = Heard(b"", b"")


@lru_cache(maxsize=8)
def _limits(skew_ms: int) -> ReplayLimits:
    """The limits that an event was decided under."""
    return ReplayLimits(skew_ms=skew_ms)
