"""The replay window: what is held, how long, and what happens when it is full (REP-1 to REP-3)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocols.cip.examples import ADA, BOB, EVERYTHING, INTENT, PAYLOADS, Pair, sealed
from web4.foundation.digest import blake3_hex
from web4.protocols.cip.options import CipOptions
from web4.protocols.cip.replay import Heard, ReplayLimits, ReplayWindow
from web4.protocols.messages import cip as m
from web4.testing.clocks import START_MS

HOUR_MS = 3_600_000


def hear(
    window: ReplayWindow, key: bytes, at_ms: int, limits: ReplayLimits, content: bytes = b"c"
) -> ReplayWindow:
    return window.remembering(key, Heard(content, b"e"), at_ms=at_ms, limits=limits)


def kind(window: ReplayWindow, key: bytes, at_ms: int, limits: ReplayLimits, content: bytes = b"c") -> str:
    return window.judge(key, content, at_ms=at_ms, timestamp_ms=at_ms, limits=limits).kind


arrivals = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=120)


@given(arrivals, st.integers(2, 6))
def test_the_window_agrees_with_a_plain_model(history: list[tuple[int, int]], ids: int) -> None:
    """REP-1 against a list of (key, time): no live id is ever forgotten, and what is refused would not have fit."""
    limits = ReplayLimits(skew_ms=32, ids=ids)
    window, model, at_ms = ReplayWindow(), dict[bytes, int](), 0
    for pause, number in history:
        at_ms += pause
        key = bytes([number])
        alive = {heard for heard, then in model.items() if at_ms - then <= limits.retention_ms}
        verdict = kind(window, key, at_ms, limits)
        if key in alive:
            assert verdict == "duplicate"
        elif verdict == "full":
            assert len(window) == ids
        elif verdict == "fresh":
            before = window
            window = hear(window, key, at_ms, limits)
            model[key] = at_ms
            assert kind(before, key, at_ms, limits) != "duplicate", "the old window is as it was"
        assert len(alive) <= len(window) <= ids
        # Nothing is held more than one step longer than it must.
        kept = {
            heard for heard, then in model.items() if at_ms - then <= limits.retention_ms + limits.bucket_ms
        }
        for heard in set(model) - kept:
            assert (
                kind(hear(window, b"other", at_ms, ReplayLimits(skew_ms=32)), heard, at_ms, limits)
                != "duplicate"
            )


def test_rep_window_full_refuses() -> None:
    """A flood of ids is refused with retry_after; no live id is forgotten for it, and then there is room again."""
    pair = Pair(options=CipOptions(agent_id="bob", offer=Pair().ada.options.offer, replay_ids=50))
    pair.start()
    peer = pair.bob.peer(ADA.fingerprint)
    heard = [pair.say(pair.ada, INTENT) for _ in range(60)]
    assert len(peer.lane.state.known) == 50
    refusals = [letter for letter in pair.bob.sent if letter.type == "ERROR"]
    payload = json.loads(refusals[0].data)["payload"]
    assert payload["code"] == "replay_window_full"
    assert len(refusals) == 10, "and no more than ten a second (CIP-2)"

    handled = len(pair.bob.asked)
    for letter in heard[:handled]:
        pair.bob.do(pair.bob.session.receive(letter.data, "knowledge"))
    assert len(pair.bob.asked) == handled, "every id that was let in is still known"
    assert pair.bob.closed is None

    pair.clock.advance(payload["retry_after_ms"] - 1)
    pair.say(pair.ada, INTENT)
    assert len(pair.bob.asked) == handled
    pair.clock.advance(5_001)  # what was put off first does not come again
    pair.say(pair.ada, INTENT)
    assert len(pair.bob.asked) == handled + 1


def test_rep_same_id() -> None:
    """REP-3, OUT-3: an identical repeat is a duplicate, without blame and not handled again; its receipt is repeated.
    Other content under the id is equivocation, shown with both envelopes."""
    pair = Pair().start()
    first = pair.say(pair.ada, INTENT)
    trust = pair.bob.trust.record(ADA.fingerprint)
    pair.clock.advance(1_000)
    resealed = sealed(INTENT, msg_id=first.msg_id, now_ms=pair.clock.wall_ms())
    for repeat in (first.data, _as_first(first.data, resealed)):
        (answer,) = pair.bob.do(pair.bob.session.receive(repeat, "knowledge"))
        assert (answer[1].type, json.loads(answer[1].data)["payload"]) == (
            "RECEIPT",
            {"msg_ids": [first.msg_id]},
        )
    assert len(pair.bob.asked) == 1
    assert pair.bob.trust.record(ADA.fingerprint) == trust
    repeats = [fields for event, fields in pair.bob.events if event == "replay_detected"]
    assert [fields["status"] for fields in repeats] == ["duplicate", "duplicate"]

    other = sealed(m.Intent(goal="ask", topic="else", priority="high", context={}), msg_id=first.msg_id)
    pair.bob.do(pair.bob.session.receive(other, "knowledge"))
    assert (pair.bob.trust_of_other(), pair.bob.closed) == ("blacklisted", "blacklisted")
    fsm = pair.bob.trust.fsm(ADA.fingerprint)
    assert fsm is not None
    blamed = fsm.log[-1]
    assert (blamed.event, blamed.reason) == ("malicious_evidence", "equivocation")
    assert [evidence.msg_id for evidence in blamed.evidence] == [first.msg_id] * 2
    kept = [pair.bob.context.evidence.get(evidence.blake3) for evidence in blamed.evidence]
    assert kept == [first.data, other]
    assert pair.bob.sent[-1].type != "ERROR", "a blacklisted peer hears nothing (CIP-2)"
    codes = [fields.get("code") for event, fields in pair.bob.events if event == "replay_detected"]
    assert codes == [None, None, "equivocation"]


def _as_first(first: bytes, resealed: bytes) -> bytes:
    """The resent message as its sender would have sealed it, with its own agent_id: same content digest."""
    from web4.foundation import envelope as envelopes
    from web4.foundation.codec import ENCODER

    document, other = json.loads(first), json.loads(resealed)
    document["timestamp"] = other["timestamp"]
    del document["sign"]
    again = envelopes.seal(ADA, ENCODER.encode(document))
    assert again != first
    assert envelopes.parse(again).content_digest == envelopes.parse(first).content_digest
    return again


def test_ids_hold_across_sessions() -> None:
    """A message recorded in one session is a duplicate in the peer's next one."""
    pair = Pair().start()
    first = pair.say(pair.ada, INTENT)
    pair.bob.session.closed()
    pair.ada.session.closed()
    for node, other in ((pair.ada, BOB), (pair.bob, ADA)):
        node.session_id = "77" * 16
        node.open(other, initiator=node is pair.ada)
    pair.start()
    assert pair.bob.session.established
    pair.bob.do(pair.bob.session.receive(first.data, "knowledge"))
    assert len(pair.bob.asked) == 1


def test_what_was_refused_can_be_sent_again() -> None:
    """An id is remembered once the message is let in: a retry after `busy` is handled, not a duplicate."""
    pair = Pair().start()
    pair.bob.room = False
    fact = pair.say(pair.ada, PAYLOADS["FACT_PROPOSE"][0])
    told = json.loads(pair.bob.sent[-1].data)["payload"]
    assert told == {"code": "busy", "msg_id": fact.msg_id, "retry_after_ms": 1_000}
    assert pair.bob.deliveries == []
    pair.bob.room = True
    pair.bob.do(pair.bob.session.receive(fact.data, "knowledge"))
    assert [delivered.delivery.message.msg_id for delivered in pair.bob.deliveries] == [fact.msg_id]
    assert pair.bob.deliveries[0].delivery.digest == blake3_hex(fact.data)


def state_update(now_ms: int, msg_id: str, lri: int = 1) -> bytes:
    payload = m.StateUpdate(presence="engaged", lri=lri, ltppeerstate="probing", kernel_signals=(), intent="")
    return sealed(payload, now_ms=now_ms, msg_id=msg_id)


def test_stale_state_updates_are_dropped() -> None:
    """REP-2: telemetry leaves no id; one older than the handshake here, or than the last one, is dropped."""
    pair = Pair().start()
    peer = pair.bob.peer(ADA.fingerprint)
    held = len(peer.lane.state.replay)
    ids = (f"00000000-0000-4000-8000-{number:012x}" for number in range(10))

    def tell(now_ms: int, lri: int) -> int:
        pair.bob.do(pair.bob.session.receive(state_update(now_ms, next(ids), lri), "state"))
        assert peer.newest_state is not None
        return peer.newest_state.lri

    assert tell(START_MS - 1, 11) == 0, "older than the HELLO of this session"
    assert tell(START_MS + 20, 12) == 12
    assert tell(START_MS + 19, 13) == 12, "older than the last one"
    assert tell(START_MS + 20, 14) == 14
    assert len(peer.lane.state.replay) == held
    dropped = [fields["code"] for event, fields in pair.bob.events if event == "replay_detected"]
    assert dropped == ["replayed", "replayed"]
    assert "ERROR" not in [letter.type for letter in pair.bob.sent]


def test_a_state_update_from_before_the_handshake_is_dropped() -> None:
    """REP-2: nothing was heard of Ada's state yet, and still what she said before this session does not count."""
    pair = Pair()
    pair.lose = lambda sealed: sealed.type == "STATE_UPDATE"
    pair.start()
    peer = pair.bob.peer(ADA.fingerprint)
    recorded = state_update(START_MS - 1, "00000000-0000-4000-8000-000000000001")
    pair.bob.do(pair.bob.session.receive(recorded, "state"))
    assert peer.newest_state is None
    now = state_update(START_MS, "00000000-0000-4000-8000-000000000002", lri=9)
    pair.bob.do(pair.bob.session.receive(now, "state"))
    assert peer.newest_state is not None
    assert peer.newest_state.lri == 9


def test_a_clock_set_back_lets_nothing_in_again() -> None:
    """What may have been heard and let go stays refused, even if the clock returns to where it would pass."""
    limits = ReplayLimits(skew_ms=120_000)
    window = hear(ReplayWindow(), b"old", START_MS, limits)
    for step in range(20):
        window = hear(window, bytes([step]), START_MS + step * 60_000, limits)
    assert window.find(b"old") is None

    def judged(timestamp_ms: int) -> str:
        verdict = window.judge(b"old", b"c", at_ms=START_MS, timestamp_ms=timestamp_ms, limits=limits)
        return verdict.kind

    assert judged(START_MS + limits.skew_ms) == "forgotten", "it could have come then, that far ahead"
    assert judged(START_MS + HOUR_MS) == "fresh"


def test_a_clock_that_was_ahead_holds_back_nobody() -> None:
    """REP-1: one message heard in a wrong year must not keep all that come after it for as long."""
    limits = ReplayLimits(skew_ms=1_000, ids=15)
    year_ms, one = 31_536_000_000, Heard(b"content", b"envelope")
    window = ReplayWindow().remembering(b"before", one, at_ms=5_000, limits=limits)
    window = window.remembering(b"ahead", one, at_ms=year_ms, limits=limits)
    forgot_ms = window.forgot_ms
    assert forgot_ms >= 5_000
    for number in range(100):
        at_ms, key = 1_000 + 300 * number, b"%d" % number
        window = window.remembering(key, one, at_ms=at_ms, limits=limits)
        assert window.find(key) is not None
        ends = [bucket.ends_ms for bucket in window.buckets]
        assert ends == sorted(set(ends))
        assert window.forgot_ms >= forgot_ms, "what was let go does not come back"
    assert len(window) < 12
    assert window.find(b"ahead") is not None
    assert window.judge(b"new", b"", at_ms=60_000, timestamp_ms=60_000, limits=limits).kind == "fresh"


@pytest.mark.parametrize("limits", [{"skew_ms": 0}, {"ids": 0}, {"ids": 1}])
def test_limits_make_sense(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="positive"):
        ReplayLimits(**limits)


def test_what_was_let_go_is_forgotten_to_the_millisecond() -> None:
    """REP-1: the latest timestamp that an id of the last forgotten moment could have carried, and the one after."""
    limits = ReplayLimits(skew_ms=1_000)
    window = hear(ReplayWindow(), b"old", START_MS, limits)
    window = hear(window, b"new", START_MS + 60_000, limits)
    edge = window.forgot_ms + limits.skew_ms
    for timestamp_ms, verdict in ((edge, "forgotten"), (edge + 1, "fresh")):
        assert (
            window.judge(b"x", b"c", at_ms=START_MS, timestamp_ms=timestamp_ms, limits=limits).kind == verdict
        )


def test_a_hello_needs_room_for_its_nonce_too() -> None:
    """REP-1: a HELLO is remembered by id and nonce; where only one fits it is refused, and told when to come again."""
    pair = Pair(options=CipOptions(agent_id="bob", offer=EVERYTHING, replay_ids=2))
    pair.bob.do(pair.bob.session.start())
    pair.bob.do(pair.bob.session.receive(sealed(PAYLOADS["ERROR"][0]), "control"))
    pair.act(pair.ada, pair.ada.session.start())
    pair.talk()
    told = [json.loads(letter.data)["payload"]["code"] for letter in pair.bob.sent]
    assert told == ["replay_window_full"]
    assert len(pair.bob.peer(ADA.fingerprint).lane.state.replay) == 1


@pytest.mark.parametrize("name", ["ERROR", "RECEIPT"])
def test_a_full_window_answers_no_error_with_an_error(name: str) -> None:
    """CIP-2: also what is refused in steps 10 and 11 causes no ERROR if it is one."""
    pair = Pair(options=CipOptions(agent_id="bob", offer=EVERYTHING, replay_ids=3)).start()
    sent = len(pair.bob.sent)
    pair.bob.do(pair.bob.session.receive(sealed(PAYLOADS[name][0]), "control"))
    assert [fields["code"] for kind, fields in pair.bob.events if kind == "replay_detected"] == [
        "replay_window_full"
    ]
    assert len(pair.bob.sent) == sent
