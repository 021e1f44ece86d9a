"""From a typed payload to signed bytes, checked before they leave as strictly as what arrives."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from web4.foundation import envelope as envelopes
from web4.foundation.clock import format_timestamp
from web4.foundation.codec import ENCODER
from web4.foundation.errors import InvalidEnvelopeError
from web4.protocols.cip.messages import PAYLOADS, VERSION, Payload, type_of
from web4.protocols.errors import PayloadSchemaError
from web4.protocols.fields import Uuid

if TYPE_CHECKING:
    from web4.foundation.identity import Identity
    from web4.protocols.fields import Party, StateClaim, TrustClaim


@dataclass(frozen=True, slots=True)
class Sealed:
    """A signed envelope, ready to be sent."""

    type: str
    msg_id: str
    corr_id: str | None
    data: bytes


def seal(
    identity: Identity,
    payload: Payload,
    *,
    agent_id: str,
    receiver: Party,
    msg_id: str,
    now_ms: int,
    corr_id: str | None = None,
    trust: TrustClaim | None = None,
    state: StateClaim | None = None,
    max_bytes: int = envelopes.DEFAULT_MAX_BYTES,
) -> Sealed:
    """Put `payload` into an envelope from this node to `receiver`, and sign it.

    Raises:
        PayloadSchemaError: The payload does not fit its own schema; `field` says where.
        InvalidEnvelopeError: `field` for a `corr_id` that is no UUID, `too_large`, or `syntax` for what has no
            canonical form.
    """
    name = type_of(payload)
    if corr_id is not None:
        _check_corr_id(corr_id, msg_id)
    try:
        msgspec.json.decode(ENCODER.encode(payload), type=PAYLOADS[name])
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise PayloadSchemaError(f"this {name} fits no schema", msg_id=msg_id, field="payload") from error
    sender = {"agent_id": agent_id, "fingerprint": identity.fingerprint}
    if name == "HELLO":
        sender["pubkey"] = base64.b64encode(identity.public_key).decode("ascii")
    unsigned: dict[str, Any] = {
        "cip": VERSION,
        "msg_id": msg_id,
        "type": name,
        "timestamp": format_timestamp(now_ms),
        "sender": sender,
        "receiver": receiver,
        "payload": payload,
    }
    optional = {"corr_id": corr_id, "trust": trust, "state": state}
    unsigned.update({field: value for field, value in optional.items() if value is not None})
    data = envelopes.seal(identity, ENCODER.encode(unsigned), max_bytes=max_bytes)
    return Sealed(name, msg_id, corr_id, data)


def _check_corr_id(corr_id: str, msg_id: str) -> None:
    """Check it here: the receiver would count a fault of ours, and close the session at too many (VAL-4)."""
    try:
        msgspec.convert(corr_id, Uuid)
    except msgspec.ValidationError:
        raise InvalidEnvelopeError(
            "a conversation is named by a lowercase UUID", code="field", msg_id=msg_id, field="corr_id"
        ) from None
