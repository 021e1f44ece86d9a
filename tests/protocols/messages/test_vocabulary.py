"""The vocabulary of all protocols: complete, and the same for sealing, validating and the schemas (ENV-1, CIP-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest

from tests.protocols.cip.examples import ADA, reception, sealed
from tests.protocols.messages.examples import FETCHED, HCP, HUMANS, LIP, WANTED
from web4.foundation.envelope import seal as seal_bytes
from web4.foundation.errors import EnvelopeError, InvalidEnvelopeError
from web4.protocols.cip.validation import validate
from web4.protocols.errors import PayloadSchemaError
from web4.protocols.gates import GATES
from web4.protocols.messages.schemas import json_schemas
from web4.protocols.messages.vocabulary import TYPES, type_of

if TYPE_CHECKING:
    from web4.protocols.cip.sealing import About
    from web4.protocols.messages.vocabulary import AgentPayload

ALL = {**HCP, **LIP}


def beside(name: str) -> About:
    """What the envelope of a type says beside its payload."""
    return HUMANS if name in HCP else WANTED if name == "LIP_FETCH" else FETCHED


def test_every_type_has_an_example_and_a_gate() -> None:
    """No type is left out of a table (TRUST-6)."""
    assert set(ALL) == {one.name for one in TYPES.values() if one.protocol in {"hcp", "lip"}}
    assert set(GATES) == set(TYPES)
    assert len(TYPES) == 30


def test_what_is_queued() -> None:
    """OUT-1: all of CIP, HCP and LIP but five types, and calls of services."""
    queued = {one.name for one in TYPES.values() if one.durable}
    expected = {
        one.name for one in TYPES.values() if one.protocol != "mesh" or one.name.startswith("SERVICE_")
    }
    assert queued == expected - {"HELLO", "VERIFY", "ERROR", "RECEIPT", "STATE_UPDATE"}


@pytest.mark.parametrize("name", ALL)
def test_env_roundtrip_all_types(name: str) -> None:
    """ENV-1: what is sealed is what arrives, Unicode and numbers included."""
    payload: AgentPayload = ALL[name]
    data = sealed(payload, about=beside(name))
    incoming = validate(data, reception(TYPES[name].channel))
    assert incoming.message.payload == payload
    assert incoming.message.type == name == type_of(payload).name
    validator = jsonschema.Draft202012Validator(json_schemas()[TYPES[name].protocol][name])
    validator.validate(msgspec.json.decode(data))


@pytest.mark.parametrize(
    ("name", "about"),
    [(name, about) for name in ALL for about in (None, HUMANS, FETCHED, WANTED) if about is not beside(name)],
)
def test_nothing_is_sealed_without_what_belongs_beside_it(name: str, about: About | None) -> None:
    """Section 3: humans and a state in HCP, a source in LIP, without `retrieved_at` in LIP_FETCH alone."""
    with pytest.raises(PayloadSchemaError) as caught:
        sealed(ALL[name], about=about)
    assert caught.value.field == "about"


def refusal(document: dict[str, Any]) -> EnvelopeError:
    """Why a correctly signed envelope is refused."""
    document.pop("sign")
    data = seal_bytes(ADA, msgspec.json.encode(document))
    with pytest.raises(EnvelopeError) as caught:
        validate(data, reception(TYPES[document["type"]].channel))
    return caught.value


@pytest.mark.parametrize(
    ("name", "path", "value", "field"),
    [
        ("HCP_INTENT", ("sender", "human_id"), None, "sender.human_id"),
        ("HCP_INTENT", ("receiver", "human_id"), "a" * 64, "receiver.human_id"),
        ("HCP_INTENT", ("state",), None, "state"),
        ("HCP_INTENT", ("state", "human", "affect"), "cross", "state.human.affect"),
        ("HCP_INTENT", ("state", "human", "pressure"), 101, "state.human.pressure"),
        ("LIP_EVIDENCE", ("source", "retrieved_at"), None, "source.retrieved_at"),
        ("LIP_EVIDENCE", ("source", "trust_tier"), "excellent", "source.trust_tier"),
        ("LIP_FETCH", ("source", "retrieved_at"), "2027-01-15T08:00:00.000Z", "source"),
        ("LIP_FETCH", ("sender", "pubkey"), "AA==", "sender"),
    ],
)
def test_env_reject_matrix_of_hcp_and_lip(name: str, path: tuple[str, ...], value: Any, field: str) -> None:
    """VAL-1, step 4, in the fields that HCP and LIP add."""
    document = msgspec.json.decode(sealed(ALL[name], about=beside(name)))
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    error = refusal(document)
    assert (type(error), error.code, error.field) == (InvalidEnvelopeError, "field", field)


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("HCP_DECISION", {"rationale": " \n"}, "payload.rationale"),
        ("HCP_DECISION", {"alternatives": []}, "payload.alternatives"),
        ("HCP_INTENT", {"topic": "a//b"}, "payload.topic"),
        ("HCP_HELLO", {"consent_scope": ["work"]}, "payload.consent_scope[0]"),
        ("HCP_FEEDBACK", {"satisfaction": 101}, "payload.satisfaction"),
        ("LIP_EVIDENCE", {"claims": []}, "payload.claims"),
        ("LIP_ACCEPT", {"decision": "reject"}, "payload.decision"),
        ("LIP_CONFLICT", {"severity": "extreme"}, "payload.severity"),
    ],
)
def test_env_reject_matrix_payloads_of_hcp_and_lip(name: str, change: dict[str, Any], field: str) -> None:
    """VAL-1, step 5; HCP-6."""
    document = msgspec.json.decode(sealed(ALL[name], about=beside(name)))
    document["payload"].update(change)
    error = refusal(document)
    assert (type(error), error.field) == (PayloadSchemaError, field)
