"""The handshake between two real sessions in memory: section 8, with real signatures and a clock that obeys."""

from __future__ import annotations

import base64
import json
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.protocols.cip.examples import ADA, BOB, EVERYTHING, HELLO, INTENT, RESPONSE, Node, Pair, sealed
from web4.foundation import envelope as envelopes
from web4.foundation.codec import ENCODER
from web4.foundation.digest import canonical
from web4.protocols.cip.agreement import Offer, agree
from web4.protocols.cip.options import CipOptions
from web4.protocols.cip.proof import transcript
from web4.protocols.errors import NotConnectedError
from web4.protocols.messages import cip as m
from web4.testing.clocks import START_MS
from web4.trust import AuthFailure, HandshakeOk, TrustLimits, TrustRegistry, TrustViolationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.foundation.identity import Identity
    from web4.protocols.cip.sealing import Sealed


def phase(node: Node) -> str | None:
    state = node.session.state
    return None if state is None else state.phase


def trust_events(node: Node) -> list[str]:
    fsm = node.trust.fsm(node.other.fingerprint)
    return [] if fsm is None else [event.event for event in fsm.log]


def test_both_sides_established_and_probing() -> None:
    """Section 8: HELLO, HELLO, VERIFY, then both say STATE_UPDATE; each holds the other as probing."""
    pair = Pair().start()
    assert [name for name, _ in pair.transcript] == [
        "HELLO",
        "HELLO",
        "VERIFY",
        "STATE_UPDATE",
        "STATE_UPDATE",
    ]
    for node in (pair.ada, pair.bob):
        assert (phase(node), node.trust_of_other(), trust_events(node)) == (
            "established",
            "probing",
            ["handshake_ok"],
        )
        assert node.kinds("handshake_started", "handshake_completed", "handshake_failed") == [
            "handshake_started",
            "handshake_completed",
        ]
        assert node.peer(node.other.fingerprint).newest_state is not None
        assert node.armed is not None
        assert node.armed.after_ms is None, "no deadline is left"
    assert pair.ada.established == pair.bob.established
    assert pair.ada.established[0].agreement.capabilities == (
        "dmp_trace",
        "knowledge_exchange",
        "state_exchange",
    )
    assert "RECEIPT" not in dict(pair.transcript), "nothing is durable yet, so nothing is receipted"


def test_hs_transcript_repeats_exactly() -> None:
    """HS-9: with clock, ids, nonces and binding given, two runs are identical, events included."""
    one, two = Pair().start(), Pair().start()
    assert one.transcript == two.transcript
    assert (one.ada.events, one.bob.events) == (two.ada.events, two.bob.events)
    assert Pair(seed="other").start().transcript != one.transcript
    assert Pair(binding=b"\x08" * 32).start().transcript != one.transcript


def test_the_binding_is_never_said() -> None:
    """RTT-8: the binding is signed, and neither sent, nor logged, nor shown."""
    pair = Pair().start()
    shown = repr(pair.ada.session.__dict__) + repr(pair.ada.events) + repr(pair.ada.peers)
    said = b"".join(data for _, data in pair.transcript)
    for spelled in (base64.b64encode(b"\x07" * 32).decode(), (b"\x07" * 32).hex(), repr(b"\x07" * 32)):
        assert spelled not in shown
        assert spelled.encode() not in said


def test_hs_needs_verify() -> None:
    """HS-2: without VERIFY nothing rises at the responder, and nothing but the handshake is taken."""
    pair = Pair()
    pair.lose = lambda sealed: sealed.type == "VERIFY"
    pair.start()
    assert (phase(pair.bob), pair.bob.trust_of_other(), trust_events(pair.bob)) == (
        "verifying",
        "unknown",
        [],
    )
    assert pair.bob.established == []
    refused = [fields["code"] for kind, fields in pair.bob.events if kind == "envelope_rejected"]
    assert refused == ["handshake"], "Ada's STATE_UPDATE came before her VERIFY"
    with pytest.raises(NotConnectedError):
        pair.bob.session.send(INTENT)


def test_hs_other_session() -> None:
    """HS-1: all else equal, a response recorded in one session fails on the binding of another."""
    recorded = dict(Pair().start().transcript)["VERIFY"]
    victim = Pair()
    other = b"\x08" * 32
    for node in (victim.ada, victim.bob):
        node.binding = other
        node.open(node.other, initiator=node is victim.ada)
    victim.alter = lambda _to, sealed: recorded if sealed.type == "VERIFY" else sealed.data
    victim.start()
    assert_failed(victim.bob)


def assert_failed(node: Node, reason: str = "bad_response") -> None:
    """HS-6: failed, closed, an auth failure of the peer, no promotion, one event for the envelope."""
    assert (phase(node), node.closed) == ("failed", reason)
    assert node.trust_of_other() in {"unknown", "untrusted"}
    assert node.trust.unrecorded == ({"auth_failure": 1} if reason == "bad_response" else {})
    assert "handshake_ok" not in trust_events(node)
    assert node.kinds("auth_failure", "handshake_failed", "envelope_rejected") == [
        "handshake_failed",
        "auth_failure",
    ]
    assert node.established == []


HS1_FIELDS = [
    "role", "binding", "fp_i", "fp_r", "nonce_i", "challenge_i", "nonce_r", "challenge_r", "hello_i", "hello_r",
]  # fmt: skip


def forge(
    pair: Pair, type_name: str, sender: Identity, change: Callable[[dict[str, Any]], None], **sign: str
) -> None:
    """Let the response in the message of this type be given for something else, and the envelope be in order."""

    def alter(to: Node, sealed: Sealed) -> bytes:
        document = json.loads(sealed.data)
        if sealed.type != type_name or "challenge_response" not in document["payload"]:
            return sealed.data
        state = (pair.bob if sender is BOB else pair.ada).session.state
        assert state is not None
        assert state.own is not None
        assert state.peer is not None
        responding = sender is BOB
        signed = json.loads(
            transcript(
                "responder" if responding else "initiator",
                binding=to.binding,
                initiator=ADA.fingerprint,
                responder=BOB.fingerprint,
                hello_i=state.peer if responding else state.own,
                hello_r=state.own if responding else state.peer,
            )
        )
        change(signed)
        purpose = {"protocol": "cip", "version": "1.0", "purpose": "handshake", **sign}
        response = sender.sign(canonical(signed), **purpose)
        document["payload"]["challenge_response"] = base64.b64encode(response).decode()
        del document["sign"]
        return envelopes.seal(sender, ENCODER.encode(document))

    pair.alter = alter


@pytest.mark.parametrize("field", HS1_FIELDS)
@pytest.mark.parametrize("type_name", ["HELLO", "VERIFY"])
def test_hs_bad_response(type_name: str, field: str) -> None:
    """HS-1, HS-6: each field altered in turn, in the responder's answer and in the initiator's."""

    def change(signed: dict[str, Any]) -> None:
        if field == "hello_r" and type_name == "HELLO":
            signed[field] = "00" * 32  # absent in the responder's own response
        elif field == "role":
            signed[field] = "initiator" if type_name == "HELLO" else "responder"
        else:
            value = signed[field]
            signed[field] = ("A" if value[0] != "A" else "B") + value[1:]

    pair = Pair()
    forge(pair, type_name, BOB if type_name == "HELLO" else ADA, change)
    pair.start()
    assert_failed(pair.ada if type_name == "HELLO" else pair.bob)


@pytest.mark.parametrize("type_name", ["HELLO", "VERIFY"])
def test_the_forger_of_these_tests_forges_well(type_name: str) -> None:
    """With nothing altered, the same path through `forge` is accepted: the tests above fail for their field."""
    pair = Pair()
    forge(pair, type_name, BOB if type_name == "HELLO" else ADA, lambda _signed: None)
    pair.start()
    assert (phase(pair.ada), phase(pair.bob)) == ("established", "established")


@pytest.mark.parametrize("sign", [{"purpose": "envelope"}, {"version": "1.1"}, {"protocol": "hcp"}])
@pytest.mark.parametrize("type_name", ["HELLO", "VERIFY"])
def test_hs_bad_response_of_another_purpose(type_name: str, sign: dict[str, str]) -> None:
    """SIG-2: a signature for another protocol, version or purpose proves nothing here."""
    pair = Pair()
    forge(pair, type_name, BOB if type_name == "HELLO" else ADA, lambda _signed: None, **sign)
    pair.start()
    assert_failed(pair.ada if type_name == "HELLO" else pair.bob)


def rewrite(pair: Pair, type_name: str, sender: Identity, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the payload of the message of this type; the envelope is signed anew."""

    def alter(_to: Node, sealed: Sealed) -> bytes:
        document = json.loads(sealed.data)
        if sealed.type != type_name or document["sender"]["fingerprint"] != sender.fingerprint:
            return sealed.data
        change(document["payload"])
        del document["sign"]
        return envelopes.seal(sender, ENCODER.encode(document))

    pair.alter = alter


def test_hs_bad_response_missing_or_misquoted() -> None:
    """A HELLO that answers without a response, and a VERIFY that names other nonces, prove nothing."""
    silent = Pair()
    rewrite(silent, "HELLO", BOB, lambda payload: payload.pop("challenge_response"))
    assert_failed(silent.start().ada)
    for nonce in ("nonce_initiator", "nonce_responder"):
        misquoted = Pair()
        rewrite(misquoted, "VERIFY", ADA, methodcaller("update", {nonce: "A" * 43 + "="}))
        assert_failed(misquoted.start().bob)


def test_hs_altered_lists_are_noticed() -> None:
    """HS-1: the lists of a HELLO that its sender signed twice differently do not pass; the digests differ."""
    pair = Pair()
    rewrite(pair, "HELLO", ADA, lambda payload: payload["capabilities"].remove("dmp_trace"))
    assert_failed(pair.start().ada)


LOST = ["HELLO of the initiator", "HELLO of the responder", "VERIFY"]


def is_lost(which: str, sealed: Sealed) -> bool:
    sender = json.loads(sealed.data)["sender"]["fingerprint"]
    if which == "VERIFY":
        return sealed.type == "VERIFY"
    return sealed.type == "HELLO" and sender == (BOB if "responder" in which else ADA).fingerprint


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("which", LOST)
def test_hs_timeouts_and_losses(which: str, late: bool) -> None:
    """HS-3: each message lost, or late, in turn: both end without a session, and nobody is blamed for it."""
    pair = Pair()
    kept: list[Sealed] = []

    def lose(sealed: Sealed) -> bool:
        lost = is_lost(which, sealed)
        kept.extend([sealed] if lost else [])
        return lost

    pair.lose = lose
    pair.start()
    (message,) = kept
    pair.lose = lambda _sealed: False
    for node in (pair.bob, pair.ada):
        if node.armed is not None and node.armed.after_ms is not None:
            assert node.armed.after_ms == 5_000
            pair.wait(node)
    if late:
        to = pair.ada if which == "HELLO of the responder" else pair.bob
        assert to.session.receive(message.data, "control") == [], "the session is being closed"

    # Whoever still waited has given up, and says why; of one that was through, the other's end closes the session.
    through = which == "VERIFY"
    assert (phase(pair.ada), phase(pair.bob)) == ("established" if through else "failed", "failed")
    assert (pair.ada.closed, pair.bob.closed) == (None if through else "timeout", "timeout")
    for node in (pair.bob,) if through else (pair.ada, pair.bob):
        failed = [fields["reason"] for kind, fields in node.events if kind == "handshake_failed"]
        assert failed == ["timeout"]
        assert node.trust.unrecorded == {}
    # What RTT does next: a session that one side closed ends on the other too.
    pair.bob.session.closed()
    pair.ada.session.closed()
    assert (phase(pair.ada), phase(pair.bob)) == (None, None)
    assert trust_events(pair.bob) == []
    # The responder had proven itself to Ada (HS-2) when only her VERIFY was lost; the loss itself is no event.
    assert trust_events(pair.ada) == (["handshake_ok"] if which == "VERIFY" else [])


def test_a_deadline_that_fires_late_changes_nothing() -> None:
    pair = Pair().start()
    assert pair.bob.session.deadline(1) == []
    assert (phase(pair.bob), pair.bob.closed) == ("established", None)


def test_hs_defer_on_overload() -> None:
    """HS-5: an overloaded responder asks for patience; the initiator comes back with a fresh nonce and succeeds."""
    pair = Pair()
    pair.bob.be("overloaded")
    pair.start()
    assert (phase(pair.ada), phase(pair.bob)) == ("deferred", "deferred")
    assert [name for name, _ in pair.transcript] == ["HELLO", "ERROR"]
    told = json.loads(pair.transcript[1][1])["payload"]
    assert (told["code"], told["retry_after_ms"]) == ("deferred", 5_000)
    assert (pair.ada.armed.after_ms, pair.bob.armed.after_ms) == (5_000, 10_000)  # type: ignore[union-attr]
    assert (
        pair.ada.kinds("handshake_deferred") == pair.bob.kinds("handshake_deferred") == ["handshake_deferred"]
    )

    pair.wait(pair.ada)  # still overloaded
    assert phase(pair.ada) == "deferred"
    pair.bob.be("focused")
    pair.wait(pair.ada)
    assert (phase(pair.ada), phase(pair.bob)) == ("established", "established")
    nonces = [
        json.loads(data)["payload"]["session_nonce"] for name, data in pair.transcript if name == "HELLO"
    ]
    assert len(set(nonces)) == len(nonces) == 4
    assert trust_events(pair.ada) == trust_events(pair.bob) == ["handshake_ok"]


def test_a_deferred_initiator_that_never_returns_is_given_up() -> None:
    pair = Pair()
    pair.bob.be("overloaded")
    pair.start()
    pair.wait(pair.bob)
    assert (pair.bob.closed, trust_events(pair.bob)) == ("timeout", [])


@pytest.mark.parametrize("demanded", [0, 2**53 - 1])
def test_the_patience_a_peer_may_ask_for_is_bounded(demanded: int) -> None:
    """HS-5: no busy loop, and no hour without end."""
    pair = Pair()
    pair.bob.be("overloaded")
    rewrite(pair, "ERROR", BOB, lambda payload: payload.update(retry_after_ms=demanded))
    pair.start()
    assert pair.ada.armed is not None
    assert pair.ada.armed.after_ms == (3_600_000 if demanded else 100)


def test_cooldown_is_told() -> None:
    """TRUST-3, HS-5: a peer in cooldown gets ERROR(cooldown) with the time left, and rises after it."""
    pair = Pair()
    pair.bob.trust.handle(ADA.fingerprint, HandshakeOk(at_ms=START_MS))
    pair.bob.trust.handle(ADA.fingerprint, AuthFailure(at_ms=START_MS, session_id="s", reason="signature"))
    pair.start()
    told = json.loads(pair.transcript[1][1])["payload"]
    assert (told["code"], told["retry_after_ms"]) == ("cooldown", 60_000)
    assert pair.bob.trust_of_other() == "untrusted"
    pair.wait(pair.ada)
    assert (phase(pair.ada), phase(pair.bob), pair.bob.trust_of_other()) == (
        "established",
        "established",
        "probing",
    )


def test_cooldown_of_the_responder_is_recorded_and_told() -> None:
    """TRUST-3: the initiator's side too: recorded as `cooldown`, told, and both wait."""
    pair = Pair()
    pair.ada.trust.handle(BOB.fingerprint, HandshakeOk(at_ms=START_MS))
    pair.ada.trust.handle(BOB.fingerprint, AuthFailure(at_ms=START_MS, session_id="s", reason="signature"))
    pair.start()
    fsm = pair.ada.trust.fsm(BOB.fingerprint)
    assert fsm is not None
    assert (fsm.log[-1].event, fsm.log[-1].reason) == ("handshake_ok", "cooldown")
    assert (phase(pair.ada), phase(pair.bob)) == ("deferred", "deferred")
    assert trust_events(pair.bob) == []
    pair.wait(pair.ada)
    assert (phase(pair.ada), phase(pair.bob), pair.ada.trust_of_other()) == (
        "established",
        "established",
        "probing",
    )


def test_cooldown_that_begins_during_the_handshake() -> None:
    """Another session's failure after HELLO: Ada's VERIFY is good, yet raises nobody; Ada, who believed in the
    session, hears of it and waits as well."""
    pair = Pair()
    pair.bob.trust.handle(ADA.fingerprint, HandshakeOk(at_ms=START_MS))

    def fail_elsewhere(_to: Node, sealed: Sealed) -> bytes:
        if sealed.type == "VERIFY":
            pair.bob.trust.handle(
                ADA.fingerprint, AuthFailure(at_ms=START_MS, session_id="other", reason="signature")
            )
            pair.alter = lambda _to, sealed: sealed.data
        return sealed.data

    pair.alter = fail_elsewhere
    pair.start()
    assert (phase(pair.ada), phase(pair.bob), pair.bob.trust_of_other()) == (
        "deferred",
        "deferred",
        "untrusted",
    )
    assert not pair.ada.session.established
    pair.wait(pair.ada)
    assert (phase(pair.ada), phase(pair.bob), pair.bob.trust_of_other()) == (
        "established",
        "established",
        "probing",
    )
    assert pair.bob.peer(ADA.fingerprint).newest_state is not None, "told anew"


def test_newcomers_wait_while_the_hour_is_full() -> None:
    """TRUST-10: a newcomer too many is refused without a record, and told when to come back."""
    pair = Pair()
    pair.bob.trust = pair.bob.context.trust = TrustRegistry(
        limits=TrustLimits(newcomers_per_hour=1), emit=pair.bob.emit
    )
    pair.bob.peers.clear()
    pair.bob.open(ADA, initiator=False)
    pair.bob.trust.handle("c" * 64, HandshakeOk(at_ms=START_MS))
    pair.start()
    told = json.loads(pair.transcript[1][1])["payload"]
    assert (told["code"], told["retry_after_ms"]) == ("newcomer_limit", 3_600_000)
    assert (len(pair.bob.trust), pair.bob.trust_of_other()) == (1, "unknown")


def test_newcomers_wait_at_the_initiator_too() -> None:
    """TRUST-10: the responder proved itself, but one more record may not be made: told, and tried again."""
    pair = Pair()
    trust = TrustRegistry(limits=TrustLimits(newcomers_per_hour=1), emit=pair.ada.emit)
    pair.ada.trust = pair.ada.context.trust = trust
    pair.ada.peers.clear()
    pair.ada.open(BOB, initiator=True)
    trust.handle("c" * 64, HandshakeOk(at_ms=START_MS))
    pair.start()
    assert (phase(pair.ada), phase(pair.bob), len(trust)) == ("deferred", "deferred", 1)
    pair.wait(pair.ada)
    assert (phase(pair.ada), phase(pair.bob), trust.state(BOB.fingerprint)) == (
        "established",
        "established",
        "probing",
    )


@pytest.mark.parametrize(
    ("offer", "code"),
    [
        (Offer(protocols=("cip/2.0",)), "no_common_protocol"),
        (Offer(protocols=()), "no_common_protocol"),
        (Offer(capabilities=("knowledge_exchange",)), "capability"),
    ],
)
def test_no_agreement_no_session(offer: Offer, code: str) -> None:
    """HS-4, CIP-3: `cip/1.0` and `state_exchange` are required; without them closed, and no trust event."""
    pair = Pair(options=CipOptions(agent_id="bob", offer=offer)).start()
    assert (phase(pair.bob), pair.bob.closed) == ("failed", code)
    assert (phase(pair.ada), pair.ada.closed) == ("failed", "refused")
    assert trust_events(pair.ada) == trust_events(pair.bob) == []


def test_agreement_is_the_intersection() -> None:
    """HS-4: the highest common version per protocol; capabilities and features that both have."""
    ours = Offer(
        protocols=("cip/1.0", "hcp/1.0", "hcp/1.2", "hcp/1.10", "lip/1.0"),
        capabilities=("state_exchange", "dmp_trace"),
        features=m.Features(supports_mesh=True, supports_multiplex=True),
    )
    theirs = Offer(
        protocols=("mesh/1.0", "hcp/1.10", "hcp/1.2", "hcp/1.0", "cip/1.0"),
        capabilities=("knowledge_exchange", "state_exchange"),
        features=m.Features(supports_mesh=True, supports_multiplex=False),
    )
    agreement = agree(ours, theirs)
    assert agreement == agree(theirs, ours)
    assert not isinstance(agreement, str)
    assert agreement.protocols == ("cip/1.0", "hcp/1.10")
    assert agreement.capabilities == ("state_exchange",)
    assert agreement.features == m.Features(supports_mesh=True, supports_multiplex=False)
    alone = msgspec.structs.replace(
        theirs, features=m.Features(supports_mesh=False, supports_multiplex=False)
    )
    for one, other in ((ours, alone), (alone, ours)):
        neither = agree(one, other)
        assert not isinstance(neither, str)
        assert neither.features == alone.features


def test_what_was_not_agreed_is_not_said() -> None:
    """CIP-3: the sender itself refuses a type whose capability is missing."""
    pair = Pair(options=CipOptions(agent_id="bob", offer=Offer())).start()
    with pytest.raises(TrustViolationError) as refused:
        pair.ada.session.send(m.FactChallenge(fact_ref="0f" * 32, reason="conflict", notes=""))
    assert refused.value.code == "capability"


def test_out_of_turn() -> None:
    """HS-3: an unsolicited HELLO from the responder, a second VERIFY, a VERIFY before any HELLO: refused, counted."""
    pair = Pair().start()
    told = len(pair.ada.sent)
    unsolicited = sealed(HELLO, sender=BOB, receiver=ADA)
    pair.ada.do(pair.ada.session.receive(unsolicited, "control"))
    assert [letter.type for letter in pair.ada.sent[told:]] == ["ERROR"]
    assert json.loads(pair.ada.sent[-1].data)["payload"]["code"] == "out_of_turn"
    assert (phase(pair.ada), len(pair.ada.peer(BOB.fingerprint).faults)) == ("established", 1)

    verify = m.Verify(
        challenge_response=base64.b64encode(b"x" * 64).decode(),
        nonce_initiator=HELLO.session_nonce,
        nonce_responder=HELLO.challenge,
    )
    early = Pair()
    early.bob.do(early.bob.session.start())
    early.bob.do(early.bob.session.receive(sealed(verify), "control"))
    early.ada.do(early.ada.session.start())
    early.ada.do(early.ada.session.receive(sealed(verify, sender=BOB, receiver=ADA), "control"))
    for node, still in ((early.bob, "idle"), (early.ada, "hello_sent")):
        assert (phase(node), trust_events(node)) == (still, [])
        assert [fields["code"] for kind, fields in node.events if kind == "envelope_rejected"] == [
            "out_of_turn"
        ]


def test_a_hello_that_answers_nobody_is_out_of_turn() -> None:
    """A first HELLO from the initiator with a response in it answers a question that was never put."""
    pair = Pair()
    pair.bob.do(pair.bob.session.start())
    pair.bob.do(
        pair.bob.session.receive(
            sealed(msgspec.structs.replace(HELLO, challenge_response=RESPONSE)), "control"
        )
    )
    assert phase(pair.bob) == "idle"
    assert [fields["code"] for kind, fields in pair.bob.events if kind == "envelope_rejected"] == [
        "out_of_turn"
    ]


def test_verify_again() -> None:
    """HS-8: HELLO on an established session verifies anew, without a trust event, and traffic goes on meanwhile."""
    pair = Pair().start()
    pair.act(pair.ada, pair.ada.session.verify_again())
    assert pair.ada.session.established
    pair.say(pair.ada, INTENT)
    assert len(pair.bob.asked) == 1
    assert (phase(pair.ada), phase(pair.bob)) == ("established", "established")
    assert trust_events(pair.ada) == trust_events(pair.bob) == ["handshake_ok"]
    assert pair.bob.session.verify_again() == [], "only the initiator asks"


def test_verify_again_fails() -> None:
    """HS-8: of a second handshake only the failure is a trust event."""
    pair = Pair().start()
    forge(pair, "VERIFY", ADA, lambda signed: signed.update(role="responder"))
    pair.act(pair.ada, pair.ada.session.verify_again())
    pair.talk()
    assert (pair.bob.closed, trust_events(pair.bob)) == ("bad_response", ["handshake_ok", "auth_failure"])
    assert pair.bob.trust_of_other() == "untrusted"


def test_verify_again_times_out() -> None:
    pair = Pair().start()
    pair.lose = lambda sealed: sealed.type == "VERIFY"
    pair.act(pair.ada, pair.ada.session.verify_again())
    pair.talk()
    pair.wait(pair.bob)
    assert (pair.bob.closed, trust_events(pair.bob)) == ("timeout", ["handshake_ok"])


def test_hs_repeated_nonce() -> None:
    """REP-3: a repeated HELLO nonce is dropped, the session stays, and its handshake goes on."""
    pair = Pair().start()
    first = next(data for name, data in pair.transcript if name == "HELLO")
    document = json.loads(first)
    document["msg_id"] = "00000000-0000-4000-8000-000000000000"
    del document["sign"]
    again = envelopes.seal(ADA, ENCODER.encode(document))
    sent = len(pair.bob.sent)
    assert pair.bob.do(pair.bob.session.receive(again, "control")) == []
    assert (phase(pair.bob), pair.bob.closed, len(pair.bob.sent)) == ("established", None, sent)
    detected = [fields["code"] for kind, fields in pair.bob.events if kind == "replay_detected"]
    assert detected == ["nonce_replayed"]
    assert trust_events(pair.bob) == ["handshake_ok"]


def test_offer_of_the_tests_is_what_nodes_agree_on() -> None:
    assert agree(EVERYTHING, EVERYTHING) == Pair().start().bob.established[0].agreement


def test_a_deadline_of_an_earlier_step_ends_no_patience() -> None:
    """HS-5: the timer of the HELLO that was put off fires late; Ada still waits as long as she was asked to."""
    pair = Pair()
    pair.bob.be("overloaded")
    pair.act(pair.bob, pair.bob.session.start())
    pair.act(pair.ada, pair.ada.session.start())
    early = pair.ada.armed
    assert early is not None
    pair.talk()
    assert pair.ada.session.deadline(early.step) == []
    assert phase(pair.ada) == "deferred"


def test_a_second_put_off_prolongs_nothing() -> None:
    """HS-5: while Ada waits, another ERROR about the same HELLO does not make her wait longer."""
    pair = Pair()
    pair.bob.be("overloaded")
    pair.start()
    before = pair.ada.session.state
    cause = next(letter.msg_id for letter in pair.ada.sent if letter.type == "HELLO")
    again = m.Error(code="deferred", msg_id=cause, retry_after_ms=3_600_000)
    data = sealed(again, sender=BOB, receiver=ADA, now_ms=pair.clock.wall_ms())
    assert pair.ada.do(pair.ada.session.receive(data, "control")) == []
    assert pair.ada.session.state == before


def test_verify_again_while_overloaded() -> None:
    """HS-8, HS-5: overload puts off newcomers, not the proof of an established peer."""
    pair = Pair().start()
    pair.bob.be("overloaded")
    pair.act(pair.ada, pair.ada.session.verify_again())
    pair.talk()
    assert (phase(pair.ada), phase(pair.bob)) == ("established", "established")
    assert pair.bob.kinds("handshake_deferred") == []
