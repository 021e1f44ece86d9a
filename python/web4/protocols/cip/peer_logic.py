"""What lane `peer:<fingerprint>` decides for CIP: replay, handshake, trust and gates in one state (WEB-1).

Steps 10 and 11 of VAL-1 are here, because they need that state. Commands bring everything else: time,
digests, verdicts on signatures, and preconditions that other lanes resolved.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import msgspec
from immutables import Map

from web4.foundation.logic import Decision
from web4.protocols.cip.handshake import (
    HandshakeCommand,
    HandshakeLogic,
    HandshakeOutcome,
    HandshakeState,
    HandshakeStep,
    HelloArrived,
    PutOff,
    Refused,
    VerifyArrived,
)
from web4.protocols.cip.replay import Heard, ReplayLimits, ReplayWindow, Verdict
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
    TrustRecord,
    cited_envelope,
)


@dataclass(frozen=True, slots=True)
class PeerState:
    """What this node holds about one peer: trust, what it said lately, and its sessions' handshakes."""

    trust: TrustRecord = field(default_factory=TrustRecord)
    replay: ReplayWindow = field(default_factory=ReplayWindow)
    handshakes: Map[str, HandshakeState] = field(default_factory=Map)


class Arrived(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message that passed steps 1 to 9 came on a session of this peer.

    Args:
        session_id: The session, in hex.
        at_ms: Time here.
        type: The message's type.
        msg_id: Its id.
        content_digest: BLAKE3-256 of its content, in hex (SIG-5).
        digest: BLAKE3-256 of the whole envelope, in hex.
        timestamp_ms: Its timestamp.
        handshake: What it means for the handshake, if it does: a HELLO, a VERIFY, or an ERROR about our own.
        room: Whether it can be taken in now: by the application, or, an INTENT, whether it can be answered.
        answers_ours: Whether a REPLY answers a message of this node.
        newest_state_ms: Timestamp of the newest STATE_UPDATE heard from this peer (telemetry, REP-2).
        overload_retry_ms: This node is overloaded: when a HELLO may be tried again.
        newcomer_retry_ms: No new record may be made of an unknown peer now (TRUST-10): when to try again.
        busy_retry_ms: When to try again if there is no room.
        keeps: The envelope's size in bytes, if it can be kept as evidence.
        keeps_first: The size of what came first under its id, if that is still held and could be kept, too.
    """

    session_id: str
    at_ms: int
    type: str
    msg_id: str
    content_digest: str
    digest: str
    timestamp_ms: int
    handshake: HelloArrived | VerifyArrived | PutOff | Refused | None = None
    room: bool = True
    answers_ours: bool = True
    newest_state_ms: int = 0
    overload_retry_ms: int | None = None
    newcomer_retry_ms: int | None = None
    busy_retry_ms: int = 1_000
    keeps: int | None = None
    keeps_first: int | None = None


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is going on with the peer; what can no longer be replayed at `at_ms` may go."""

    at_ms: int


PeerCommand = Arrived | HandshakeCommand | TrustCommand | Rest


class IdHeard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An id or nonce was used (REP-2). `key` is its bytes in hex.

    `skew_ms` is the node's limit at that time, so that replay needs none: it says what the window let go.
    """

    key: str
    content: str
    envelope: str
    at_ms: int
    skew_ms: int


class Rested(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The window let go what could no longer be replayed. See `IdHeard` for `skew_ms`."""

    at_ms: int
    skew_ms: int


PeerEvent = TrustEvent | IdHeard | Rested | HandshakeStep
RefusalKind = Literal["InvalidEnvelopeError", "ReplayError", "TrustViolationError", "TryAgainLater"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message was refused: the error's class and what it carries. `silent`: the peer is not told."""

    kind: RefusalKind
    code: str
    field: str | None = None
    retry_after_ms: int | None = None
    silent: bool = False


@dataclass(frozen=True, slots=True)
class PeerOutcome:
    """The answer to a command.

    Args:
        status: `handled`: on to the application; `duplicate`: it was handled before; `refused`: see
            `refusal`; `taken`: the handshake or trust took it in.
        refusal: The one error of a refused message (VAL-3).
        admission: How the gate lets a handled message in (TRUST-6).
        handshake: What the session's handshake asks for next.
        trust: What became of the peer's trust.
    """

    status: Literal["handled", "duplicate", "refused", "taken"]
    refusal: Refusal | None = None
    admission: Admission | None = None
    handshake: HandshakeOutcome | None = None
    trust: TrustOutcome | None = None


_Decision = Decision[PeerEvent, PeerOutcome]
_TELEMETRY = "STATE_UPDATE"
_HANDSHAKE_TYPES = frozenset({"HELLO", "VERIFY", "ERROR"})
_NEEDS_NO_ROOM = frozenset({"RECEIPT", "STATE_UPDATE"})


@dataclass(frozen=True)
class PeerLogic:
    """Logic of lane `peer:<fingerprint>`, as far as CIP goes."""

    trust: TrustLogic = field(default_factory=TrustLogic)
    handshake: HandshakeLogic = field(default_factory=HandshakeLogic)
    replay: ReplayLimits = field(default_factory=ReplayLimits)
    initial: PeerState = field(default_factory=PeerState)

    def decide(self, state: PeerState, command: PeerCommand) -> _Decision:
        """Say what `command` leads to: at most one trust event, and the one outcome of a message."""
        if isinstance(command, Arrived):
            return self._arrived(state, command)
        if isinstance(command, HandshakeCommand):
            return self._stepped(state, command)
        if isinstance(command, Rest):
            gone = state.replay != state.replay.without_stale(command.at_ms, self.replay)
            rested = Rested(at_ms=command.at_ms, skew_ms=self.replay.skew_ms)
            return Decision((rested,) if gone else (), PeerOutcome("taken"))
        return self._trusted(state, command)

    def apply(self, state: PeerState, event: PeerEvent) -> PeerState:
        """Give the state after `event`."""
        match event:
            case TrustEvent():
                return PeerState(self.trust.apply(state.trust, event), state.replay, state.handshakes)
            case IdHeard():
                heard = Heard(bytes.fromhex(event.content), bytes.fromhex(event.envelope))
                replay = state.replay.remembering(
                    bytes.fromhex(event.key), heard, at_ms=event.at_ms, limits=_limits(event.skew_ms)
                )
                return PeerState(state.trust, replay, state.handshakes)
            case Rested():
                replay = state.replay.without_stale(event.at_ms, _limits(event.skew_ms))
                return PeerState(state.trust, replay, state.handshakes)
            case HandshakeStep():
                after = self.handshake.apply(state.handshakes.get(event.session_id), event)
                if after is None:
                    handshakes = state.handshakes.delete(event.session_id)
                else:
                    handshakes = state.handshakes.set(event.session_id, after)
                return PeerState(state.trust, state.replay, handshakes)

    # --- a message ------------------------------------------------------------------------------------

    def _arrived(self, state: PeerState, command: Arrived) -> _Decision:
        replayed = self._replayed(state, command)  # step 10
        if replayed is not None:
            return replayed
        admission = GATES[command.type][state.trust.state]  # step 11
        if admission == "drop":
            silence = Refusal("TrustViolationError", "gate", silent=True)
            return Decision((), PeerOutcome("refused", refusal=silence))
        if command.type in _HANDSHAKE_TYPES:
            return self._handshake_message(state, command)
        refusal = _barred(state.handshakes.get(command.session_id), command, admission)
        if refusal is not None:
            return Decision((), PeerOutcome("refused", refusal=refusal))
        return Decision(self._heard(command), PeerOutcome("handled", admission=admission))

    def _replayed(self, state: PeerState, command: Arrived) -> _Decision | None:
        """Step 10. What was heard is remembered only once the message is let in, so that a retry can be."""
        if command.type == _TELEMETRY:
            handshake = state.handshakes.get(command.session_id)
            floor_ms = max(command.newest_state_ms, 0 if handshake is None else handshake.heard_ms)
            verdict = Verdict("forgotten" if command.timestamp_ms < floor_ms else "fresh")
        else:
            content = bytes.fromhex(command.content_digest)
            verdict = self._judge(state, command, _key(command.msg_id), content)
        if verdict.kind == "duplicate":
            return Decision((), PeerOutcome("duplicate"))
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

    def _heard(self, command: Arrived) -> tuple[IdHeard, ...]:
        """What to remember of a message that was let in: its id, and a HELLO's nonce; of telemetry nothing."""
        if command.type == _TELEMETRY:
            return ()
        content, envelope, at_ms = command.content_digest, command.digest, command.at_ms
        skew_ms = self.replay.skew_ms
        key = _key(command.msg_id).hex()
        heard = IdHeard(key=key, content=content, envelope=envelope, at_ms=at_ms, skew_ms=skew_ms)
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
            return Decision(self._heard(command), PeerOutcome("handled", admission="yes"))
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
        return Decision((*self._heard(command), *decision.events), decision.reply)

    def _with_patience(self, state: PeerState, command: Arrived, hello: HelloArrived) -> HelloArrived:
        """Say whether this HELLO has to wait, before anything is answered: HS-5, TRUST-3, TRUST-10."""
        cooldown_ms = state.trust.cooldown_left_ms(command.at_ms)
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


def _barred(handshake: HandshakeState | None, command: Arrived, admission: Admission) -> Refusal | None:
    """Step 11 for all but the handshake's own types: handshake, capability, gate; then room."""
    if handshake is None or not handshake.established or handshake.agreement is None:
        return Refusal("TrustViolationError", "handshake", field="type")
    if not handshake.agreement.allows(command.type):
        return Refusal("TrustViolationError", "capability", field="type")
    if admission == "no":
        return Refusal("TrustViolationError", "gate", field="type")
    if command.type == "REPLY" and not command.answers_ours:
        return Refusal("TrustViolationError", "gate", field="payload.in_reply_to")
    if not command.room and command.type not in _NEEDS_NO_ROOM:
        return Refusal("TryAgainLater", "busy", retry_after_ms=command.busy_retry_ms)
    return None


def _key(msg_id: str) -> bytes:
    return bytes.fromhex(msg_id.replace("-", ""))


@lru_cache(maxsize=8)
def _limits(skew_ms: int) -> ReplayLimits:
    """The limits that an event was decided under."""
    return ReplayLimits(skew_ms=skew_ms)
