"""The whole table of section 9, guards included (TRUST-1)."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.trust.examples import COMMANDS, ENVELOPE, KEYS, NOW
from web4.foundation.logic import replay
from web4.trust import (
    AuthFailure,
    Conflict,
    Evidence,
    HandshakeOk,
    Introduced,
    KnowledgeVerified,
    LocalAlignment,
    MaliciousEvidence,
    TrustCommand,
    TrustEventName,
    TrustLogic,
    TrustRecord,
    TrustState,
    Unverifiable,
)
from web4.trust.logic import COOLDOWN

STATES: tuple[TrustState, ...] = ("unknown", "untrusted", "probing", "trusted", "blacklisted")

GUARDED_RECORD: dict[TrustEventName, dict[str, object]] = {
    # Two of the three have come already; the command under test is the third.
    "unverifiable": {"unverifiable_at_ms": (NOW - 2, NOW - 1)},
    "severe_conflict": {"grave_conflicts": 2},
}

# A second writing of the table, one letter per state, capitals for what also starts a cooldown. It is kept
# apart from the code's own on purpose.
#                                    unknown untrusted probing trusted blacklisted
EXPECTED: dict[TrustEventName, str] = {
    "handshake_ok": "p p = = =",
    "introduced": "p = = = =",
    "introducer_lost": "= = u = =",
    "knowledge_verified": "= = t = =",
    "local_alignment": "= = t = =",
    "unverifiable": "= = U p =",
    "conflict": "= = U p =",
    "severe_conflict": "= = b b =",
    "auth_failure": "= * U U =",
    "malicious_evidence": "b b b b =",
    "anchored": "t t t = =",
    "operator_promote": "p p t = =",
    "operator_block": "b b b b =",
    "manual_override": "= = = = p",
}
LETTERS: dict[str, TrustState] = {"u": "untrusted", "p": "probing", "t": "trusted", "b": "blacklisted"}


def test_table_is_complete() -> None:
    assert set(COMMANDS) == set(EXPECTED) == set(get_args(TrustEventName))
    assert len(EXPECTED) == 14


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", EXPECTED)
def test_trust_full_matrix(name: TrustEventName, state: TrustState) -> None:
    """TRUST-1: every event in every state, with its guard met."""
    logic = TrustLogic()
    record = TrustRecord(state=state, seq=7, at_ms=NOW - 1, **GUARDED_RECORD.get(name, {}))  # type: ignore[arg-type]
    letter = EXPECTED[name].split()[STATES.index(state)]
    expected = state if letter in "=*" else LETTERS[letter.lower()]

    decision = logic.decide(record, COMMANDS[name]())
    after = replay(logic, decision.events, base=record)

    assert decision.reply.refused is None
    assert after.state == decision.reply.state == expected
    if state == "unknown" and expected == "unknown":
        assert decision.events == (), "a stranger leaves no record"
        return
    (event,) = decision.events
    assert (event.seq, event.from_, event.to, event.event, event.at_ms) == (8, state, expected, name, NOW)
    assert after.counts == {name: 1}
    starts_cooldown = letter in "*U"
    assert after.cooldown_until_ms == (NOW + 60_000 if starts_cooldown else 0)


@pytest.mark.parametrize("state", STATES)
def test_trust_full_matrix_handshake_in_cooldown(state: TrustState) -> None:
    """TRUST-3: a handshake in cooldown is recorded as such and raises nobody; the peer is told when."""
    logic = TrustLogic()
    record = TrustRecord(state=state, cooldown_until_ms=NOW + 1 if state == "untrusted" else 0)
    reply = logic.decide(record, HandshakeOk(at_ms=NOW)).reply
    if state == "untrusted":
        assert reply.event is not None
        assert (reply.state, reply.event.reason, reply.retry_after_ms) == ("untrusted", COOLDOWN, 1)
        assert not logic.apply(record, reply.event).handshaken
    else:
        assert reply.retry_after_ms is None


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    "earlier", [(), (NOW - 1,), (NOW - 600_001, NOW - 1), (NOW - 600_001, NOW - 600_001)]
)
def test_trust_full_matrix_unverifiable_below_three(state: TrustState, earlier: tuple[int, ...]) -> None:
    """The first and second `unverifiable` within ten minutes are counted and move nothing."""
    logic = TrustLogic()
    record = TrustRecord(state=state, unverifiable_at_ms=earlier)
    assert logic.decide(record, COMMANDS["unverifiable"]()).reply.state == state


def test_unverifiable_third_at_the_edge_of_the_window() -> None:
    """Ten minutes exactly still count; after the third, three more are needed."""
    logic = TrustLogic()
    record = TrustRecord(state="trusted")
    for at_ms in (NOW, NOW + 1, NOW + 600_000):
        record = replay(
            logic,
            logic.decide(record, Unverifiable(at_ms=at_ms, claim_key="k", challenger="d")).events,
            base=record,
        )
    assert (record.state, record.unverifiable_at_ms) == ("probing", ())


@pytest.mark.parametrize(
    "command",
    [
        Introduced(at_ms=NOW, introducer="c", introducer_state="probing"),
        LocalAlignment(at_ms=NOW, claim_keys=KEYS[:1]),
        LocalAlignment(at_ms=NOW, claim_keys=(KEYS[0], KEYS[0])),
        KnowledgeVerified(at_ms=NOW, claim_key=""),
        MaliciousEvidence(at_ms=NOW, reason="equivocation", evidence=()),
        AuthFailure(at_ms=NOW, session_id="", reason="signature"),
    ],
)
@pytest.mark.parametrize("state", STATES)
def test_trust_full_matrix_guard_not_met(state: TrustState, command: TrustCommand) -> None:
    """An event without what its guard asks for is not heard in any state."""
    record = TrustRecord(state=state)
    decision = TrustLogic().decide(record, command)
    assert decision.events == ()
    assert decision.reply.refused is not None
    assert decision.reply.state == state


def test_introducer_lost_spares_a_peer_with_its_own_handshake() -> None:
    """The guard of `introducer_lost`: never handshaken itself."""
    logic = TrustLogic()
    own = TrustRecord(state="probing", handshaken=True)
    assert logic.decide(own, COMMANDS["introducer_lost"]()).reply.state == "probing"


@pytest.mark.parametrize(
    ("confidence", "confirmers", "evidence", "grade"),
    [
        (0.9, 2, (ENVELOPE,), "severe_conflict"),
        (1.0, 9, (ENVELOPE,), "severe_conflict"),
        (0.89, 2, (ENVELOPE,), "conflict"),
        (0.9, 1, (ENVELOPE,), "conflict"),
        (0.9, 2, (), "conflict"),
    ],
)
def test_conflict_grades(
    confidence: float, confirmers: int, evidence: tuple[Evidence, ...], grade: str
) -> None:
    """TRUST-4: the third grave conflict is severe; one that is not grave, or has no evidence, never is."""
    logic = TrustLogic()
    command = Conflict(
        at_ms=NOW, claim_key="k", confidence=confidence, confirmers=confirmers, evidence=evidence
    )
    for before, expected in ((0, "conflict"), (1, "conflict"), (2, grade)):
        record = TrustRecord(state="trusted", grave_conflicts=before)
        event = logic.decide(record, command).reply.event
        assert event is not None
        assert event.event == expected
