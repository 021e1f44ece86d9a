"""Nodes for tests of the mesh: identities by seed, envelopes they seal, and trust kept in memory."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from web4._core import Identity
from web4.foundation import envelope as envelopes
from web4.foundation.clock import format_timestamp
from web4.foundation.codec import ENCODER
from web4.foundation.digest import canonical
from web4.protocols.messages.mesh import ENVELOPES
from web4.protocols.messages.vocabulary import type_of
from web4.trust import TrustOutcome, TrustRegistry

if TYPE_CHECKING:
    from web4.trust import TrustCommand


def identity(number: int) -> Identity:
    """The same one for the same number."""
    return Identity.from_seed(number.to_bytes(32, "big"))


def pubkey(number: int) -> str:
    """A public key as envelopes write it."""
    return base64.b64encode(identity(number).public_key).decode()


def seal_mesh(
    origin: Identity,
    payload: Any,
    *,
    id: str,  # noqa: A002 - the name of the field it fills
    now_ms: int,
    destination: str = "*",
    ttl_ms: int = 60_000,
    reply_to: str | None = None,
) -> tuple[Any, bytes]:
    """A mesh envelope of `origin`: typed, and its bytes."""
    unsigned: dict[str, Any] = {
        "mesh": "1.0",
        "id": id,
        "type": type_of(payload).name,
        "origin": origin.fingerprint,
        "destination": destination,
        "payload": payload,
        "hops": [],
        "ttl_ms": ttl_ms,
        "created_at": format_timestamp(now_ms),
        "pubkey": base64.b64encode(origin.public_key).decode(),
    }
    if reply_to is not None:
        unsigned["reply_to"] = reply_to
    data = envelopes.seal(origin, ENCODER.encode(unsigned))
    return msgspec.json.decode(data, type=ENVELOPES[unsigned["type"]]), data


def altered(data: bytes, **fields: Any) -> bytes:
    """The envelope with other fields, under the signature of before."""
    return canonical({**msgspec.json.decode(data), **fields})


class KeptTrust:
    """A node's trust in memory, which hears of each (peer, cause) once, as a peer's lane does (ROUTE-3)."""

    def __init__(self) -> None:
        self.registry = TrustRegistry()
        self.heard: list[tuple[str, str]] = []
        self._causes: set[tuple[str, str]] = set()

    async def __call__(self, peer: str, command: TrustCommand, *, cause: str | None = None) -> TrustOutcome:
        if cause is not None:
            if (peer, cause) in self._causes:
                return TrustOutcome(self.registry.state(peer))
            outcome = self.registry.handle(peer, command)
            self._causes.add((peer, cause))
        else:
            outcome = self.registry.handle(peer, command)
        self.heard.append((peer, command.event))
        return outcome
