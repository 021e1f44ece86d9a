"""VAL-1, steps 1 to 9: one mutation per rule, the exact error, code and field; the order; the blame."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.protocols.cip.examples import (
    ADA,
    BOB,
    EVE,
    HELLO,
    INTENT,
    MSG_ID,
    PAYLOADS,
    Node,
    Pair,
    reception,
    sealed,
)
from web4.foundation import envelope as envelopes
from web4.foundation.clock import format_timestamp
from web4.foundation.codec import ENCODER
from web4.foundation.digest import blake3_hex, canonical
from web4.foundation.errors import EnvelopeError, InvalidEnvelopeError, SignatureMismatchError
from web4.protocols.cip.validation import open_early, validate
from web4.protocols.errors import PayloadSchemaError, TimestampError
from web4.protocols.messages.vocabulary import TYPES, ChannelKind
from web4.testing.clocks import START_MS

if TYPE_CHECKING:
    from web4.foundation.identity import Identity

Change = Callable[[dict[str, Any]], None]


def changed(data: bytes, *changes: Change, signer: Identity = ADA) -> bytes:
    """The envelope with changes, canonical and signed anew."""
    document = json.loads(data)
    del document["sign"]
    for change in changes:
        change(document)
    return envelopes.seal(signer, ENCODER.encode(document), max_bytes=envelopes.LARGEST_MAX_BYTES)


def put(path: str, value: Any) -> Change:
    def change(document: dict[str, Any]) -> None:
        *parents, name = path.split(".")
        for parent in parents:
            document = document[parent]
        document[name] = value

    return change


def drop(path: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        *parents, name = path.split(".")
        for parent in parents:
            document = document[parent]
        del document[name]

    return change


def refusal(data: bytes, channel: ChannelKind = "knowledge", **more: Any) -> EnvelopeError:
    here = reception(channel, **more)
    with pytest.raises(EnvelopeError) as caught:
        validate(data, here)
    assert caught.value.peer == ADA.fingerprint, "charged to the session's peer (VAL-4)"
    # A batch knows of the signature before step 4; what is refused, and in which step, stays the same.
    early, beyond = open_early([data, data], here, 1)
    assert beyond is None, "no more than the rate lets through is looked at (LIM-2)"
    with pytest.raises(EnvelopeError) as again:
        validate(data, here, early)
    assert vars(again.value) == vars(caught.value)
    assert type(again.value) is type(caught.value)
    return caught.value


FACT = sealed(PAYLOADS["FACT_PROPOSE"][0])
VOTE = sealed(PAYLOADS["FACT_CONFIRM"][0])
INTENT_DATA = sealed(INTENT)
FULL_INTENT = changed(
    INTENT_DATA,
    put("trust", {"sender_view": "trusted", "receiver_view": "unknown"}),
    put("state", {"presence": "engaged", "lri": 1, "kernel_signals": [], "intent": ""}),
)

FIELD_MUTATIONS: dict[str, tuple[Change, str | None]] = {
    "msg_id missing": (drop("msg_id"), "msg_id"),
    "msg_id of version 1": (put("msg_id", MSG_ID.replace("-4c5b-", "-1c5b-")), "msg_id"),
    "msg_id in capitals": (put("msg_id", MSG_ID.upper()), "msg_id"),
    "msg_id with a line feed": (put("msg_id", MSG_ID + "\n"), "msg_id"),
    "msg_id a number": (put("msg_id", 5), "msg_id"),
    "timestamp missing": (drop("timestamp"), "timestamp"),
    "timestamp without milliseconds": (put("timestamp", "2027-01-15T08:00:00Z"), "timestamp"),
    "timestamp with an offset": (put("timestamp", "2027-01-15T08:00:00.000+00:00"), "timestamp"),
    "timestamp no day": (put("timestamp", "2027-02-30T08:00:00.000Z"), "timestamp"),
    "corr_id no uuid": (put("corr_id", "conversation"), "corr_id"),
    "corr_id null": (put("corr_id", None), "corr_id"),
    "sender missing": (drop("sender"), "sender"),
    "sender a string": (put("sender", "ada"), "sender"),
    "agent_id with a space": (put("sender.agent_id", "ada l"), "sender.agent_id"),
    "agent_id empty": (put("sender.agent_id", ""), "sender.agent_id"),
    "agent_id of 65": (put("sender.agent_id", "a" * 65), "sender.agent_id"),
    "fingerprint in capitals": (put("sender.fingerprint", ADA.fingerprint.upper()), "sender.fingerprint"),
    "fingerprint short": (put("receiver.fingerprint", "ab"), "receiver.fingerprint"),
    "pubkey not base64": (put("sender.pubkey", "*" * 44), "sender.pubkey"),
    "pubkey with loose bits": (put("sender.pubkey", "A" * 42 + "B="), "sender.pubkey"),
    "capabilities no list": (put("sender.capabilities", "all"), "sender.capabilities"),
    "human at a CIP sender": (put("sender.human_id", "ada"), "sender"),
    "receiver missing": (drop("receiver"), "receiver"),
    "receiver with more": (put("receiver.pubkey", "x"), "receiver"),
    "unknown field": (put("surprise", 1), None),
    "source is not for CIP": (put("source", {}), None),
    "trust with another view": (put("trust.sender_view", "unknown"), "trust.sender_view"),
    "trust without receiver_view": (drop("trust.receiver_view"), "trust.receiver_view"),
    "state with lri beyond": (put("state.lri", 101), "state.lri"),
    "state with a fractional lri": (put("state.lri", 0.5), "state.lri"),
    "state with another presence": (put("state.presence", "away"), "state.presence"),
    "state with a human": (put("state.human", {}), "state"),
    "payload missing": (drop("payload"), "payload"),
    "payload a list": (put("payload", []), "payload"),
}

PAYLOAD_MUTATIONS: list[tuple[bytes, Change, str]] = [
    (INTENT_DATA, drop("payload.goal"), "payload.goal"),
    (INTENT_DATA, put("payload.goal", "chat"), "payload.goal"),
    (INTENT_DATA, put("payload.surprise", 1), "payload"),
    (INTENT_DATA, put("payload.context", "text"), "payload.context"),
    (INTENT_DATA, put("payload.topic", None), "payload.topic"),
    (FACT, put("payload.fact.confidence", 1.0000001), "payload.fact.confidence"),
    (FACT, put("payload.fact.confidence", -0.1), "payload.fact.confidence"),
    (FACT, put("payload.fact.confidence", "1"), "payload.fact.confidence"),
    (FACT, put("payload.fact.sources", [1]), "payload.fact.sources[0]"),
    (FACT, put("payload.fact.triple.functional", 1), "payload.fact.triple.functional"),
    (FACT, drop("payload.dmp_trace.decision_id"), "payload.dmp_trace.decision_id"),
    (VOTE, put("payload.decision", "reject"), "payload.decision"),
    (VOTE, put("payload.fact_ref", "abc"), "payload.fact_ref"),
    (VOTE, put("payload.evidence", [{"kind": "hearsay", "ref": ""}]), "payload.evidence[0].kind"),
    (VOTE, put("payload.evidence", [{"kind": "fetch", "ref": ""}]), "payload.evidence[0].provenance"),
]


@pytest.mark.parametrize("name", FIELD_MUTATIONS)
def test_env_reject_matrix_fields(name: str) -> None:
    """Step 4: required fields, types, enums, ranges, unknown fields."""
    change, field = FIELD_MUTATIONS[name]
    error = refusal(changed(FULL_INTENT, change))
    assert (type(error), error.code, error.field) == (InvalidEnvelopeError, "field", field)
    assert "surprise" not in str(error), "no word of the sender's"


def test_env_reject_matrix_hello_needs_its_key() -> None:
    error = refusal(changed(sealed(HELLO), drop("sender.pubkey")), "control")
    assert (type(error), error.code, error.field) == (InvalidEnvelopeError, "field", "sender.pubkey")


@pytest.mark.parametrize(("data", "change", "field"), PAYLOAD_MUTATIONS)
def test_env_reject_matrix_payload(data: bytes, change: Change, field: str) -> None:
    """Step 5: the payload schema of the type."""
    error = refusal(changed(data, change))
    assert (type(error), error.code, error.field) == (PayloadSchemaError, "payload", field)
    assert error.msg_id == MSG_ID


SIGN_MUTATIONS: list[tuple[Change, type[EnvelopeError], str]] = [
    (drop("sign"), InvalidEnvelopeError, "field"),
    (put("sign.algo", "none"), InvalidEnvelopeError, "field"),
    (put("sign.signature", "AA=="), InvalidEnvelopeError, "field"),
    (put("sign.extra", 1), InvalidEnvelopeError, "field"),
    (put("sign.signature", base64.b64encode(b"\0" * 64).decode()), SignatureMismatchError, "signature"),
    (put("payload.topic", "something else"), SignatureMismatchError, "signature"),
]


@pytest.mark.parametrize(("change", "leaf", "code"), SIGN_MUTATIONS)
def test_env_reject_matrix_sign(change: Change, leaf: type[EnvelopeError], code: str) -> None:
    """Steps 4 and 9: `sign` written wrongly, and a signature over something else."""
    document = json.loads(INTENT_DATA)
    change(document)
    error = refusal(ENCODER.encode(document))
    assert (type(error), error.code) == (leaf, code)


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        (b" " * 200_000, "too_large", None),
        (b"{", "syntax", None),
        (INTENT_DATA + b" ", "not_canonical", None),
        (canonical(json.loads(INTENT_DATA) | {"hcp": "1.0"}), "discriminator", None),
        (changed(INTENT_DATA, drop("cip"), put("hcp", "1.0")), "unknown_type", "type"),
        (changed(INTENT_DATA, put("cip", "1.1")), "version", "cip"),
        (changed(INTENT_DATA, put("type", "CHAT")), "unknown_type", "type"),
        (changed(INTENT_DATA, put("type", "hello")), "unknown_type", "type"),
    ],
)
def test_env_reject_matrix_first_steps(data: bytes, code: str, field: str | None) -> None:
    """Steps 1 to 3, through the CIP validator."""
    error = refusal(data)
    assert (type(error), error.code, error.field) == (InvalidEnvelopeError, code, field)


@pytest.mark.parametrize(
    "msg_id", ["", "garbage", "6F1C2A34-9D0E-4C5B-8A7F-001122334455", "\u2028", "x" * 5_000]
)
@pytest.mark.parametrize(
    ("key", "value", "code"), [("cip", "2.0", "version"), ("type", "NOPE", "unknown_type")]
)
def test_env_reject_matrix_quotes_no_msg_id_that_is_none(
    key: str, value: str, code: str, msg_id: str
) -> None:
    """VAL-3: before step 4 the msg_id is any text; the ERROR leaves it out instead of failing to be sealed."""
    data = changed(INTENT_DATA, put(key, value), put("msg_id", msg_id))
    assert refusal(data).msg_id is None
    pair = Pair().start()
    ((_, letter),) = pair.bob.do(pair.bob.session.receive(data, "knowledge"))
    assert json.loads(letter.data)["payload"] == {"code": code}
    rejected = [fields for kind, fields in pair.bob.events if kind == "envelope_rejected"]
    assert [(fields["code"], fields["msg_id"]) for fields in rejected] == [(code, None)]
    assert pair.bob.closed is None


def test_step_4_comes_before_step_5() -> None:
    """A bad payload and a bad field: the earlier step speaks, whatever the order of keys."""
    error = refusal(changed(INTENT_DATA, put("payload.goal", "chat"), put("timestamp", "soon")))
    assert (type(error), error.field) == (InvalidEnvelopeError, "timestamp")


def test_misaddressed_receiver() -> None:
    """Step 6: meant for another node; not handled, counted, and the answer says nothing of the content."""
    error = refusal(sealed(INTENT, receiver=EVE))
    assert (type(error), error.code, error.field) == (
        InvalidEnvelopeError,
        "misaddressed",
        "receiver.fingerprint",
    )
    pair = Pair().start()
    faults_before = len(pair.bob.peer(ADA.fingerprint).faults)
    told = pair.bob.do(pair.bob.session.receive(sealed(INTENT, receiver=EVE), "knowledge"))
    assert len(pair.bob.peer(ADA.fingerprint).faults) == faults_before + 1
    assert_only_told(pair.bob, told, "misaddressed")


@pytest.mark.parametrize("channel", ["control", "state", "knowledge"])
@pytest.mark.parametrize("name", PAYLOADS)
def test_wrong_channel(name: str, channel: ChannelKind) -> None:
    """Step 6: every type on every kind of channel; only its own lets it in (CIP-1)."""
    data = sealed(PAYLOADS[name][0])
    if TYPES[name].channel == channel:
        assert validate(data, reception(channel)).message.type == name
        return
    error = refusal(data, channel)
    assert (type(error), error.code, error.field) == (InvalidEnvelopeError, "wrong_channel", "type")


def test_wrong_channel_is_not_handled_and_counted() -> None:
    """CIP-1: an INTENT on the state channel reaches nobody; the answer says nothing of the content."""
    pair = Pair().start()
    told = pair.bob.do(pair.bob.session.receive(sealed(INTENT), "state"))
    assert len(pair.bob.peer(ADA.fingerprint).faults) == 1
    assert_only_told(pair.bob, told, "wrong_channel")


def assert_only_told(node: Node, told: list[Any], code: str) -> None:
    """One ERROR with the code and the id, one event, and nothing else happened."""
    ((channel, letter),) = told
    payload = json.loads(letter.data)["payload"]
    assert (channel, letter.type, payload) == ("control", "ERROR", {"code": code, "msg_id": MSG_ID})
    assert (node.deliveries, node.asked, node.closed) == ([], [], None)
    rejected = [fields for kind, fields in node.events if kind == "envelope_rejected"]
    assert [fields["code"] for fields in rejected] == [code]


def test_fp_pubkey_mismatch() -> None:
    """A pubkey that does not hash to the fingerprint is refused before the signature is looked at."""
    foreign = base64.b64encode(EVE.public_key).decode()
    for data in (
        changed(INTENT_DATA, put("sender.pubkey", foreign)),  # rightly signed all the same
        changed(INTENT_DATA, put("sender.pubkey", foreign), signer=EVE),  # and wrongly
    ):
        error = refusal(data)
        assert (type(error), error.code, error.field) == (SignatureMismatchError, "identity", "sender.pubkey")


def test_foreign_sender() -> None:
    """Step 7: somebody else's envelope, rightly signed by that one, in Ada's session."""
    error = refusal(sealed(INTENT, sender=EVE))
    assert (type(error), error.code, error.field) == (
        SignatureMismatchError,
        "identity",
        "sender.fingerprint",
    )


@pytest.mark.parametrize("skew_ms", [120_000, 1_000])
@pytest.mark.parametrize("side", [-1, 1])
def test_ts_skew_boundaries(side: int, skew_ms: int) -> None:
    """Step 8: exactly the skew is accepted, a millisecond beyond is not."""
    data = sealed(INTENT)
    validate(data, reception("knowledge", now_ms=START_MS + side * skew_ms, skew_ms=skew_ms))
    error = refusal(data, now_ms=START_MS + side * (skew_ms + 1), skew_ms=skew_ms)
    assert (type(error), error.code, error.field) == (TimestampError, "skew", "timestamp")


def test_cheapest_first() -> None:
    """VAL-1: an envelope with every fault is refused for the earliest; repaired one by one, for the next."""
    other = base64.b64encode(EVE.public_key).decode()
    early = format_timestamp(START_MS - 500_000)
    faults: list[tuple[str, Change]] = [
        ("version", put("cip", "9.9")),
        ("field", put("corr_id", 1)),
        ("payload", put("payload.goal", "chat")),
        ("misaddressed", put("receiver.fingerprint", EVE.fingerprint)),
        ("identity", put("sender.pubkey", other)),
        ("skew", put("timestamp", early)),
    ]
    seen = []
    for start in range(len(faults) + 1):
        document = json.loads(changed(INTENT_DATA, *(change for _, change in faults[start:])))
        document["sign"]["signature"] = base64.b64encode(b"\1" * 64).decode()
        seen.append(refusal(ENCODER.encode(document)).code)
    assert seen == [*(code for code, _ in faults), "signature"]


ALL_REFUSED = [
    changed(FULL_INTENT, FIELD_MUTATIONS["msg_id of version 1"][0]),
    changed(INTENT_DATA, put("payload.goal", "chat")),
    changed(INTENT_DATA, put("cip", "2.0")),
    sealed(INTENT, now_ms=START_MS - 130_000),
    b"not json",
]


@pytest.mark.parametrize("data", ALL_REFUSED)
def test_refused_envelopes_change_nothing_but_counters(data: bytes) -> None:
    """VAL-2, VAL-3: one error and one event; no id is remembered, no trust moves, nothing is delivered."""
    pair = Pair().start()
    peer = pair.bob.peer(ADA.fingerprint)
    before, events_before = peer.lane.state, len(pair.bob.events)
    pair.bob.do(pair.bob.session.receive(data, "knowledge"))
    assert peer.lane.state == before
    assert len(peer.faults) == 1
    rejected = [fields for kind, fields in pair.bob.events[events_before:] if kind != "envelope_sent"]
    assert len(rejected) == 1
    assert rejected[0]["peer"] == ADA.fingerprint
    assert rejected[0]["digest"] == blake3_hex(data)
    assert pair.bob.closed is None


def test_too_many_faults_close_the_session() -> None:
    """VAL-4: twenty a minute are borne, the next closes the session; no trust event."""
    pair = Pair().start()
    trust = pair.bob.trust.record(ADA.fingerprint)
    for _ in range(20):
        pair.clock.advance(2_000)
        pair.bob.do(pair.bob.session.receive(b"{", "knowledge"))
    assert pair.bob.closed is None
    pair.bob.do(pair.bob.session.receive(b"{", "knowledge"))
    assert pair.bob.closed == "too_many_faults"
    assert pair.bob.trust.record(ADA.fingerprint) == trust


def test_faults_are_forgiven_after_a_minute() -> None:
    pair = Pair().start()
    for _ in range(100):
        pair.clock.advance(3_001)
        pair.bob.do(pair.bob.session.receive(b"{", "knowledge"))
    assert pair.bob.closed is None


@pytest.mark.parametrize(
    ("data", "trust", "kind"),
    [
        (sealed(INTENT, sender=EVE), "blacklisted", "envelope_rejected"),
        (changed(INTENT_DATA, signer=EVE), "untrusted", "auth_failure"),
    ],
)
def test_blame_is_the_session_peers(data: bytes, trust: str, kind: str) -> None:
    """VAL-4: step 7 is malicious evidence, step 9 an auth failure, of Ada; Eve, whom the bytes name, is untouched."""
    pair = Pair().start()
    pair.bob.trust.anchor([EVE.fingerprint], at_ms=START_MS)
    eve = pair.bob.trust.record(EVE.fingerprint)
    told = pair.bob.do(pair.bob.session.receive(data, "knowledge"))
    assert pair.bob.trust.state(ADA.fingerprint) == trust
    assert len(told) == (0 if trust == "blacklisted" else 1), "the blacklisted hear nothing (CIP-2)"
    assert pair.bob.trust.record(EVE.fingerprint) == eve
    fsm = pair.bob.trust.fsm(ADA.fingerprint)
    assert fsm is not None
    (evidence,) = fsm.log[-1].evidence
    assert evidence.msg_id == MSG_ID
    assert pair.bob.context.evidence.get(evidence.blake3) == data, "kept as evidence"
    assert pair.bob.kinds("envelope_rejected", "auth_failure") == [kind]
    assert pair.bob.closed == "auth_failure"
    assert BOB.fingerprint not in [fields.get("peer") for _, fields in pair.bob.events]
