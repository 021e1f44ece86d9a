"""What of an envelope stays the same on every attempt, and each attempt's own timestamp and signature (OUT-2)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from web4 import _core
from web4.foundation import envelope as envelopes
from web4.foundation.clock import format_timestamp
from web4.foundation.codec import ENCODER
from web4.foundation.errors import InvalidEnvelopeError
from web4.protocols.cip.outbox.commands import Enqueue
from web4.protocols.cip.outbox.entries import INLINE_BYTES
from web4.protocols.cip.sealing import Sealed, check_corr_id, composed, encoded_payload, moment_field
from web4.protocols.messages.hcp import HumanParties
from web4.protocols.messages.vocabulary import VERSION, type_of

if TYPE_CHECKING:
    from web4.foundation.identity import Identity
    from web4.protocols.cip.outbox.entries import Queued, SettledStatus
    from web4.protocols.cip.sealing import About
    from web4.protocols.messages.fields import Party
    from web4.protocols.messages.vocabulary import AgentPayload

_SIGNED_BYTES: Final = len(
    '"sign":{"algo":"ed25519","signature":"' + 88 * "A" + '"},"timestamp":"2026-01-01T00:00:00.000Z",'
)
"""What an attempt adds to the body."""


def enqueue(
    identity: Identity,
    payload: AgentPayload,
    *,
    agent_id: str,
    receiver: Party,
    msg_id: str,
    at_ms: int,
    max_bytes: int,
    corr_id: str | None = None,
    about: About | None = None,
    answers: str | None = None,
    settles: SettledStatus | None = None,
) -> tuple[Enqueue, bytes]:
    """Make the command that queues `payload` for `receiver`, and the body, which is a blob if it is long.

    Raises:
        PayloadSchemaError, InvalidEnvelopeError: As `web4.protocols.cip.sealing.seal`.
    """
    kind = type_of(payload)
    try:
        if kind.protocol == "cip" and about is None and _is_plain(msg_id):
            body = _framed(identity, payload, agent_id, receiver, msg_id, corr_id)
        else:
            unsigned = composed(
                identity,
                payload,
                agent_id=agent_id,
                receiver=receiver,
                msg_id=msg_id,
                corr_id=corr_id,
                about=about,
            )
            body = _core.canonicalize(ENCODER.encode(unsigned))
    except _core.CoreError as error:
        raise InvalidEnvelopeError(str(error), code=error.code, msg_id=msg_id) from None
    size = len(body)
    if size + _SIGNED_BYTES > max_bytes:
        raise InvalidEnvelopeError(f"longer than {max_bytes} bytes", code="too_large", msg_id=msg_id)
    long = size > INLINE_BYTES
    humans = (about.sender, about.receiver) if isinstance(about, HumanParties) else ()
    command = Enqueue(
        at_ms=at_ms,
        msg_id=msg_id,
        type=kind.name,
        channel=kind.channel,
        size=size,
        body=None if long else body.decode(),
        blob=blob_name(body) if long else None,
        corr_id=corr_id,
        low=getattr(payload, "priority", None) == "low",
        humans=humans,
        answers=answers,
        settles=settles,
    )
    return command, body


def _framed(
    identity: Identity,
    payload: AgentPayload,
    agent_id: str,
    receiver: Party,
    msg_id: str,
    corr_id: str | None,
) -> bytes:
    """Put together the canonical bytes of what `composed` gives for CIP: between parts that seldom change."""
    kind = type_of(payload)
    if corr_id is not None:
        check_corr_id(corr_id, msg_id)
    # As a member: so it may be nested as deep as in an envelope, and no deeper.
    member = _core.canonicalize(b'{"payload":%b}' % encoded_payload(kind, payload, msg_id))
    conversation = "" if corr_id is None else f'"corr_id":"{corr_id}",'
    head = f'{{"cip":"{VERSION}",{conversation}"msg_id":"{msg_id}",'
    rest = _rest(kind.name, agent_id, identity.fingerprint, receiver.agent_id, receiver.fingerprint)
    return b"%b%b%b" % (head.encode(), member[1:-1], rest)


def _is_plain(msg_id: str) -> bool:
    """Whether an id stands in JSON as it is: of letters, digits and dashes, as every UUID."""
    return msg_id.isascii() and msg_id.replace("-", "").isalnum()


@lru_cache(maxsize=1_024)
def _rest(type_name: str, agent_id: str, fingerprint: str, to_agent_id: str, to: str) -> bytes:
    """What comes behind the payload in canonical order."""
    rest = {
        "receiver": {"agent_id": to_agent_id, "fingerprint": to},
        "sender": {"agent_id": agent_id, "fingerprint": fingerprint},
        "type": type_name,
    }
    return b"," + _core.canonicalize(ENCODER.encode(rest))[1:]


def attempts(
    identity: Identity, entries: list[tuple[Queued, bytes]], timestamps: list[str], max_bytes: int
) -> list[Sealed]:
    """Give entries with these bodies each its timestamp, and a signature, over the cores."""
    unsigned = [_dated(entry.type, body, at) for (entry, body), at in zip(entries, timestamps, strict=True)]
    sealed = envelopes.seal_many(identity, unsigned, max_bytes=max_bytes)
    return [
        Sealed(entry.type, entry.msg_id, entry.corr_id, data)
        for (entry, _), data in zip(entries, sealed, strict=True)
    ]


def _dated(type_name: str, body: bytes, timestamp: str) -> bytes:
    """Give a body the time of its attempt."""
    # Its place in canonical order: behind everything but `type`, which ends the body; a mesh envelope begins with it.
    if moment_field(type_name) == "created_at":
        return b'{"created_at":"%b",%b' % (timestamp.encode(), body[1:])
    at = len(body) - len(type_name) - _TAIL_BYTES
    return b'%b,"timestamp":"%b"%b' % (body[:at], timestamp.encode(), body[at:])


_TAIL_BYTES: Final = len(',"type":""}')


@lru_cache(maxsize=64)
def timestamp(now_ms: int) -> str:
    """The timestamp of an attempt. Those of a batch are mostly the same."""
    return format_timestamp(now_ms)


def blob_name(data: bytes) -> str:
    """The name under which the journal keeps `data` (JRN-8)."""
    return f"b3:{_core.blake3(data).hex()}"
