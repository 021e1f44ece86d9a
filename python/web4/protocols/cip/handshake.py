"""The handshake of one session as pure functions (section 8): from what arrives, or is late, to what follows.

Nonces, digests, verdicts on signatures and deadlines come with the commands; the caller seals, signs, sends
and waits. A deadline names the step it was set for, so that one that fires late changes nothing.

    initiator:  idle → hello_sent → verifying → established
    responder:  idle → hello_received → verifying → established        any → deferred, failed(reason)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from web4.foundation.logic import Decision
from web4.protocols.cip.agreement import Agreement, agree
from web4.protocols.cip.proof import HelloFacts, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Phase = Literal["idle", "hello_sent", "hello_received", "verifying", "established", "deferred", "failed"]

SHORTEST_RETRY_MS: Final = 100
LONGEST_RETRY_MS: Final = 3_600_000
"""The patience a peer may ask for: less would be a busy loop, more is longer than any cooldown (TRUST-3)."""


class HandshakeState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the handshake of one session stands.

    Args:
        role: This node's.
        phase: See the module.
        step: Counts the phases passed; deadlines name it.
        established: The session was established once; a new handshake on it does not end that (HS-8).
        own: This node's HELLO.
        peer: The peer's HELLO.
        agreement: What was agreed last.
        heard_ms: Timestamp of the peer's last HELLO or VERIFY here (REP-2).
        reason: Why it failed or is deferred.
        retry_after_ms: While deferred: for how long, from the moment it was.
    """

    role: Role
    phase: Phase = "idle"
    step: int = 0
    established: bool = False
    own: HelloFacts | None = None
    peer: HelloFacts | None = None
    agreement: Agreement | None = None
    heard_ms: int = 0
    reason: str | None = None
    retry_after_ms: int | None = None


# --- commands ---------------------------------------------------------------------------------------


class _Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag=True):
    session_id: str
    at_ms: int


class Opened(_Command, frozen=True):
    """An RTT session is there; this node has `role` in it."""

    role: Role


class HelloPrepared(_Command, frozen=True):
    """The initiator has sealed a HELLO and wants to send it: first, after a deferral, or once more (HS-8)."""

    hello: HelloFacts


class HelloArrived(_Command, frozen=True):
    """A valid HELLO came from the peer.

    Args:
        hello: What it says.
        timestamp_ms: Its timestamp.
        proof: Verdict on its `challenge_response`; None when it has none.
        answer: What the responder would answer with: fresh nonce, challenge and offer; no digest yet.
        defer: Code of a reason to answer with patience instead: `deferred`, `cooldown`, `newcomer_limit`.
        retry_after_ms: With `defer`: for how long.
    """

    hello: HelloFacts
    timestamp_ms: int
    proof: bool | None = None
    answer: HelloFacts | None = None
    defer: str | None = None
    retry_after_ms: int | None = None


class HelloAnswered(_Command, frozen=True):
    """The responder has sealed its answering HELLO; `digest` is the BLAKE3-256 of its bytes."""

    digest: str


class VerifyArrived(_Command, frozen=True):
    """A valid VERIFY came; `proof` is the verdict on its `challenge_response`."""

    nonce_initiator: str
    nonce_responder: str
    proof: bool
    timestamp_ms: int


class VerifySent(_Command, frozen=True):
    """The initiator's VERIFY is on its way."""


class PutOff(_Command, frozen=True):
    """The handshake has to wait: the peer said so by an ERROR, or trust here does."""

    code: str
    retry_after_ms: int
    by_peer: bool


class Refused(_Command, frozen=True):
    """The peer refused this node's HELLO or VERIFY for good, with `code`."""

    code: str


class DeadlinePassed(_Command, frozen=True):
    """The time for step `step` is over."""

    step: int


class Closed(_Command, frozen=True):
    """The session has ended; nothing of it is kept."""


HandshakeCommand = (
    Opened
    | HelloPrepared
    | HelloArrived
    | HelloAnswered
    | VerifyArrived
    | VerifySent
    | PutOff
    | Refused
    | DeadlinePassed
    | Closed
)


# --- the event and the reply ------------------------------------------------------------------------


class HandshakeStep(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One step of a session's handshake. Fields that are None leave the state's as they are.

    `to` is None when the session has ended. `detail` is the peer's own word, for the record only.
    """

    session_id: str
    at_ms: int
    role: Role
    to: Phase | None
    own: HelloFacts | None = None
    peer: HelloFacts | None = None
    agreement: Agreement | None = None
    heard_ms: int | None = None
    established: bool | None = None
    reason: str | None = None
    retry_after_ms: int | None = None
    detail: str | None = None


Action = Literal["none", "answer", "verify", "established", "deferred", "failed", "out_of_turn", "retry"]


@dataclass(frozen=True, slots=True)
class HandshakeOutcome:
    """What the caller has to do next.

    Args:
        action: `answer`: seal and send HELLO; `verify`: seal and send VERIFY; `established`: go on; `retry`:
            prepare a new HELLO; `deferred` and `failed`: tell the peer if `tell`; `out_of_turn`: refuse it.
        proved: The peer has just proven itself on this session.
        code: Reason of a deferral or failure.
        retry_after_ms: Of a deferral.
        tell: Whether the peer is to hear of it by an ERROR.
    """

    action: Action = "none"
    proved: bool = False
    code: str | None = None
    retry_after_ms: int | None = None
    tell: bool = False


_NOTHING: Final = HandshakeOutcome()
_OUT_OF_TURN: Final = HandshakeOutcome("out_of_turn")
_Decision = Decision[HandshakeStep, HandshakeOutcome]


@dataclass(frozen=True)
class HandshakeLogic:
    """Logic of one session's handshake. The state of a session that is not there is None."""

    initial: HandshakeState | None = None

    def decide(self, state: HandshakeState | None, command: HandshakeCommand) -> _Decision:
        """Say which step `command` leads to, and what the caller does next."""
        if state is not None:
            return _STEPS[type(command)](state, command)
        if not isinstance(command, Opened):
            return Decision((), _NOTHING)
        step = HandshakeStep(session_id=command.session_id, at_ms=command.at_ms, role=command.role, to="idle")
        return Decision((step,), _NOTHING)

    def apply(self, state: HandshakeState | None, event: HandshakeStep) -> HandshakeState | None:
        """Give the state after `event`; None when the session has ended."""
        if event.to is None:
            return None
        before = state or HandshakeState(role=event.role)
        return HandshakeState(
            role=before.role,
            phase=event.to,
            step=before.step + 1,
            established=before.established if event.established is None else event.established,
            own=event.own or before.own,
            peer=event.peer or before.peer,
            agreement=event.agreement or before.agreement,
            heard_ms=before.heard_ms if event.heard_ms is None else event.heard_ms,
            reason=event.reason,
            retry_after_ms=event.retry_after_ms,
        )


def waits_ms(state: HandshakeState, step_deadline_ms: int) -> int | None:
    """How long the present phase may last, in milliseconds; None for as long as it likes (HS-3)."""
    if state.phase in {"established", "failed"}:
        return None
    if state.phase == "deferred" and state.retry_after_ms is not None:
        # The initiator comes back after that time; the responder gives it one deadline more.
        return state.retry_after_ms + (step_deadline_ms if state.role == "responder" else 0)
    return step_deadline_ms


def _step(
    state: HandshakeState,
    command: HandshakeCommand,
    outcome: HandshakeOutcome = _NOTHING,
    *,
    to: Phase | None,
    **changes: Any,
) -> _Decision:
    step = HandshakeStep(
        session_id=command.session_id, at_ms=command.at_ms, role=state.role, to=to, **changes
    )
    return Decision((step,), outcome)


def _failed(
    state: HandshakeState, command: HandshakeCommand, reason: str, *, tell: bool = False, **changes: Any
) -> _Decision:
    outcome = HandshakeOutcome("failed", code=reason, tell=tell)
    return _step(state, command, outcome, to="failed", reason=reason, **changes)


def _hello_prepared(state: HandshakeState, command: HelloPrepared) -> _Decision:
    if state.role != "initiator" or state.phase not in {"idle", "deferred", "established"}:
        return Decision((), _NOTHING)
    return _step(state, command, to="hello_sent", own=command.hello)


def _hello_at_initiator(state: HandshakeState, command: HelloArrived) -> _Decision:
    if state.phase != "hello_sent" or state.own is None:
        return Decision((), _OUT_OF_TURN)
    if not command.proof:
        return _failed(state, command, "bad_response", tell=True, heard_ms=command.timestamp_ms)
    agreement = agree(state.own.offer, command.hello.offer)
    if isinstance(agreement, str):
        return _failed(state, command, agreement, tell=True, heard_ms=command.timestamp_ms)
    return _step(
        state,
        command,
        HandshakeOutcome("verify", proved=True),
        to="verifying",
        peer=command.hello,
        agreement=agreement,
        heard_ms=command.timestamp_ms,
    )


def _hello_at_responder(state: HandshakeState, command: HelloArrived) -> _Decision:
    unasked = command.proof is not None  # a response to a HELLO that was never sent
    if unasked or command.answer is None or state.phase not in {"idle", "deferred", "established"}:
        return Decision((), _OUT_OF_TURN)
    if command.defer is not None and state.phase != "established":
        retry_after_ms = command.retry_after_ms or 0
        put_off = PutOff(
            session_id=command.session_id,
            at_ms=command.at_ms,
            code=command.defer,
            retry_after_ms=retry_after_ms,
            by_peer=False,
        )
        return _put_off(state, put_off, heard_ms=command.timestamp_ms)
    agreement = agree(command.answer.offer, command.hello.offer)
    if isinstance(agreement, str):
        return _failed(state, command, agreement, tell=True, heard_ms=command.timestamp_ms)
    return _step(
        state,
        command,
        HandshakeOutcome("answer"),
        to="hello_received",
        own=command.answer,
        peer=command.hello,
        agreement=agreement,
        heard_ms=command.timestamp_ms,
    )


def _verify_arrived(state: HandshakeState, command: VerifyArrived) -> _Decision:
    if state.role != "responder" or state.phase != "verifying" or state.own is None or state.peer is None:
        return Decision((), _OUT_OF_TURN)
    nonces = (command.nonce_initiator, command.nonce_responder)
    if not command.proof or nonces != (state.peer.nonce, state.own.nonce):
        return _failed(state, command, "bad_response", tell=True, heard_ms=command.timestamp_ms)
    return _step(
        state,
        command,
        HandshakeOutcome("established", proved=True),
        to="established",
        established=True,
        heard_ms=command.timestamp_ms,
    )


def _put_off(state: HandshakeState, command: PutOff, **changes: Any) -> _Decision:
    if state.phase == "failed" or (command.by_peer and state.phase in {"idle", "deferred"}):
        return Decision((), _NOTHING)
    retry_after_ms = min(max(command.retry_after_ms, SHORTEST_RETRY_MS), LONGEST_RETRY_MS)
    outcome = HandshakeOutcome(
        "deferred", code=command.code, retry_after_ms=retry_after_ms, tell=not command.by_peer
    )
    if state.phase == "established":
        # The peer did not accept our VERIFY: only one side believed in this session.
        changes["established"] = False
    return _step(
        state, command, outcome, to="deferred", reason=command.code, retry_after_ms=retry_after_ms, **changes
    )


def _deadline_passed(state: HandshakeState, command: DeadlinePassed) -> _Decision:
    if command.step != state.step or state.phase in {"established", "failed"}:
        return Decision((), _NOTHING)
    if state.phase == "deferred" and state.role == "initiator":
        return Decision((), HandshakeOutcome("retry"))
    return _failed(state, command, "timeout")


def _hello_answered(state: HandshakeState, command: HelloAnswered) -> _Decision:
    if state.role != "responder" or state.phase != "hello_received" or state.own is None:
        return Decision((), _NOTHING)
    own = msgspec.structs.replace(state.own, digest=command.digest)
    return _step(state, command, to="verifying", own=own)


def _verify_sent(state: HandshakeState, command: VerifySent) -> _Decision:
    if state.role != "initiator" or state.phase != "verifying":
        return Decision((), _NOTHING)
    return _step(state, command, HandshakeOutcome("established"), to="established", established=True)


def _refused_by_peer(state: HandshakeState, command: Refused) -> _Decision:
    if state.phase not in {"hello_sent", "verifying", "established"}:
        return Decision((), _NOTHING)
    return _failed(state, command, "refused", detail=command.code)


_STEPS: Final[Mapping[type, Callable[[HandshakeState, Any], _Decision]]] = {
    Opened: lambda _state, _command: Decision((), _NOTHING),
    HelloPrepared: _hello_prepared,
    HelloArrived: lambda state, command: (
        _hello_at_initiator if state.role == "initiator" else _hello_at_responder
    )(state, command),
    HelloAnswered: _hello_answered,
    VerifyArrived: _verify_arrived,
    VerifySent: _verify_sent,
    PutOff: _put_off,
    Refused: _refused_by_peer,
    DeadlinePassed: _deadline_passed,
    Closed: lambda state, command: _step(state, command, to=None),
}
