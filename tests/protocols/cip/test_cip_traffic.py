"""Established sessions: gates, capabilities, INTENT and REPLY, ERRORs and their limits (CIP-2 to CIP-4, TRUST-6)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.protocols.cip.examples import ADA, EVERYTHING, INTENT, PAYLOADS, Node, Pair, sealed
from web4.protocols.cip.agreement import Offer
from web4.protocols.cip.meters import AddressMeters, FaultWindow, TokenBucket
from web4.protocols.cip.options import CipOptions
from web4.protocols.errors import NotConnectedError
from web4.protocols.gates import GATES
from web4.protocols.messages import cip as m
from web4.protocols.messages.vocabulary import TYPES
from web4.trust import OperatorBlock, OperatorPromote

if TYPE_CHECKING:
    from web4.trust import TrustState

STATES: list[TrustState] = ["unknown", "untrusted", "probing", "trusted", "blacklisted"]
# A second writing of TRUST-6, kept apart from the code's own: n(o), d(rop), y(es), p(ending), w(eight 0),
# c(ounts), o (note only), s (disputes), g (consent gate); unknown, untrusted, probing, trusted, blacklisted.
EXPECTED = {
    "HELLO": "yyyyd", "VERIFY": "yyyyd", "ERROR": "yyyyd", "RECEIPT": "yyyyd",
    "STATE_UPDATE": "nnyyd", "INTENT": "nnyyd", "REPLY": "nnyyd",
    "HCP_HELLO": "nnyyd", "HCP_STATE_UPDATE": "nnyyd", "MESH_HELLO": "nnyyd",
    "FACT_PROPOSE": "nnpyd", "LIP_EVIDENCE": "nnpyd",
    "FACT_CONFIRM": "nnwcd", "FACT_REJECT": "nnwcd", "LIP_ACCEPT": "nnwcd", "LIP_REJECT": "nnwcd",
    "FACT_CHALLENGE": "nnosd", "LIP_CONFLICT": "nnosd",
    "HCP_INTENT": "nnngd", "HCP_CONTEXT": "nnngd", "HCP_DECISION": "nnngd", "HCP_FEEDBACK": "nnngd",
    "DECISION_SHARE": "nnnyd", "LIP_FETCH": "nnnyd",
    "MESH_ROUTES": "nnnyd", "MESH_INTRODUCE": "nnnyd", "MESH_REVOKE": "nnnyd", "MESH_RELAY": "nnnyd",
    "SERVICE_INVOKE": "nnnyd", "SERVICE_RESULT": "nnnyd",
}  # fmt: skip
LETTERS = {
    "n": "no", "d": "drop", "y": "yes", "p": "enters as pending", "w": "kept, weight 0 until trusted",
    "c": "counts", "o": "note only", "s": "disputes", "g": "consent gate",
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", EXPECTED)
def test_trust_gate_matrix(name: str, state: TrustState) -> None:
    """TRUST-6: every type of every protocol in every state."""
    assert set(GATES) == set(EXPECTED)
    assert GATES[name][state] == LETTERS[EXPECTED[name][STATES.index(state)]]


def bring(node: Node, state: TrustState) -> None:
    """Bring the node's trust in its established peer to `state`, by events of the table only."""
    from web4.trust import AuthFailure

    peer, at_ms = node.other.fingerprint, node.clock.wall_ms()
    if state == "untrusted":
        node.trust.handle(peer, AuthFailure(at_ms=at_ms, session_id="elsewhere", reason="signature"))
    elif state == "trusted":
        node.trust.handle(peer, OperatorPromote(at_ms=at_ms, human="ada", reason="met"))
    elif state == "blacklisted":
        node.trust.handle(peer, OperatorBlock(at_ms=at_ms, human="ada", reason="gone"))
    assert node.trust.state(peer) == state


@pytest.mark.parametrize("state", ["untrusted", "probing", "trusted", "blacklisted"])
@pytest.mark.parametrize("name", [name for name in PAYLOADS if name not in {"HELLO", "VERIFY"}])
def test_trust_gate_matrix_in_a_session(name: str, state: TrustState) -> None:
    """TRUST-6 as it acts: let in as the table says, refused with ERROR(gate), or dropped without a word."""
    pair = Pair().start()
    asked = pair.say(pair.bob, INTENT)  # so that a REPLY answers something
    bring(pair.bob, state)
    payload = PAYLOADS[name][0]
    if isinstance(payload, m.Reply):
        payload = msgspec.structs.replace(payload, in_reply_to=asked.msg_id)
    sent, events = len(pair.bob.sent), len(pair.bob.events)
    pair.bob.do(pair.bob.session.receive(sealed(payload), TYPES[name].channel))

    told = [json.loads(letter.data)["payload"].get("code") for letter in pair.bob.sent[sent:]]
    rejected = [fields["code"] for kind, fields in pair.bob.events[events:] if kind == "envelope_rejected"]
    received = [
        fields["admission"] for kind, fields in pair.bob.events[events:] if kind == "envelope_received"
    ]
    admission = GATES[name][state]
    if admission == "no":
        assert (told, rejected, received) == (["gate"], ["gate"], [])
    elif admission == "drop":
        assert (told, rejected, received) == ([], ["gate"], [])
    else:
        assert (rejected, received) == ([], [admission])
    handled = [item.delivery.admission for item in pair.bob.deliveries]
    handled += [item.delivery.admission for item in pair.bob.asked]
    if name in {"RECEIPT", "STATE_UPDATE"} or admission in {"no", "drop"}:
        assert handled == []
    else:
        assert handled == [admission]


def test_a_reply_must_answer_something_of_ours() -> None:
    """TRUST-6: REPLY (to a message of ours); an answer to nothing is refused."""
    pair = Pair().start()
    pair.say(pair.ada, m.Reply(in_reply_to="6f1c2a34-9d0e-4c5b-8a7f-001122334455", status="done", reason=""))
    rejected = [fields for kind, fields in pair.bob.events if kind == "envelope_rejected"]
    assert [(fields["code"], fields["field"]) for fields in rejected] == [("gate", "payload.in_reply_to")]


@pytest.mark.parametrize("name", [name for name in PAYLOADS if TYPES[name].needs_capability])
def test_capabilities(name: str) -> None:
    """CIP-3: what was not agreed is refused on arrival, whatever the sender thinks was agreed."""
    pair = Pair(options=CipOptions(agent_id="bob", offer=Offer())).start()
    bring(pair.bob, "trusted")
    events = len(pair.bob.events)
    pair.bob.do(pair.bob.session.receive(sealed(PAYLOADS[name][0]), TYPES[name].channel))
    rejected = [fields["code"] for kind, fields in pair.bob.events[events:] if kind == "envelope_rejected"]
    assert rejected == ([] if name == "STATE_UPDATE" else ["capability"])


def test_an_intent_is_accepted_and_answered() -> None:
    """LOOP-5: REPLY(accepted) at once, REPLY(done) at the end, both with the INTENT's corr_id."""
    pair = Pair().start()
    corr_id = "99999999-aaaa-1bbb-8ccc-dddddddddddd"
    intent = pair.say(pair.ada, INTENT, corr_id=corr_id)
    (asked,) = pair.bob.asked
    pair.act(pair.bob, pair.bob.session.answer_intent(asked.delivery, "accepted", "gladly"))
    pair.talk()
    pair.say(
        pair.bob,
        m.Reply(in_reply_to=intent.msg_id, status="done", reason="", content={"sum": 4}),
        corr_id=corr_id,
    )
    replies = [item.delivery.message for item in pair.ada.deliveries]
    assert [reply.payload.status for reply in replies if isinstance(reply, m.ReplyEnvelope)] == [
        "accepted",
        "done",
    ]
    assert {reply.corr_id for reply in replies} == {corr_id}
    assert [item.delivery.message.msg_id for item in pair.bob.deliveries] == [intent.msg_id]
    accepted = [fields for kind, fields in pair.bob.events if kind == "intent_accepted"]
    assert [(fields["msg_id"], fields["corr_id"]) for fields in accepted] == [(intent.msg_id, corr_id)]


@pytest.mark.parametrize(
    ("presence", "room", "reason", "retry"),
    [("overloaded", True, "overloaded", 5_000), ("engaged", False, "busy", 1_000)],
)
def test_an_overloaded_node_defers(presence: str, room: bool, reason: str, retry: int) -> None:
    """CIP-4, LOOP-1: REPLY(deferred, retry_after_ms) and no handler; a new message of the same conversation may ask."""
    pair = Pair().start()
    pair.bob.be(presence)
    pair.bob.room = room
    pair.say(pair.ada, INTENT)
    assert pair.bob.asked == []
    (answer,) = [item.delivery.message.payload for item in pair.ada.deliveries]
    assert isinstance(answer, m.Reply)
    assert (answer.status, answer.reason, answer.retry_after_ms) == ("deferred", reason, retry)
    assert pair.bob.kinds("intent_deferred", "intent_accepted") == ["intent_deferred"]
    pair.bob.be("focused")
    pair.bob.room = True
    pair.say(pair.ada, INTENT)
    assert len(pair.bob.asked) == 1


def test_messages_per_peer_are_limited() -> None:
    """LIM-2: beyond the burst dropped unhandled; told once a second; refilled with time."""
    pair = Pair(
        options=CipOptions(agent_id="bob", offer=EVERYTHING, messages_per_second=10, message_burst=20)
    )
    pair.start()
    for _ in range(50):
        pair.say(pair.ada, INTENT)
    told = [json.loads(letter.data)["payload"] for letter in pair.bob.sent if letter.type == "ERROR"]
    assert told == [{"code": "rate_limited", "retry_after_ms": 100}]
    handled = len(pair.bob.asked)
    assert handled == 20 - 3, "HELLO, VERIFY and STATE_UPDATE were messages too"
    pair.clock.advance(6_000)  # until then others wait for the first that was dropped (OUT-4)
    for _ in range(50):
        pair.say(pair.ada, INTENT)
    assert len(pair.bob.asked) == handled + 20
    limited = [fields["dropped"] for kind, fields in pair.bob.events if fields.get("code") == "rate_limited"]
    assert limited == [1, 33]
    assert pair.bob.closed is None


def test_errors_are_limited() -> None:
    """CIP-2: at most ten ERRORs a second, and none for an ERROR or RECEIPT."""
    pair = Pair(options=CipOptions(agent_id="bob", offer=EVERYTHING, faults_per_minute=1_000)).start()
    sent = len(pair.bob.sent)
    for number in range(30):
        pair.bob.do(pair.bob.session.receive(b"{" + b" " * number, "knowledge"))
    assert len(pair.bob.sent) == sent + 10
    pair.clock.advance(1_000)
    for name in ("ERROR", "RECEIPT"):
        pair.bob.do(pair.bob.session.receive(sealed(PAYLOADS[name][0]), "knowledge"))
        pair.bob.do(pair.bob.session.receive(sealed(PAYLOADS[name][0], receiver=ADA), "control"))
    assert len(pair.bob.sent) == sent + 10
    assert len(pair.bob.kinds("envelope_rejected")) == 34, "each has its event all the same (VAL-3)"


def test_an_error_reaches_the_application() -> None:
    """Whoever asked can learn that a message of theirs was refused."""
    pair = Pair().start()
    share = pair.say(pair.ada, PAYLOADS["DECISION_SHARE"][0])
    (refusal,) = pair.ada.deliveries
    assert isinstance(refusal.delivery.message.payload, m.Error)
    assert (refusal.delivery.message.payload.code, refusal.delivery.message.payload.msg_id) == (
        "gate",
        share.msg_id,
    )
    assert refusal.optional


def test_nothing_is_sent_over_a_session_that_ended() -> None:
    pair = Pair().start()
    pair.ada.session.closed()
    with pytest.raises(NotConnectedError):
        pair.ada.session.send(INTENT)
    assert pair.ada.session.state_update() == []
    assert pair.ada.session.receive(b"{", "control") == []


def test_every_message_is_reported_with_digests_not_contents() -> None:
    """OBS-5: events carry digests; no text of a message appears in any of them."""
    pair = Pair().start()
    pair.say(pair.ada, m.Intent(goal="ask", topic="the secret topic", priority="low", context={"k": "v4lue"}))
    sent = [fields for kind, fields in pair.ada.events if kind == "envelope_sent"][-1]
    received = [fields for kind, fields in pair.bob.events if kind == "envelope_received"][-1]
    assert (sent["digest"], sent["msg_id"]) == (received["digest"], received["msg_id"])
    assert "secret" not in repr(pair.ada.events + pair.bob.events)
    assert "v4lue" not in repr(pair.ada.events + pair.bob.events)


def test_token_bucket() -> None:
    bucket = TokenBucket(10, 2)
    assert [bucket.take(0), bucket.take(0), bucket.take(0)] == [True, True, False]
    assert bucket.retry_after_ms() == 100
    assert not bucket.take(99_999_999)
    assert bucket.take(100_000_000)
    assert [bucket.take(10**12), bucket.take(10**12), bucket.take(10**12)] == [True, True, False]
    with pytest.raises(ValueError, match="positive"):
        TokenBucket(0, 1)


def test_fault_window_slides() -> None:
    window = FaultWindow(2)
    second = 1_000_000_000
    assert [window.count(0), window.count(30 * second)] == [False, False]
    assert window.count(59 * second)
    assert not window.count(90 * second)
    assert window.count(90 * second + 1)


def test_address_meters_forget_the_longest_unseen() -> None:
    meters = AddressMeters(1, 1, addresses=2)
    assert meters.take("a", 0)
    assert not meters.take("a", 0)
    assert meters.take("b", 0)
    assert meters.take("c", 0)
    assert not meters.take("c", 0)
    assert meters.take("a", 0), "forgotten, and so fresh again: bounded memory is the price"


@pytest.mark.parametrize(
    "wrong",
    [
        {"agent_id": "Not A Name"},
        {"skew_ms": 0},
        {"replay_ids": 1},
        {"envelope_bytes": 300_000},
        {"offer": Offer(protocols=("cip",))},
    ],
)
def test_options_are_checked_at_start(wrong: dict[str, Any]) -> None:
    """LIM-1."""
    with pytest.raises((ValueError, msgspec.ValidationError)):
        CipOptions(**{"agent_id": "ada", **wrong})
