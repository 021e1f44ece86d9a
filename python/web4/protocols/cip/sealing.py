"""From a typed payload to signed bytes, checked before they leave as strictly as what arrives."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.foundation import envelope as envelopes
from web4.foundation.clock import format_timestamp
from web4.foundation.codec import ENCODER
from web4.foundation.errors import InvalidEnvelopeError
from web4.protocols.cip.mesh_path import compose_mesh
from web4.protocols.errors import PayloadSchemaError
from web4.protocols.messages import hcp, lip
from web4.protocols.messages.fields import Uuid
from web4.protocols.messages.hcp import HumanParties, HumanStateClaim
from web4.protocols.messages.mesh import ServiceInvoke, ServiceResult
from web4.protocols.messages.vocabulary import TYPES, VERSION, AgentPayload, type_of

if TYPE_CHECKING:
    from web4.foundation.identity import Identity
    from web4.protocols.messages.fields import Party, StateClaim, TrustClaim
    from web4.protocols.messages.lip import SourceClaim, SourceRequest
    from web4.protocols.messages.vocabulary import MessageType

    About = HumanParties | SourceClaim | SourceRequest
    """What an HCP or LIP envelope says beside its payload (section 3)."""


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """A signed envelope, ready to be sent."""

    type: str
    msg_id: str
    corr_id: str | None
    data: bytes


def seal(
    identity: Identity,
    payload: AgentPayload,
    *,
    agent_id: str,
    receiver: Party,
    msg_id: str,
    now_ms: int,
    corr_id: str | None = None,
    about: About | None = None,
    trust: TrustClaim | None = None,
    state: StateClaim | None = None,
    max_bytes: int = envelopes.DEFAULT_MAX_BYTES,
) -> Sealed:
    """Put `payload` into an envelope from this node to `receiver`, and sign it.

    Args:
        identity: Who signs.
        payload: What is said.
        agent_id: This node's name.
        receiver: To whom.
        msg_id: A fresh one.
        now_ms: Time here, Unix milliseconds.
        corr_id: The conversation.
        about: What HCP and LIP envelopes say beside the payload.
        trust: What this node says of trust (CIP only).
        state: How this node says it is (CIP only).
        max_bytes: How long the envelope may be.

    Raises:
        PayloadSchemaError: The payload does not fit its own schema, or `about` is not what its protocol needs; `field`
            says where.
        InvalidEnvelopeError: `field` for a `corr_id` that is no UUID, `too_large`, or `syntax` for what has no
            canonical form.
    """
    unsigned = composed(
        identity,
        payload,
        agent_id=agent_id,
        receiver=receiver,
        msg_id=msg_id,
        corr_id=corr_id,
        about=about,
        trust=trust,
        state=state,
    )
    unsigned[moment_field(unsigned["type"])] = format_timestamp(now_ms)
    data = envelopes.seal(identity, ENCODER.encode(unsigned), max_bytes=max_bytes)
    return Sealed(unsigned["type"], msg_id, corr_id, data)


def moment_field(type_name: str) -> str:
    """The field that says when an envelope of a type was sent."""
    return "created_at" if TYPES[type_name].protocol == "mesh" else "timestamp"


def composed(
    identity: Identity,
    payload: AgentPayload,
    *,
    agent_id: str,
    receiver: Party,
    msg_id: str,
    corr_id: str | None = None,
    about: About | None = None,
    trust: TrustClaim | None = None,
    state: StateClaim | None = None,
) -> dict[str, Any]:
    """Put an envelope together, without the time it is sent and `sign`: what stays the same however often it is sent.

    Raises:
        PayloadSchemaError, InvalidEnvelopeError: As `seal`, save for size and canonical form.
    """
    kind = type_of(payload)
    if corr_id is not None:
        check_corr_id(corr_id, msg_id)
    if isinstance(payload, ServiceInvoke | ServiceResult):
        return compose_mesh(identity, payload, destination=receiver.fingerprint, id=msg_id, reply_to=corr_id)
    encoded = encoded_payload(kind, payload, msg_id)
    sender: dict[str, Any] = {"agent_id": agent_id, "fingerprint": identity.fingerprint}
    if kind.name == "HELLO":
        sender["pubkey"] = base64.b64encode(identity.public_key).decode("ascii")
    unsigned: dict[str, Any] = {
        kind.protocol: VERSION,
        "msg_id": msg_id,
        "type": kind.name,
        "sender": sender,
        "receiver": {"agent_id": receiver.agent_id, "fingerprint": receiver.fingerprint},
        "payload": msgspec.Raw(encoded),
    }
    optional = {"corr_id": corr_id, "trust": trust, "state": state}
    unsigned.update({field: value for field, value in optional.items() if value is not None})
    _say_beside(unsigned, kind, about, msg_id)
    return unsigned


def encoded_payload(kind: MessageType, payload: AgentPayload, msg_id: str) -> bytes:
    """Write a payload, and check it.

    Raises:
        PayloadSchemaError: It does not fit its schema.
    """
    try:
        encoded = ENCODER.encode(payload)
        _PAYLOADS[kind.name].decode(encoded)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise PayloadSchemaError(
            f"this {kind.name} fits no schema", msg_id=msg_id, field="payload"
        ) from error
    return encoded


def _say_beside(unsigned: dict[str, Any], kind: MessageType, about: About | None, msg_id: str) -> None:
    """Add what an envelope of its protocol says beside its payload: humans and a state, or a source."""
    if kind.protocol == "hcp" and isinstance(about, HumanParties):
        unsigned["sender"]["human_id"] = about.sender
        unsigned["receiver"]["human_id"] = about.receiver
        unsigned["state"] = HumanStateClaim(human=about.state)
    elif kind.protocol == "lip" and about is not None and not isinstance(about, HumanParties):
        unsigned["source"] = about
    elif kind.protocol != "cip" or about is not None:
        needed = {"hcp": "HumanParties", "lip": "a source"}.get(kind.protocol, "nothing")
        raise PayloadSchemaError(f"{kind.name} needs {needed} beside it", msg_id=msg_id, field="about")
    if about is None:
        return
    try:
        msgspec.json.decode(ENCODER.encode(about), type=_ABOUT[kind.name])
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise PayloadSchemaError(
            f"what is said beside {kind.name} fits no schema", msg_id=msg_id, field="about"
        ) from error


_PAYLOADS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    one.name: msgspec.json.Decoder(one.payload) for one in TYPES.values()
}
_ABOUT: Final[dict[str, type[msgspec.Struct]]] = {
    **dict.fromkeys(hcp.ENVELOPES, HumanParties),
    **dict.fromkeys(lip.ENVELOPES, lip.SourceClaim),
    "LIP_FETCH": lip.SourceRequest,
}
"""What stands beside the payload of a type."""


def check_corr_id(corr_id: str, msg_id: str) -> None:
    """Refuse what names no conversation here: the receiver would count a fault, and close the session at too many."""
    try:
        msgspec.convert(corr_id, Uuid)
    except msgspec.ValidationError:
        raise InvalidEnvelopeError(
            "a conversation is named by a lowercase UUID", code="field", msg_id=msg_id, field="corr_id"
        ) from None
