"""The peer's lane as a whole: pure, replayable, and with one trust event per message (ACT-1, REP-2, ROUTE-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.protocols.cip.examples import ADA, BOB, INTENT, PAYLOADS, Pair, sealed
from web4.foundation.logic import replay
from web4.protocols.cip import peer as peer_module
from web4.protocols.cip.peer import Peer, RecentEnvelopes
from web4.protocols.cip.peer_logic import PeerLogic
from web4.protocols.cip.peer_state import Arrived, IdHeard
from web4.testing import check_lane_logic
from web4.trust import Anchored, ManualOverride, TrustEvent

if TYPE_CHECKING:
    import pytest

    from web4.protocols.cip.peer_state import PeerCommand


def busy_life() -> Pair:
    """Deferral, handshake, traffic, a refusal, a second handshake, equivocation."""
    pair = Pair()
    pair.bob.be("overloaded")
    pair.start()
    pair.bob.be("focused")
    pair.wait(pair.ada)
    first = pair.say(pair.ada, INTENT)
    for payloads in PAYLOADS.values():
        for payload in payloads[:1]:
            if type(payload).__name__ not in {"Hello", "Verify"}:
                pair.say(pair.ada, payload)
    pair.act(pair.ada, pair.ada.session.verify_again())
    pair.talk()
    pair.bob.do(pair.bob.session.receive(sealed(INTENT, msg_id=first.msg_id), "knowledge"))
    assert pair.bob.trust_of_other() == "blacklisted"
    pair.bob.session.closed()
    return pair


def test_peer_logic_is_pure(recorded: list[tuple[str, PeerCommand]]) -> None:
    """ACT-1: the logic of one lane, trust included, with clock, random source, sockets and files taken away."""
    pair = busy_life()
    for peer, node in ((ADA.fingerprint, pair.bob), (BOB.fingerprint, pair.ada)):
        commands = [command for of, command in recorded if of == peer]
        commands += [Anchored(at_ms=1), ManualOverride(at_ms=2, human="ada", reason="a mistake")]
        logic = PeerLogic(replay=node.options.replay)
        state, events = check_lane_logic(logic, commands)
        assert {type(event).__name__ for event in events} >= {"TrustEvent", "IdHeard", "HandshakeStep"}
        assert state.replay == node.peer(peer).lane.state.replay, "what ran in the session is what is checked"
    assert state.handshakes == node.peer(peer).lane.state.handshakes


def test_the_logs_rebuild_the_lane() -> None:
    """TRUST-7, REP-2: in memory, the lane's log and the peer's trust log together rebuild its state."""
    pair = busy_life()
    lane = pair.bob.peer(ADA.fingerprint).lane
    fsm = pair.bob.trust.fsm(ADA.fingerprint)
    assert fsm is not None
    rebuilt = replay(lane.logic, [*fsm.log, *lane.log])
    assert rebuilt == lane.state == msgspec.structs.replace(lane.state, trust=fsm.record)


def test_the_log_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "_LOG_EVENTS", 8)
    pair = Pair().start()
    lane = pair.bob.peer(ADA.fingerprint).lane
    for _ in range(30):
        pair.say(pair.ada, INTENT)
        assert len(lane.log) <= 8
        assert replay(lane.logic, lane.log, base=lane.base).replay == lane.state.replay


def test_a_message_causes_one_trust_event_at_most(recorded: list[tuple[str, PeerCommand]]) -> None:
    """ROUTE-3."""
    busy_life()
    logic = PeerLogic()
    for peer in (ADA.fingerprint, BOB.fingerprint):
        state = logic.initial
        for of, command in recorded:
            if of == peer:
                events = logic.decide(state, command).events
                if isinstance(command, Arrived):
                    assert sum(isinstance(event, TrustEvent) for event in events) <= 1
                    assert sum(isinstance(event, IdHeard) for event in events) <= 2
                state = replay(logic, events, base=state)


def test_a_peer_is_idle_once_nothing_can_be_replayed() -> None:
    """What a peer leaves in memory is let go when its last id could no longer pass the clock."""
    pair = Pair().start()
    peer: Peer = pair.bob.peer(ADA.fingerprint)
    assert not peer.idle(pair.clock.wall_ms())
    pair.bob.session.closed()
    assert not peer.idle(pair.clock.wall_ms() + 240_000)
    assert peer.idle(pair.clock.wall_ms() + 270_000)


def test_recent_envelopes_are_bounded() -> None:
    recent = RecentEnvelopes(10)
    recent.put("a", b"12345")
    recent.put("a", b"other")
    recent.put("b", b"12345")
    recent.put("huge", b"12345678901")
    assert (recent.get("a"), recent.get("b"), recent.get("huge")) == (b"12345", b"12345", None)
    recent.put("c", b"1")
    assert (recent.get("a"), recent.get("c")) == (None, b"1")


def test_answers_of_ours_are_remembered_up_to_a_bound() -> None:
    pair = Pair()
    peer = pair.ada.peer(BOB.fingerprint)
    for number in range(4_097):
        peer.sent(str(number))
    assert (peer.was_sent("0"), peer.was_sent("1"), peer.was_sent("4096")) == (False, True, True)
