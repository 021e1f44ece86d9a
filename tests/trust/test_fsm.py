"""One peer's machine: cooldown, operator acts, log and replay (TRUST-2, TRUST-3, TRUST-5, TRUST-7)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trust.examples import COMMANDS, NOW
from web4.foundation.logic import replay
from web4.testing import check_lane_logic
from web4.trust import (
    Anchored,
    AuthFailure,
    Conflict,
    HandshakeOk,
    Introduced,
    IntroducerLost,
    KnowledgeVerified,
    LocalAlignment,
    ManualOverride,
    OperatorBlock,
    OperatorPromote,
    TrustCommand,
    TrustCommandError,
    TrustEvent,
    TrustEventName,
    TrustFSM,
    TrustLimits,
    TrustLogic,
    Unverifiable,
)

PEER = "a" * 64
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000


def demote(fsm: TrustFSM, at_ms: int) -> int:
    """Raise the peer to probing, let it fail, and return the length of the cooldown that follows."""
    fsm.handle(OperatorPromote(at_ms=at_ms, human="ada", reason="again"))
    fsm.handle(AuthFailure(at_ms=at_ms, session_id="s", reason="signature"))
    assert fsm.state == "untrusted"
    return fsm.record.cooldown_until_ms - at_ms


def test_trust_cooldown_backoff() -> None:
    """TRUST-3: 60 s, doubling with each demotion, capped at 1 h; reset by trust, and by 24 h of peace."""
    fsm = TrustFSM(PEER)
    at_ms = NOW
    lengths = []
    for _ in range(9):
        lengths.append(demote(fsm, at_ms))
        at_ms += lengths[-1]
    assert lengths == [MINUTE << n for n in range(6)] + [HOUR] * 3

    # Until its last millisecond the cooldown bars, and tells how long; at its end it does not.
    last = demote(fsm, at_ms)
    barred = fsm.handle(HandshakeOk(at_ms=at_ms + last - 1))
    assert (barred.state, barred.retry_after_ms) == ("untrusted", 1)
    assert fsm.handle(HandshakeOk(at_ms=at_ms + last)).state == "probing"

    # A failure in cooldown starts it anew and doubles nothing.
    again = TrustFSM(PEER)
    assert demote(again, NOW) == MINUTE
    again.handle(AuthFailure(at_ms=NOW + 59 * SECOND, session_id="s", reason="signature"))
    assert again.record.cooldown_until_ms == NOW + 59 * SECOND + MINUTE
    assert demote(again, NOW + 2 * MINUTE) == 2 * MINUTE

    # A millisecond short of a day the doubling goes on; after a whole day it begins anew.
    assert demote(again, NOW + 2 * MINUTE + DAY - 1) == 4 * MINUTE
    assert demote(again, NOW + 2 * MINUTE + 2 * DAY - 1) == MINUTE

    # Reaching trusted resets it at once.
    third = TrustFSM(PEER)
    assert [demote(third, NOW), demote(third, NOW)] == [MINUTE, 2 * MINUTE]
    third.handle(Anchored(at_ms=NOW))
    third.handle(AuthFailure(at_ms=NOW, session_id="s", reason="signature"))
    assert third.record.cooldown_until_ms == NOW + MINUTE


@pytest.mark.parametrize("act", [OperatorPromote, OperatorBlock, ManualOverride])
@pytest.mark.parametrize(
    ("human", "reason", "code"),
    [
        ("", "because", "human_required"),
        (" \t", "because", "human_required"),
        ("ada", " ", "reason_required"),
    ],
)
def test_trust_override_needs_human(
    act: type[OperatorPromote | OperatorBlock | ManualOverride], human: str, reason: str, code: str
) -> None:
    """TRUST-2: without a name or a reason an operator act is refused; a complete one is logged with both."""
    fsm = TrustFSM(PEER)
    fsm.handle(OperatorBlock(at_ms=NOW, human="ada", reason="stolen key"))
    with pytest.raises(TrustCommandError) as refused:
        fsm.handle(act(at_ms=NOW, human=human, reason=reason))
    assert (refused.value.code, refused.value.peer) == (code, PEER)
    assert len(fsm.log) == 1, "a refused act leaves nothing"

    fsm.handle(act(at_ms=NOW, human="grace", reason="we looked into it"))
    logged = fsm.log[-1]
    assert (logged.actor, logged.reason, logged.event) == ("grace", "we looked into it", act.event)


def test_block_revokes_and_override_lifts() -> None:
    """TRUST-2, ID-4: blocking revokes the key; only a human's override ends that, and leads to probing."""
    fsm = TrustFSM(PEER)
    fsm.handle(OperatorBlock(at_ms=NOW, human="ada", reason="stolen key"))
    assert fsm.record.revoked
    fsm.handle(Anchored(at_ms=NOW))
    assert (fsm.state, fsm.record.revoked) == ("blacklisted", True)
    fsm.handle(ManualOverride(at_ms=NOW, human="ada", reason="key recovered"))
    assert (fsm.state, fsm.record.revoked) == ("probing", False)


def test_trust_anchor() -> None:
    """TRUST-5: each way to the first trusted peers is logged under its own reason."""
    anchored = TrustFSM(PEER)
    anchored.handle(Anchored(at_ms=NOW))
    promoted = TrustFSM(PEER)
    promoted.handle(HandshakeOk(at_ms=NOW))
    promoted.handle(OperatorPromote(at_ms=NOW, human="ada", reason="met in person"))
    aligned = TrustFSM(PEER)
    aligned.handle(HandshakeOk(at_ms=NOW))
    aligned.handle(LocalAlignment(at_ms=NOW, claim_keys=("1" * 64, "2" * 64)))

    assert [fsm.state for fsm in (anchored, promoted, aligned)] == ["trusted"] * 3
    assert [
        (fsm.log[-1].event, fsm.log[-1].actor, fsm.log[-1].reason) for fsm in (anchored, promoted, aligned)
    ] == [
        ("anchored", "configuration", "anchored"),
        ("operator_promote", "ada", "met in person"),
        ("local_alignment", "node", "local_alignment"),
    ]
    assert [evidence.kind for evidence in aligned.log[-1].evidence] == ["claim", "claim"]


def test_trust_verified_promotes_proposer_event() -> None:
    """KNOW-9 as far as the FSM goes: `knowledge_verified` raises a probing proposer and cites the claim.

    Who is the proposer, and that confirmers get no event, is the knowledge ledger's to decide and to test.
    """
    fsm = TrustFSM(PEER)
    fsm.handle(HandshakeOk(at_ms=NOW))
    fsm.handle(KnowledgeVerified(at_ms=NOW, claim_key="9" * 64))
    assert (fsm.state, fsm.log[-1].evidence[0].blake3) == ("trusted", "9" * 64)


def test_introduced_peer_falls_with_its_introducer_until_it_handshakes() -> None:
    """MESH-10, MESH-11: an introduction makes probing, and its end unmakes it unless the peer came itself."""
    lost, stayed = TrustFSM(PEER), TrustFSM(PEER)
    for fsm in (lost, stayed):
        fsm.handle(Introduced(at_ms=NOW, introducer="c" * 64, introducer_state="trusted"))
    stayed.handle(HandshakeOk(at_ms=NOW))
    for fsm in (lost, stayed):
        fsm.handle(IntroducerLost(at_ms=NOW, introducer="c" * 64))
    assert (lost.state, stayed.state) == ("untrusted", "probing")
    assert lost.record.cooldown_until_ms == 0, "it is not at fault"
    assert lost.handle(HandshakeOk(at_ms=NOW)).state == "probing"


def test_the_introducer_is_kept_until_the_operator_speaks() -> None:
    """KNOW-3: who brought a peer stays on record, verified or not; only the operator's word ends that."""
    first, second = "c" * 64, "d" * 64
    fsm = TrustFSM(PEER)
    for introducer in (first, second):
        fsm.handle(Introduced(at_ms=NOW, introducer=introducer, introducer_state="trusted"))
    assert (fsm.record.introducer, fsm.record.unverified) == (first, True)
    fsm.handle(IntroducerLost(at_ms=NOW, introducer=second))
    assert (fsm.state, fsm.log[-1].reason) == ("probing", "another_introducer")
    fsm.handle(HandshakeOk(at_ms=NOW))
    fsm.handle(KnowledgeVerified(at_ms=NOW, claim_key="9" * 64))
    assert (fsm.state, fsm.record.introducer, fsm.record.unverified) == ("trusted", first, False)
    assert TrustFSM.rebuilt(PEER, fsm.log).record == fsm.record
    promoted = TrustFSM.rebuilt(PEER, fsm.log)
    promoted.handle(OperatorPromote(at_ms=NOW, human="ada", reason="I know it"))
    fsm.handle(Anchored(at_ms=NOW))
    assert (fsm.record.introducer, promoted.record.introducer) == (None, None)


def test_a_peer_that_came_by_itself_has_no_introducer() -> None:
    fsm = TrustFSM(PEER)
    fsm.handle(HandshakeOk(at_ms=NOW))
    fsm.handle(Introduced(at_ms=NOW, introducer="c" * 64, introducer_state="trusted"))
    assert fsm.record.introducer is None


def test_third_grave_conflict_of_a_trusted_peer_blacklists() -> None:
    """TRUST-4 over a life: demoted by the first two grave conflicts, blacklisted by the third."""
    fsm = TrustFSM(PEER)
    fsm.handle(Anchored(at_ms=NOW))
    grave = COMMANDS["severe_conflict"]()
    seen = []
    for _ in range(3):
        seen.append(fsm.handle(grave).state)
        if fsm.state == "untrusted":
            fsm.handle(HandshakeOk(at_ms=NOW + HOUR))
    assert seen == ["probing", "untrusted", "blacklisted"]


def test_time_never_runs_backwards_in_a_log() -> None:
    """A command from a clock that was set back counts at the time of the last event; its cooldown is by that clock."""
    fsm = TrustFSM(PEER)
    fsm.handle(HandshakeOk(at_ms=NOW))
    fsm.handle(AuthFailure(at_ms=NOW - HOUR, session_id="s", reason="signature"))
    assert fsm.log[-1].at_ms == NOW
    assert fsm.record.cooldown_until_ms == NOW - HOUR + MINUTE


@pytest.mark.parametrize("back", [1_000, 30_000, MINUTE, HOUR, 24 * HOUR])
def test_a_clock_set_back_prolongs_no_cooldown_beyond_its_double(back: int) -> None:
    """TRUST-3: a minute's cooldown is over two minutes later at the latest, whatever the clock did meanwhile."""
    fsm = TrustFSM(PEER)
    fsm.handle(HandshakeOk(at_ms=NOW))
    fsm.handle(AuthFailure(at_ms=NOW, session_id="s", reason="signature"))
    outcome = fsm.handle(HandshakeOk(at_ms=NOW + 1))
    assert (outcome.state, outcome.retry_after_ms) == ("untrusted", MINUTE - 1)
    outcome = fsm.handle(HandshakeOk(at_ms=NOW + 1 - back))
    assert (outcome.retry_after_ms or 0) <= 2 * MINUTE
    assert fsm.handle(HandshakeOk(at_ms=NOW + 1 - back + 2 * MINUTE)).state == "probing"


def test_a_demotion_after_the_clock_was_set_back_has_its_cooldown() -> None:
    """TRUST-3: set back a day, a peer that fails waits a minute, neither a day nor not at all."""
    fsm = TrustFSM(PEER)
    fsm.handle(HandshakeOk(at_ms=NOW))
    day_ago = NOW - 24 * HOUR
    fsm.handle(AuthFailure(at_ms=day_ago, session_id="s", reason="signature"))
    assert fsm.handle(HandshakeOk(at_ms=day_ago + MINUTE - 1)).retry_after_ms == 1
    assert fsm.handle(HandshakeOk(at_ms=day_ago + MINUTE)).state == "probing"


def test_what_was_unverifiable_on_another_day_does_not_demote() -> None:
    """TRUST-4: three within ten minutes, also when the clock was set back a day before the third."""
    fsm = TrustFSM(PEER)
    fsm.handle(Anchored(at_ms=NOW))
    for at_ms in (NOW, NOW + MINUTE, NOW - 24 * HOUR, NOW - 23 * HOUR, NOW - 22 * HOUR):
        fsm.handle(Unverifiable(at_ms=at_ms, claim_key="9" * 64, challenger="c" * 64))
    assert fsm.state == "trusted"


def test_trust_survives_replay() -> None:
    """TRUST-7: replaying the log rebuilds the record, also through JSON. A restart waits for the journal."""
    fsm = TrustFSM(PEER)
    for step, name in enumerate(COMMANDS):
        fsm.handle(msgspec.structs.replace(COMMANDS[name](), at_ms=NOW + step))
    written = [msgspec.json.encode(event) for event in fsm.log]
    assert b'"from":' in written[0]
    read = [msgspec.json.decode(line, type=TrustEvent) for line in written]
    assert TrustFSM.rebuilt(PEER, read).record == fsm.record


def test_log_is_bounded_and_base_plus_log_rebuild_the_record() -> None:
    """Every queue has a bound: what falls out of the log is folded into the base, not lost."""
    fsm = TrustFSM(PEER, limits=TrustLimits(log_events=8))
    fsm.handle(Anchored(at_ms=NOW))
    for step in range(50):
        fsm.handle(HandshakeOk(at_ms=NOW + step))
        assert len(fsm.log) <= 8
        assert TrustFSM.rebuilt(PEER, fsm.log, base=fsm.base).record == fsm.record
    assert fsm.record.counts == {"anchored": 1, "handshake_ok": 50}


def test_an_event_out_of_order_is_refused() -> None:
    fsm = TrustFSM(PEER)
    fsm.handle(Anchored(at_ms=NOW))
    with pytest.raises(ValueError, match="does not follow"):
        fsm.commit(fsm.log[0])


names: list[TrustEventName] = list(COMMANDS)


@given(st.lists(st.tuples(st.sampled_from(names), st.integers(0, DAY), st.booleans()), max_size=40))
def test_any_history_is_rebuilt_and_never_breaks_the_table(
    history: list[tuple[TrustEventName, int, bool]],
) -> None:
    """ACT-1, TRUST-1: replay equals the live record, and only a human's override leads out of blacklisted."""
    logic = TrustLogic()
    record, events, at_ms = logic.initial, [], NOW
    for name, pause, newcomer_allowed in history:
        at_ms += pause
        command = msgspec.structs.replace(COMMANDS[name](), at_ms=at_ms, newcomer_allowed=newcomer_allowed)
        decision = logic.decide(record, command)
        for event in decision.events:
            before, record = record, logic.apply(record, event)
            events.append(event)
            if before.state == "blacklisted" and record.state != "blacklisted":
                assert event.event == "manual_override"
            if record.state == "trusted" != before.state:
                assert event.event in {
                    "knowledge_verified",
                    "local_alignment",
                    "anchored",
                    "operator_promote",
                }
    assert replay(logic, events) == record


def test_trust_logic_is_pure() -> None:
    """ACT-1, proven with clock, random source, sockets and files taken away."""
    commands: list[TrustCommand] = [
        *(command() for command in COMMANDS.values()),
        ManualOverride(at_ms=NOW + 1, human="ada", reason="a mistake"),
        *(Conflict(at_ms=NOW + n, claim_key="k", confidence=0.95, confirmers=3) for n in range(4)),
    ]
    record, events = check_lane_logic(TrustLogic(), commands)
    assert record.seq == len(events) > 10
