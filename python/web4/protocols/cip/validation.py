"""From bytes to a typed, verified message: VAL-1, steps 1 to 9, cheapest first. Nothing is changed here."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NoReturn, cast

import msgspec
from msgspec import UNSET

from web4.foundation import envelope as envelopes
from web4.foundation.clock import parse_timestamp
from web4.foundation.envelope import Envelope
from web4.foundation.errors import EnvelopeError, InvalidEnvelopeError, SignatureMismatchError
from web4.protocols.cip import mesh_path
from web4.protocols.errors import PayloadSchemaError, TimestampError
from web4.protocols.messages.cip import CipEnvelope
from web4.protocols.messages.fields import AgentSender
from web4.protocols.messages.hcp import HcpEnvelope
from web4.protocols.messages.lip import LipEnvelope, SourceRequest
from web4.protocols.messages.vocabulary import TYPES, VERSION, AgentMessage, ChannelKind, NamedMessage

DEFAULT_SKEW_MS: Final = 120_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """Where and when bytes arrived.

    Args:
        local: Fingerprint of this node.
        peer: The session's proven fingerprint.
        public_key: The session's proven raw public key, 32 bytes.
        channel: Kind of the channel they came on.
        now_ms: Time here, Unix milliseconds.
        skew_ms: How far a timestamp may differ from it, bounds included.
        max_bytes: How long a canonical envelope may be.
    """

    local: str
    peer: str
    public_key: bytes
    channel: ChannelKind
    now_ms: int
    skew_ms: int = DEFAULT_SKEW_MS
    max_bytes: int = envelopes.DEFAULT_MAX_BYTES


class Incoming(msgspec.Struct, frozen=True, gc=False):
    """A message whose sender is proven. Whether it may do anything is decided by the peer's lane."""

    message: AgentMessage
    timestamp_ms: int
    envelope: Envelope

    @property
    def content_digest(self) -> str:
        """BLAKE3-256 of what the sender said, without `sign` and `timestamp` (SIG-5)."""
        return self.envelope.content_digest

    @property
    def digest(self) -> str:
        """BLAKE3-256 of the whole envelope as received."""
        return self.envelope.digest


class _CommonCip(CipEnvelope, frozen=True, kw_only=True):
    """Any CIP envelope, its payload unseen: tells a bad field of step 4 from a bad payload of step 5."""

    type: str
    payload: dict[str, msgspec.Raw]


class _CommonHcp(HcpEnvelope, frozen=True, kw_only=True):
    """Any HCP envelope, likewise."""

    type: str
    payload: dict[str, msgspec.Raw]


class _CommonLip(LipEnvelope, frozen=True, kw_only=True):
    """Any LIP envelope but one that asks for a fetch, likewise."""

    type: str
    payload: dict[str, msgspec.Raw]


class _CommonLipFetch(_CommonLip, frozen=True, kw_only=True):
    """One that asks for a fetch: nothing was retrieved yet."""

    source: SourceRequest  # type: ignore[assignment]  # the one type without `retrieved_at`


_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    one.name: msgspec.json.Decoder(one.envelope) for one in TYPES.values() if one.protocol != "mesh"
}
_COMMON_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "cip": msgspec.json.Decoder(_CommonCip),
    "hcp": msgspec.json.Decoder(_CommonHcp),
    "lip": msgspec.json.Decoder(_CommonLip),
}
_COMMON_FETCH: Final = msgspec.json.Decoder(_CommonLipFetch)


def open_early(messages: list[bytes], reception: Reception, most: int) -> list[Envelope | None]:
    """Open the first `most` of a batch on all cores, for `validate` to look at in order; None where it has to itself.

    Nothing is decided here: what is known of a signature before step 9 is asked for there.
    """
    opened = envelopes.open_many(messages[:most], reception.public_key, max_bytes=reception.max_bytes)
    return opened + [None] * (len(messages) - len(opened))


def validate(data: bytes, reception: Reception, early: Envelope | None = None) -> Incoming:
    """Check `data` in the order of VAL-1, steps 1 to 9, and give the typed message. See `open_early`.

    Raises:
        InvalidEnvelopeError: `too_large`, `syntax`, `not_canonical`, `discriminator`, `version`,
            `unknown_type`, `field`, `misaddressed`, `wrong_channel`.
        PayloadSchemaError: Step 5.
        SignatureMismatchError: `identity` (step 7), `signature` (step 9).
        TimestampError: Step 8.
        MeshEnvelopeError: Steps 4 to 9 of a mesh envelope.
    """
    try:
        envelope = early or envelopes.parse(data, max_bytes=reception.max_bytes)  # steps 1 to 3
        return _validated(envelope, reception)
    except InvalidEnvelopeError as error:
        error.peer = reception.peer
        raise


def checked(data: bytes, reception: Reception, early: Envelope | None = None) -> Incoming | EnvelopeError:
    """As `validate`, but give the error: nothing follows from it before it is this message's turn."""
    try:
        return validate(data, reception, early)
    except EnvelopeError as error:
        return error


def _validated(envelope: Envelope, reception: Reception) -> Incoming:
    protocol = envelope.protocol
    if envelope.version != VERSION:
        raise InvalidEnvelopeError(
            f"only {protocol} {VERSION} is spoken here",
            code="version",
            msg_id=_msg_id(envelope),
            field=protocol,
        )
    kind = TYPES.get(envelope.type)
    if kind is None or kind.protocol != protocol:
        raise InvalidEnvelopeError(
            f"no type of {protocol}", code="unknown_type", msg_id=_msg_id(envelope), field="type"
        )
    if protocol == "mesh":
        mesh_message, created_ms = mesh_path.validated(envelope, reception)
        # What is only for the mesh goes there at once; nobody else looks at it.
        return Incoming(cast("AgentMessage", mesh_message), created_ms, envelope)
    message, timestamp_ms = _decoded(envelope, reception.peer)  # steps 4 and 5
    _check_address(message, reception)  # step 6
    _check_identity(message, reception)  # step 7
    if abs(timestamp_ms - reception.now_ms) > reception.skew_ms:  # step 8
        raise TimestampError(
            "the timestamp is too far from the time here",
            msg_id=message.msg_id,
            peer=reception.peer,
            field="timestamp",
        )
    envelopes.verify(envelope, reception.public_key, peer=reception.peer)  # step 9
    return Incoming(message, timestamp_ms, envelope)


@lru_cache(maxsize=64)
def _moment(timestamp: str) -> int:
    """Parse a timestamp; those of a batch are mostly the same."""
    return parse_timestamp(timestamp)


def _decoded(envelope: Envelope, peer: str) -> tuple[NamedMessage, int]:
    try:
        message: NamedMessage = _DECODERS[envelope.type].decode(envelope.data)
    except msgspec.ValidationError as error:
        _refuse_fields(envelope, peer, error)
    try:
        return message, _moment(message.timestamp)
    except ValueError as error:
        raise InvalidEnvelopeError(
            str(error), code="field", msg_id=message.msg_id, field="timestamp"
        ) from None


def _refuse_fields(envelope: Envelope, peer: str, error: msgspec.ValidationError) -> NoReturn:
    """Say which step refuses: step 4 comes first, though the decoder may have met the payload before."""
    msg_id = _msg_id(envelope)
    try:
        decoder = _COMMON_FETCH if envelope.type == "LIP_FETCH" else _COMMON_DECODERS[envelope.protocol]
        common = decoder.decode(envelope.data)
        parse_timestamp(common.timestamp)
        if isinstance(common, _CommonCip) and envelope.type == "HELLO" and common.sender.pubkey is UNSET:
            raise InvalidEnvelopeError(
                "required in HELLO", code="field", msg_id=msg_id, field="sender.pubkey"
            )
    except msgspec.ValidationError as fault:
        raise InvalidEnvelopeError(
            "a field is not what the schema prescribes", code="field", msg_id=msg_id, field=_field(fault)
        ) from None
    except ValueError as fault:
        raise InvalidEnvelopeError(str(fault), code="field", msg_id=msg_id, field="timestamp") from None
    raise PayloadSchemaError(
        "the payload is not what the schema prescribes", msg_id=msg_id, peer=peer, field=_field(error)
    ) from None


def _check_address(message: NamedMessage, reception: Reception) -> None:
    if message.receiver.fingerprint != reception.local:
        raise InvalidEnvelopeError(
            "meant for another node", code="misaddressed", msg_id=message.msg_id, field="receiver.fingerprint"
        )
    if TYPES[message.type].channel != reception.channel:
        raise InvalidEnvelopeError(
            f"{message.type} does not travel on a {reception.channel} channel",
            code="wrong_channel",
            msg_id=message.msg_id,
            field="type",
        )


def _check_identity(message: NamedMessage, reception: Reception) -> None:
    """Check that the sender is the session's peer, whatever name the bytes give (VAL-4, WEB-4)."""
    field = None
    if message.sender.fingerprint != reception.peer:
        field = "sender.fingerprint"
    elif (
        isinstance(message.sender, AgentSender)
        and message.sender.pubkey is not UNSET
        and base64.b64decode(message.sender.pubkey) != reception.public_key
    ):
        field = "sender.pubkey"
    if field is not None:
        raise SignatureMismatchError(
            "the sender is not the session's peer",
            code="identity",
            msg_id=message.msg_id,
            peer=reception.peer,
            field=field,
        )


_MSG_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_PATH: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING: Final = re.compile(r"missing required field `(\w+)`")


def _msg_id(envelope: Envelope) -> str | None:
    """Give the envelope's msg_id if it is one: before step 4 anything may stand there, and ERROR quotes it."""
    text = envelope.msg_id
    return text if text is not None and _MSG_ID.fullmatch(text) else None


def _field(error: msgspec.ValidationError) -> str | None:
    """Give the dotted path that the decoder names; an unknown field's name is the sender's word: left out."""
    text = str(error)
    path = _PATH.search(text)
    parts = [path.group(1)] if path and path.group(1) else []
    missing = _MISSING.search(text)
    if missing:
        parts.append(missing.group(1))
    return ".".join(parts).replace("[...]", "") or None
