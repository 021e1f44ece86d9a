"""Every type of CIP through sealing, parsing, schemas and signature (ENV-1, ENV-3)."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest

from tests.protocols.cip.examples import ADA, PAYLOADS, reception, sealed
from web4.protocols.cip.validation import validate
from web4.protocols.errors import PayloadSchemaError
from web4.protocols.messages import cip as m
from web4.protocols.messages.fields import StateClaim, TrustClaim
from web4.protocols.messages.schemas import json_schemas
from web4.protocols.messages.vocabulary import TYPES

CASES = [(name, payload) for name, payloads in PAYLOADS.items() for payload in payloads]
OPTIONAL: list[dict[str, Any]] = [
    {},
    {
        "corr_id": "99999999-aaaa-1bbb-8ccc-dddddddddddd",
        "trust": TrustClaim(sender_view="trusted", receiver_view="unknown"),
        "state": StateClaim(presence="diffuse", lri=7, kernel_signals=("io",), intent="läuft"),
    },
]


def test_every_type_has_an_example() -> None:
    """Section 7 has twelve types and no others."""
    assert set(PAYLOADS) == set(m.ENVELOPES) == {one.name for one in TYPES.values() if one.protocol == "cip"}
    assert len(m.ENVELOPES) == 12


@pytest.mark.parametrize("optional", OPTIONAL, ids=["bare", "full"])
@pytest.mark.parametrize(("name", "payload"), CASES)
def test_env_roundtrip_all_types(name: str, payload: m.Payload, optional: dict[str, Any]) -> None:
    """Build, sign, parse and verify every type, with Unicode, floats and empty lists."""
    data = sealed(payload, **optional)
    incoming = validate(data, reception(TYPES[name].channel))
    assert incoming.message.payload == payload
    assert (incoming.message.type, incoming.message.sender.fingerprint) == (name, ADA.fingerprint)
    assert {key: getattr(incoming.message, key) for key in optional} == optional


@pytest.mark.parametrize(("name", "payload"), CASES)
def test_exported_schemas_accept_what_is_sent(name: str, payload: m.Payload) -> None:
    """ENV-1: an independent validator agrees with the exported schemas, and refuses an unknown field."""
    validator = jsonschema.Draft202012Validator(json_schemas()["cip"][name])
    document = json.loads(sealed(payload))
    validator.validate(document)
    for path in ([], ["payload"], ["sender"]):
        altered = json.loads(json.dumps(document))
        place = altered
        for step in path:
            place = place[step]
        place["surprise"] = 1
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(altered)


def test_what_does_not_fit_is_not_sent() -> None:
    """A payload is checked before it leaves, not only when it arrives."""
    wrong = msgspec.structs.replace(PAYLOADS["STATE_UPDATE"][0], lri=101)
    with pytest.raises(PayloadSchemaError):
        sealed(wrong)
    with pytest.raises(PayloadSchemaError):
        sealed(m.Receipt(msg_ids=()))
    with pytest.raises(PayloadSchemaError):
        sealed(m.Error(code="Not A Code"))
