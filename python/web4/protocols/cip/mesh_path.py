"""The way of mesh envelopes through a session: what a neighbour may hand over, and what it is handed (MESH-2).

MESH_* goes to the node's mesh, which is neither told of anything unproven nor durable. SERVICE_* travels from end to
end, and takes the way of every message that is queued and receipted (OUT-1).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from web4._core import fingerprint
from web4.foundation import envelope as envelopes
from web4.foundation.clock import format_timestamp, parse_timestamp
from web4.foundation.codec import ENCODER
from web4.foundation.errors import EnvelopeError
from web4.protocols.errors import MeshEnvelopeError, PayloadSchemaError
from web4.protocols.gates import GATES
from web4.protocols.messages.mesh import BROADCAST, ENVELOPES, PROTOCOL, VERSION
from web4.protocols.messages.vocabulary import TYPES, type_of

if TYPE_CHECKING:
    from web4.foundation.envelope import Envelope
    from web4.foundation.identity import Identity
    from web4.protocols.cip.agreement import Agreement
    from web4.protocols.cip.validation import Incoming, Reception
    from web4.protocols.gates import Admission
    from web4.protocols.messages.mesh import MeshMessage, MeshPayload
    from web4.protocols.messages.vocabulary import ChannelKind
    from web4.rtt import RttSession
    from web4.trust import TrustState

RELAY_CHANNEL: Final = "relay"
"""The name of the knowledge channel that carries MESH_RELAY (CIP-1)."""
LONGEST_TTL_MS: Final = 60_000
"""No mesh envelope lives longer (MESH-3)."""

_NEIGHBOUR: Final = frozenset({"MESH_HELLO", "MESH_ROUTES"})
_BROADCAST: Final = frozenset({"MESH_INTRODUCE", "MESH_REVOKE"})
_SERVICE: Final = frozenset({"SERVICE_INVOKE", "SERVICE_RESULT"})
_DECODERS: Final = {name: msgspec.json.Decoder(kind) for name, kind in ENVELOPES.items()}


class MeshPort(Protocol):
    """The node's mesh, as sessions see it: `web4.mesh.MeshRuntime`."""

    async def receive(self, peer: str, incoming: Incoming, channel: ChannelKind) -> None:
        """Take in an envelope: form and signature are right, and the proven `peer` may hand it over. Soon returns."""
        ...

    def link_up(self, peer: str, session: RttSession) -> None:
        """A session with `peer` is established, and the mesh agreed on it."""
        ...

    def link_down(self, peer: str, session: RttSession) -> None:
        """That session is over."""
        ...


@dataclass(frozen=True, slots=True)
class DeliverMesh:
    """Give an envelope to the node's mesh."""

    incoming: Incoming
    channel: ChannelKind


def mesh_agreed(agreement: Agreement | None) -> bool:
    """Whether both ends of a session take part in the mesh (CIP-3, MESH-7)."""
    return agreement is not None and PROTOCOL in agreement.protocols and agreement.features.supports_mesh


def is_for_the_mesh(type_name: str) -> bool:
    """Whether a type goes to the node's mesh, and not through the peer's lane."""
    return TYPES[type_name].protocol == "mesh" and type_name not in _SERVICE


def barred(type_name: str, trust: TrustState, agreement: Agreement | None) -> tuple[str | None, Admission]:
    """Step 11 for what goes to the mesh: the code of the refusal, if any, and the gate's word (TRUST-6)."""
    admission = GATES[type_name][trust]
    if agreement is None:
        return "handshake", admission
    if not mesh_agreed(agreement) or not agreement.allows(type_name):
        return "capability", admission
    return ("gate" if admission in ("no", "drop") else None), admission


# --- what arrives -------------------------------------------------------------------------------------------


def validated(envelope: Envelope, reception: Reception) -> tuple[MeshMessage, int]:
    """Steps 4 to 9 for a mesh envelope: the typed message, and when it was made.

    Whatever is wrong counts against the neighbour who handed it over, and against nobody whom the bytes name (MESH-3).

    Raises:
        MeshEnvelopeError: `invalid`, `hops`, `not_neighbour`, `expired`, `origin`.
    """
    try:
        message: MeshMessage = _DECODERS[envelope.type].decode(envelope.data)
        created_ms = parse_timestamp(message.created_at)
    except ValueError:  # msgspec.ValidationError is one
        raise _error("the envelope is not what the schema prescribes", "invalid", reception) from None
    _check_way(message, reception)
    left_ms = created_ms + message.ttl_ms - reception.now_ms
    if left_ms < 0 or message.ttl_ms > LONGEST_TTL_MS or created_ms - reception.now_ms > reception.skew_ms:
        raise _error("the envelope has outlived its time", "expired", reception, message)
    _check_origin(message, envelope, reception)
    return message, created_ms


def _check_way(message: MeshMessage, reception: Reception) -> None:
    """Step 6, and MESH-2: the channel, the reach of the type, and who handed it over."""
    if TYPES[message.type].channel != reception.channel:
        raise _error("it does not travel on this channel", "not_neighbour", reception, message)
    if len(set(message.hops)) != len(message.hops) or message.origin in message.hops:
        raise _error("a node was passed twice", "hops", reception, message)
    if (message.hops[-1] if message.hops else message.origin) != reception.peer:
        raise _error("the last hop is not the session's peer", "hops", reception, message)
    to_self = message.destination == reception.local
    direct = to_self and not message.hops
    if message.type in _NEIGHBOUR | _SERVICE and not direct:
        raise _error("it is between two ends of one session", "not_neighbour", reception, message)
    if (message.destination == BROADCAST) != (message.type in _BROADCAST):
        raise _error("its destination does not fit its type", "not_neighbour", reception, message)


def _check_origin(message: MeshMessage, envelope: Envelope, reception: Reception) -> None:
    """Steps 7 and 9: the key is the origin's, and the origin signed it."""
    key = base64.b64decode(message.pubkey)
    direct = message.origin == reception.peer
    if not (key == reception.public_key if direct else fingerprint(key) == message.origin):
        raise _error("the key is not the origin's", "origin", reception, message)
    try:
        envelopes.verify(envelope, key)
    except EnvelopeError:
        raise _error("the origin did not sign it", "origin", reception, message) from None


def _error(
    text: str, code: str, reception: Reception, message: MeshMessage | None = None
) -> MeshEnvelopeError:
    return MeshEnvelopeError(
        text, code=code, peer=reception.peer, msg_id=None if message is None else message.id
    )


# --- what is said -------------------------------------------------------------------------------------------


def compose_mesh(
    identity: Identity,
    payload: MeshPayload,
    *,
    destination: str,
    id: str,  # noqa: A002 - the field's name
    ttl_ms: int = LONGEST_TTL_MS,
    reply_to: str | None = None,
    route_id: str | None = None,
) -> dict[str, Any]:
    """Put a mesh envelope of this node together, without `created_at` and `sign`: each attempt makes its own (OUT-2).

    Raises:
        PayloadSchemaError: The payload does not fit its schema.
    """
    kind = type_of(payload)
    try:
        msgspec.json.decode(ENCODER.encode(payload), type=kind.payload)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise PayloadSchemaError(f"this {kind.name} fits no schema", msg_id=id, field="payload") from error
    unsigned: dict[str, Any] = {
        "mesh": VERSION,
        "id": id,
        "type": kind.name,
        "origin": identity.fingerprint,
        "destination": destination,
        "payload": payload,
        "hops": (),
        "ttl_ms": ttl_ms,
        "pubkey": base64.b64encode(identity.public_key).decode("ascii"),
    }
    optional = {"reply_to": reply_to, "route_id": route_id}
    unsigned.update({name: value for name, value in optional.items() if value is not None})
    return unsigned


def seal_mesh(
    identity: Identity,
    payload: MeshPayload,
    *,
    destination: str,
    id: str,  # noqa: A002 - the field's name
    now_ms: int,
    ttl_ms: int = LONGEST_TTL_MS,
    reply_to: str | None = None,
    route_id: str | None = None,
    max_bytes: int = envelopes.DEFAULT_MAX_BYTES,
) -> bytes:
    """Sign a mesh envelope of this node. `hops` is empty, and nobody signs it.

    Raises:
        PayloadSchemaError: The payload does not fit its schema.
        InvalidEnvelopeError: `too_large`, or `syntax` for what has no canonical form.
    """
    unsigned = compose_mesh(
        identity,
        payload,
        destination=destination,
        id=id,
        ttl_ms=ttl_ms,
        reply_to=reply_to,
        route_id=route_id,
    )
    unsigned["created_at"] = format_timestamp(now_ms)
    return envelopes.seal(identity, ENCODER.encode(unsigned), max_bytes=max_bytes)
