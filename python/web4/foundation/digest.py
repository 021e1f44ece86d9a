"""Canonical bytes and their BLAKE3-256, as every room names things (SIG-1, SIG-4)."""

from __future__ import annotations

from typing import Any

from web4 import _core
from web4.foundation.codec import ENCODER


def blake3_hex(data: bytes) -> str:
    """Give the BLAKE3-256 of `data` in lowercase hex."""
    return _core.blake3(data).hex()


def canonical(value: Any) -> bytes:
    """Give the RFC 8785 bytes of a JSON value or message (SIG-1).

    Raises:
        ValueError: The value has no canonical form: an integer beyond 2⁵³-1, NaN, a lone surrogate.
    """
    try:
        return _core.canonicalize(ENCODER.encode(value))
    except (_core.CoreError, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None
