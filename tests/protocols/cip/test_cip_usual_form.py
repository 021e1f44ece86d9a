"""What a session's envelopes say alike is decoded once: to the same messages, and never to more than decoding gives."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocols.cip.examples import ADA, INTENT, MSG_ID, PAYLOADS, VOTES, reception, sealed
from web4.foundation import envelope as envelopes
from web4.foundation.codec import ENCODER
from web4.foundation.errors import InvalidEnvelopeError
from web4.foundation.ids import SeededIds
from web4.protocols.cip.usual_form import UsualForm
from web4.protocols.cip.validation import validate
from web4.protocols.messages import cip as m
from web4.protocols.messages.fields import StateClaim, TrustClaim
from web4.protocols.messages.vocabulary import TYPES

CORR_ID = "11111111-2222-1333-9444-555555555555"
DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    one.name: msgspec.json.Decoder(one.envelope) for one in TYPES.values()
}


def usual(first: bytes = b"") -> UsualForm:
    """What is known after one message was accepted."""
    here = reception("knowledge")
    validate(first or sealed(INTENT), here)
    return here.usual


@pytest.mark.parametrize("corr_id", [None, CORR_ID])
@pytest.mark.parametrize("name", [name for name in PAYLOADS if name != "HELLO"])
def test_the_usual_form_gives_what_decoding_gives(name: str, corr_id: str | None) -> None:
    """VAL-1: every type of CIP, with and without a conversation; what says more is left to the decoder."""
    known = usual()
    for payload in PAYLOADS[name]:
        data = sealed(payload, msg_id=SeededIds(name).uuid4(), corr_id=corr_id)
        decoded = DECODERS[name].decode(data)
        assert known.decoded(data, name) == decoded
        assert type(known.decoded(data, name)) is type(decoded)
        claims: tuple[dict[str, Any], ...] = (
            {"trust": TrustClaim(sender_view="trusted", receiver_view="unknown")},
            {"state": StateClaim(presence="engaged", lri=1, kernel_signals=(), intent="")},
        )
        for claim in claims:
            assert known.decoded(sealed(payload, corr_id=corr_id, **claim), name) is None
    assert UsualForm().decoded(sealed(INTENT), "INTENT") is None, "nothing was accepted yet"


def test_another_party_is_decoded_as_a_whole() -> None:
    """VAL-4: a sender who calls itself otherwise, or says more of itself, is looked at and then remembered."""
    document = json.loads(sealed(INTENT))
    del document["sign"]
    document["sender"]["agent_id"] = "ada2"
    document["sender"]["capabilities"] = ["x"]
    other = envelopes.seal(ADA, ENCODER.encode(document), max_bytes=10_000)
    assert usual().decoded(other, "INTENT") is None
    assert usual(other).decoded(other, "INTENT") == DECODERS["INTENT"].decode(other)
    assert usual(other).decoded(sealed(INTENT), "INTENT") is None


TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        '","payload":{',
        ',"receiver":{"agent_id":"bob"',
        "}",
        '"',
        "\\",
        '"},"timestamp":"',
        '","type":"INTENT"}',
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXTS | st.sampled_from(["receiver", "sender", "sign", "timestamp", "type"]), inner)
    ),
    max_leaves=8,
)


@given(TEXTS, VALUES)
def test_no_text_passes_for_the_frame(topic: str, value: Any) -> None:
    """VAL-1: whatever a payload says, also what looks like the frame around it, is what decoding finds in it."""
    intent = m.Intent(goal="ask", topic=topic, priority="low", context={"a": value, "receiver": value})
    data = sealed(intent)
    assert usual().decoded(data, "INTENT") == DECODERS["INTENT"].decode(data)


@given(st.data())
def test_bytes_changed_anywhere_never_pass_but_as_decoded(data: st.DataObject) -> None:
    """ENV-1: what the usual form gives of damaged bytes, as long as they are canonical, is what decoding gives."""
    vote = m.FactConfirm(fact_ref=MSG_ID, decision="confirm", confidence=1, evidence=VOTES, notes="")
    whole = sealed(vote)
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.sampled_from(b'0aZ"\\{}:,-. \n') | st.integers(0, 255))
    damaged = whole[:at] + bytes([byte]) + whole[at + 1 :]
    try:
        envelopes.parse(damaged)
    except InvalidEnvelopeError:
        return  # it never comes so far
    message = usual().decoded(damaged, "FACT_CONFIRM")
    if message is not None and message.timestamp == DECODERS["FACT_CONFIRM"].decode(whole).timestamp:
        assert message == DECODERS["FACT_CONFIRM"].decode(damaged)
