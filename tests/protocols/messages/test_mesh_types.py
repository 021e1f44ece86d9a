"""Every type of the mesh through sealing, parsing, schemas and signature (ENV-1, section 15)."""

from __future__ import annotations

import base64
import json
from typing import Any

import jsonschema
import msgspec
import pytest

from tests.protocols.cip.examples import ADA, BOB, EVE, MSG_ID, reception
from web4.foundation import envelope as envelopes
from web4.protocols.cip.mesh_path import seal_mesh
from web4.protocols.cip.validation import validate
from web4.protocols.errors import MeshEnvelopeError
from web4.protocols.messages import mesh as m
from web4.protocols.messages.schemas import json_schemas
from web4.protocols.messages.vocabulary import TYPES
from web4.testing.clocks import START_MS

KEY = base64.b64encode(EVE.public_key).decode()
LIMITS = m.PolicyLimits(max_hops=3, ttl_ms=60_000, relays=True, relay_bytes_per_second=0)
WAY = m.PathVector(destination=EVE.fingerprint, path=(ADA.fingerprint, EVE.fingerprint), cost=1 / 3)
PAYLOADS: dict[str, list[m.MeshPayload]] = {
    "MESH_HELLO": [
        m.MeshHello(capabilities=(), services=(), limits=LIMITS),
        m.MeshHello(
            capabilities=("naïve 🗼",),
            services=(m.OfferedService(name="sum", version="1.2.3"),),
            limits=LIMITS,
        ),
    ],
    "MESH_ROUTES": [
        m.MeshRoutes(routes=(), withdrawn=(), whole=True),
        m.MeshRoutes(routes=(WAY,), withdrawn=(EVE.fingerprint,), whole=False),
    ],
    "MESH_INTRODUCE": [
        m.MeshIntroduce(
            intro_id=MSG_ID,
            subject=EVE.fingerprint,
            pubkey=KEY,
            addresses=("tcp://[2001:db8::1]:7440",),
            expires_at="2027-01-16T08:00:00.000Z",
        )
    ],
    "MESH_REVOKE": [m.MeshRevoke(intro_id=MSG_ID, subject=EVE.fingerprint, reason="\u2028 she left")],
    "MESH_RELAY": [
        m.MeshRelay(stream=MSG_ID, kind="open", offset=0),
        m.MeshRelay(
            stream=MSG_ID, kind="data", offset=2**53 - 1, data=base64.b64encode(b"\0\xff" * 9).decode()
        ),
        m.MeshRelay(stream=MSG_ID, kind="window", offset=0, room=0),
    ],
    "SERVICE_INVOKE": [
        m.ServiceInvoke(
            service="sum", version="1.0", args={"a": [], "b": 1e-7, "ü": None}, deadline_ms=2**53 - 1
        )
    ],
    "SERVICE_RESULT": [
        m.ServiceResult(status="ok", result={"sum": 0.1 + 0.2}),
        m.ServiceResult(status="refused", error="busy"),
    ],
}
CASES = [(name, payload) for name, payloads in PAYLOADS.items() for payload in payloads]


def sealed(payload: m.MeshPayload, **more: Any) -> bytes:
    name = next(name for name, payloads in PAYLOADS.items() if payload in payloads)
    to = m.BROADCAST if name in {"MESH_INTRODUCE", "MESH_REVOKE"} else BOB.fingerprint
    return seal_mesh(ADA, payload, destination=to, id=MSG_ID, now_ms=START_MS, **more)


def test_every_mesh_type_has_an_example() -> None:
    assert set(PAYLOADS) == set(m.ENVELOPES) == {one.name for one in TYPES.values() if one.protocol == "mesh"}


@pytest.mark.parametrize("optional", [{}, {"reply_to": MSG_ID, "route_id": MSG_ID}], ids=["bare", "full"])
@pytest.mark.parametrize(("name", "payload"), CASES)
def test_env_roundtrip_all_types(name: str, payload: m.MeshPayload, optional: dict[str, Any]) -> None:
    """Build, sign, parse and verify every type of the mesh, with Unicode, floats and empty lists; and its schema."""
    data = sealed(payload, **optional)
    message: Any = validate(data, reception(TYPES[name].channel)).message
    assert (message.type, message.origin, message.id, message.payload) == (
        name,
        ADA.fingerprint,
        MSG_ID,
        payload,
    )
    assert {key: getattr(message, key) for key in optional} == optional
    validator = jsonschema.Draft202012Validator(json_schemas()["mesh"][name])
    validator.validate(msgspec.json.decode(data))


@pytest.mark.parametrize("place", [(), ("payload",)])
@pytest.mark.parametrize("name", PAYLOADS)
def test_env_reject_matrix_of_the_mesh(name: str, place: tuple[str, ...]) -> None:
    """ENV-1: an unknown field is refused wherever it stands, though rightly signed, and charged to the neighbour."""
    document = json.loads(sealed(PAYLOADS[name][0]))
    del document["sign"]
    within = document
    for step in place:
        within = within[step]
    within["surprise"] = 1
    with pytest.raises(MeshEnvelopeError) as caught:
        validate(envelopes.seal(ADA, msgspec.json.encode(document)), reception(TYPES[name].channel))
    assert (caught.value.code, caught.value.peer) == ("invalid", ADA.fingerprint)
