r"""The field types that all envelopes share, and the one way to encode and decode typed messages (ENV-1).

The patterns say "end of input" as `$(?!\n)`: a plain `$` would let a final line feed through in Python.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

AgentId = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        pattern=r"^[a-z0-9._-]+$(?!\n)",
        description="A name without authority (ID-3).",
        extra={"words": "up to 64 of a-z, 0-9, `.`, `_` and `-`"},
    ),
]
HumanId = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9._-]+$(?!\n)",
        description="The name of a human at one agent.",
        extra={"words": "up to 63 of a-z, 0-9, `.`, `_` and `-`"},
    ),
]
HexDigest = Annotated[
    str,
    msgspec.Meta(
        min_length=64,
        max_length=64,
        pattern=r"^[0-9a-f]{64}$(?!\n)",
        description="A BLAKE3-256 in lowercase hex (SIG-4).",
        extra={"words": "64 hex digits, a-f in lowercase"},
    ),
]
Fingerprint = Annotated[HexDigest, msgspec.Meta(title="Fingerprint")]
"""The BLAKE3-256 of a public key (ID-1)."""

Uuid4 = Annotated[
    str,
    msgspec.Meta(
        min_length=36,
        max_length=36,
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$(?!\n)",
        description="A version 4 UUID, lowercase.",
    ),
]
Timestamp = Annotated[
    str,
    msgspec.Meta(
        min_length=24,
        max_length=24,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$(?!\n)",
        description="UTC with milliseconds; `clock.parse_timestamp` checks that it is a moment.",
    ),
]
Base64Of32 = Annotated[
    str,
    msgspec.Meta(
        min_length=44,
        max_length=44,
        pattern=r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$(?!\n)",
        description="32 bytes in base64: keys, nonces, challenges. The one spelling there is (SIG-4).",
    ),
]
Base64Of64 = Annotated[
    str,
    msgspec.Meta(
        min_length=88,
        max_length=88,
        pattern=r"^[A-Za-z0-9+/]{85}[AQgw]==$(?!\n)",
        description="64 bytes in base64: signatures. The one spelling there is (SIG-4).",
    ),
]


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every typed message: immutable, named fields, unknown ones refused, absent ones not written.

    Subclasses inherit all that; type checkers still want to read `frozen=True` in each.
    """


ENCODER: Final = msgspec.json.Encoder(order="sorted")
"""Writes messages so that sealing seldom has to reorder them: keys sorted, no white space."""
