"""What a handshake signs: both sides, both HELLOs and this very session (HS-1)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from web4.foundation.digest import canonical
from web4.protocols.cip.agreement import Offer
from web4.protocols.messages.cip import VERSION

if TYPE_CHECKING:
    from web4.foundation.identity import Identity

PURPOSE: Final = "handshake"
Role = Literal["initiator", "responder"]


class HelloFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a HELLO said, and the BLAKE3-256 of its bytes as they travelled."""

    nonce: str
    challenge: str
    offer: Offer
    digest: str = ""


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a response is given for. `hello_r` is absent in the responder's own response."""

    role: Role
    binding: str
    fp_i: str
    fp_r: str
    nonce_i: str
    challenge_i: str
    nonce_r: str
    challenge_r: str
    hello_i: str
    hello_r: str | msgspec.UnsetType = msgspec.UNSET


def transcript(
    role: Role,
    *,
    binding: bytes,
    initiator: str,
    responder: str,
    hello_i: HelloFacts,
    hello_r: HelloFacts,
) -> bytes:
    """Give the canonical bytes that the node in `role` signs.

    Args:
        role: Whose response it is.
        binding: The session's binding, 32 bytes (RTT-8); it is signed in base64 and never sent.
        initiator: Fingerprint of the initiator.
        responder: Fingerprint of the responder.
        hello_i: The initiator's HELLO.
        hello_r: The responder's HELLO; its digest counts only in the initiator's response.
    """
    return canonical(
        Transcript(
            role=role,
            binding=base64.b64encode(binding).decode("ascii"),
            fp_i=initiator,
            fp_r=responder,
            nonce_i=hello_i.nonce,
            challenge_i=hello_i.challenge,
            nonce_r=hello_r.nonce,
            challenge_r=hello_r.challenge,
            hello_i=hello_i.digest,
            hello_r=hello_r.digest if role == "initiator" else msgspec.UNSET,
        )
    )


def respond(identity: Identity, signed: bytes) -> str:
    """Sign a transcript; base64 of the signature."""
    signature = identity.sign(signed, protocol="cip", version=VERSION, purpose=PURPOSE)
    return base64.b64encode(signature).decode("ascii")
