"""Every phase of the handshake against every command, for both roles: what is not listed changes nothing (HS-3)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.protocols.cip.examples import CHALLENGE, EVERYTHING, NONCE, SESSION
from web4.foundation.logic import replay
from web4.protocols.cip.agreement import Offer
from web4.protocols.cip.handshake import (
    Closed,
    DeadlinePassed,
    HandshakeCommand,
    HandshakeLogic,
    HandshakeState,
    HelloAnswered,
    HelloArrived,
    HelloPrepared,
    Opened,
    Phase,
    PutOff,
    Refused,
    VerifyArrived,
    VerifySent,
    waits_ms,
)
from web4.protocols.cip.proof import HelloFacts, Role

OWN = HelloFacts(nonce=NONCE, challenge=CHALLENGE, offer=EVERYTHING, digest="0a" * 32)
PEER = HelloFacts(nonce=CHALLENGE, challenge=NONCE, offer=EVERYTHING, digest="0b" * 32)
STRANGE = HelloFacts(nonce=CHALLENGE, challenge=NONCE, offer=Offer(protocols=("cip/9.0",)), digest="0c" * 32)
BASE: dict[str, Any] = {"session_id": SESSION, "at_ms": 1}


def verify(role: Role, *, proof: bool, nonce_initiator: str | None = None) -> VerifyArrived:
    initiator, responder = (OWN, PEER) if role == "initiator" else (PEER, OWN)
    return VerifyArrived(
        **BASE,
        nonce_initiator=nonce_initiator or initiator.nonce,
        nonce_responder=responder.nonce,
        proof=proof,
        timestamp_ms=1,
    )


def commands(role: Role, step: int) -> dict[str, HandshakeCommand]:
    answer = OWN if role == "responder" else None
    return {
        "opened": Opened(**BASE, role=role),
        "hello_prepared": HelloPrepared(**BASE, hello=OWN),
        "hello": HelloArrived(**BASE, hello=PEER, timestamp_ms=1, answer=answer),
        "hello_proved": HelloArrived(**BASE, hello=PEER, timestamp_ms=1, proof=True, answer=answer),
        "hello_disproved": HelloArrived(**BASE, hello=PEER, timestamp_ms=1, proof=False, answer=answer),
        "hello_strange": HelloArrived(
            **BASE, hello=STRANGE, timestamp_ms=1, proof=True if role == "initiator" else None, answer=answer
        ),
        "hello_deferred": HelloArrived(
            **BASE, hello=PEER, timestamp_ms=1, answer=answer, defer="deferred", retry_after_ms=7_000
        ),
        "hello_answered": HelloAnswered(**BASE, digest="0d" * 32),
        "verify_proved": verify(role, proof=True),
        "verify_disproved": verify(role, proof=False),
        "verify_misquoted": verify(role, proof=True, nonce_initiator="A" * 43 + "="),
        "verify_sent": VerifySent(**BASE),
        "put_off_here": PutOff(**BASE, code="cooldown", retry_after_ms=7_000, by_peer=False),
        "put_off_there": PutOff(**BASE, code="cooldown", retry_after_ms=7_000, by_peer=True),
        "refused": Refused(**BASE, code="capability"),
        "deadline": DeadlinePassed(**BASE, step=step),
        "deadline_of_an_earlier_step": DeadlinePassed(**BASE, step=step - 1),
        "closed": Closed(**BASE),
    }


PHASES: list[Phase] = [
    "idle", "hello_sent", "hello_received", "verifying", "established", "deferred", "failed",
]  # fmt: skip

MOVES: dict[Role, dict[Phase, dict[str, Phase]]] = {
    "initiator": {
        "idle": {"hello_prepared": "hello_sent", "put_off_here": "deferred", "deadline": "failed"},
        "hello_sent": {
            "hello_proved": "verifying",
            "hello": "failed",
            "hello_disproved": "failed",
            "hello_strange": "failed",
            "hello_deferred": "failed",  # what the peer says is an ERROR; this HELLO has no response
            "put_off_here": "deferred",
            "put_off_there": "deferred",
            "refused": "failed",
            "deadline": "failed",
        },
        "hello_received": {"put_off_here": "deferred", "put_off_there": "deferred", "deadline": "failed"},
        "verifying": {
            "verify_sent": "established",
            "put_off_here": "deferred",
            "put_off_there": "deferred",
            "refused": "failed",
            "deadline": "failed",
        },
        "established": {
            "hello_prepared": "hello_sent",
            "put_off_here": "deferred",
            "put_off_there": "deferred",
            "refused": "failed",
        },
        "deferred": {"hello_prepared": "hello_sent", "put_off_here": "deferred"},
        "failed": {},
    },
    "responder": {
        "idle": {
            "hello": "hello_received",
            "hello_strange": "failed",
            "hello_deferred": "deferred",
            "put_off_here": "deferred",
            "deadline": "failed",
        },
        "hello_sent": {
            "put_off_here": "deferred",
            "put_off_there": "deferred",
            "refused": "failed",
            "deadline": "failed",
        },
        "hello_received": {
            "hello_answered": "verifying",
            "put_off_here": "deferred",
            "put_off_there": "deferred",
            "deadline": "failed",
        },
        "verifying": {
            "verify_proved": "established",
            "verify_disproved": "failed",
            "verify_misquoted": "failed",
            "put_off_here": "deferred",
            "put_off_there": "deferred",
            "refused": "failed",
            "deadline": "failed",
        },
        "established": {
            "hello": "hello_received",
            "hello_strange": "failed",
            "hello_deferred": "hello_received",  # an established session is verified anew, not put off
            "put_off_here": "deferred",
            "put_off_there": "deferred",
            "refused": "failed",
        },
        "deferred": {
            "hello": "hello_received",
            "hello_strange": "failed",
            "hello_deferred": "deferred",
            "put_off_here": "deferred",
            "deadline": "failed",
        },
        "failed": {},
    },
}
MESSAGES = {name for name in commands("responder", 0) if name.startswith(("hello", "verify"))} - {
    "hello_prepared", "hello_answered", "verify_sent",
}  # fmt: skip


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_every_phase_against_every_command(role: Role, phase: Phase) -> None:
    """HS-3: the listed moves and no others; a handshake message that moves nothing is out of turn."""
    logic = HandshakeLogic()
    state = HandshakeState(
        role=role, phase=phase, step=3, own=OWN, peer=PEER, established=phase == "established"
    )
    for name, command in commands(role, state.step).items():
        decision = logic.decide(state, command)
        after = replay(logic, decision.events, base=state)
        if name == "closed":
            assert after is None
            continue
        assert after is not None, name
        expected = MOVES[role][phase].get(name)
        if expected is None:
            assert after == state, name
            retries = (role, phase, name) == ("initiator", "deferred", "deadline")
            other = "retry" if retries else "none"
            assert decision.reply.action == ("out_of_turn" if name in MESSAGES else other), name
        else:
            assert (after.phase, after.step) == (expected, 4), name


@pytest.mark.parametrize("name", commands("responder", 0))
def test_without_a_session_only_opening_one_counts(name: str) -> None:
    logic = HandshakeLogic()
    decision = logic.decide(None, commands("responder", 0)[name])
    after = replay(logic, decision.events)
    assert after == (HandshakeState(role="responder", step=1) if name == "opened" else None)


def test_how_long_each_phase_may_last() -> None:
    """HS-3, HS-5: a deadline on every step; the deferred initiator returns, the responder waits a little more."""
    lasts = {
        (role, phase): waits_ms(HandshakeState(role=role, phase=phase, retry_after_ms=7_000), 5_000)
        for role in MOVES
        for phase in PHASES
    }
    assert {phase for (_, phase), ms in lasts.items() if ms is None} == {"established", "failed"}
    assert (lasts["initiator", "deferred"], lasts["responder", "deferred"]) == (7_000, 12_000)
    timed = {ms for (_, phase), ms in lasts.items() if phase not in {"established", "failed", "deferred"}}
    assert timed == {5_000}
