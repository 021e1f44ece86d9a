"""The form that most CIP envelopes of a session have: what they all say alike is decoded and checked once.

A canonical envelope without `trust` and `state` is a head with its ids, the payload, then `receiver` and `sender`,
which are the same in each, then signature, timestamp and type. So where the bytes between payload and signature are
those of an envelope that was accepted before, only the rest is looked at. It comes to what decoding the whole does
(VAL-1, steps 4 and 5), or to nothing: then the whole is decoded, and says what is wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

from web4.foundation.digest import canonical
from web4.protocols.messages.fields import AgentSender, Party, Sign
from web4.protocols.messages.vocabulary import TYPES, VERSION

if TYPE_CHECKING:
    from web4.protocols.messages.vocabulary import NamedMessage

_UUID: Final = rb"[0-9a-f]{8}-[0-9a-f]{4}-%b[0-9a-f]{3}-%b[0-9a-f]{3}-[0-9a-f]{12}"
_HEAD: Final = re.compile(
    rb'\{"cip":"1\.0",(?:"corr_id":"(%b)",)?"msg_id":"(%b)","payload":'
    % (_UUID % (b"[0-9a-f]", b"[0-9a-f]"), _UUID % (b"4", b"[89ab]"))
)
_SIGN: Final = b',"sign":{"algo":"ed25519","signature":"'
_SIGNATURE: Final = re.compile(rb"[A-Za-z0-9+/]{85}[AQgw]==")
_SIGNATURE_BYTES: Final = 88
_TIME: Final = b'"},"timestamp":"'
_TIME_BYTES: Final = len("2026-01-01T00:00:00.000Z")
_LONGEST: Final = 1_024
"""What stands between payload and signature is remembered up to this length, in bytes."""


class _Type:
    """One type of message: its structs, and how its envelopes end."""

    __slots__ = ("end", "envelope", "payload", "tail_bytes")

    def __init__(self, name: str) -> None:
        kind = TYPES[name]
        self.envelope: Any = kind.envelope
        self.payload: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind.payload)
        self.end = f'","type":"{name}"}}'.encode()
        self.tail_bytes = len(_SIGN) + _SIGNATURE_BYTES + len(_TIME) + _TIME_BYTES + len(self.end)


# The sender of a HELLO has to say more.
_TYPES: Final = {
    one.name: _Type(one.name) for one in TYPES.values() if one.protocol == "cip" and one.name != "HELLO"
}


class UsualForm:
    """What envelopes of one session say alike."""

    __slots__ = ("_parties", "_written")

    def __init__(self) -> None:
        self._written = b""
        self._parties: tuple[Party, AgentSender] | None = None

    def decoded(self, data: bytes, type_name: str) -> NamedMessage | None:
        """What decoding an envelope gives; None if it has to be decoded as a whole, perhaps because it is not right.

        Args:
            data: Canonical: nothing else is looked at in the right places.
            type_name: What its `type` says.
        """
        kind = _TYPES.get(type_name)
        if kind is None or self._parties is None:
            return None
        at, written = len(data) - kind.tail_bytes, self._written
        ids = _HEAD.match(data)
        if (
            ids is None
            # All this is matched backwards from the last brace: so it stands at the level of the envelope.
            or not data.endswith(kind.end)
            or not data.startswith(_SIGN, at)
            or not data.startswith(_TIME, time_at := at + len(_SIGN) + _SIGNATURE_BYTES)
            or not data.endswith(written, 0, at)
            or _SIGNATURE.fullmatch(data, sign_at := at + len(_SIGN), time_at) is None
        ):
            return None
        timestamp = data[time_at + len(_TIME) : -len(kind.end)]
        try:
            payload = kind.payload.decode(data[ids.end() : at - len(written)])
            text = timestamp.decode("ascii")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        corr_id, msg_id = ids.groups()
        receiver, sender = self._parties
        message: NamedMessage = kind.envelope(
            cip=VERSION,
            corr_id=UNSET if corr_id is None else corr_id.decode(),
            msg_id=msg_id.decode(),
            payload=payload,
            receiver=receiver,
            sender=sender,
            sign=Sign(algo="ed25519", signature=data[sign_at:time_at].decode()),
            timestamp=text,
            type=type_name,
        )
        return message

    def accepted(self, message: NamedMessage) -> None:
        """Remember what a message said that was decoded as a whole, and passed steps 4 to 9."""
        if message.type not in _TYPES or type(message.sender) is not AgentSender:
            return
        parties = (message.receiver, message.sender)
        written = b"," + canonical({"receiver": parties[0], "sender": parties[1]})[1:-1]
        if len(written) <= _LONGEST:
            self._written, self._parties = written, parties
