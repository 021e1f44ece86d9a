"""What is stored of a value that may not be stored: that it is the same again, and how long it was (JRN-18b)."""

from __future__ import annotations

from typing import Any

import msgspec

from web4 import _core
from web4.foundation.digest import canonical


class Hashed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value of class `hashed`, as it is stored: `{"$hash": hex, "len": n}`.

    A field of this class is declared with both types, as in `key: str | Hashed`: `decide` may give the value or its
    hash, `apply` and every reader see the hash only. Short values cannot be guessed without the journal's key.
    """

    hash: str = msgspec.field(name="$hash")
    len: int

    @classmethod
    def of(cls, key: bytes, value: Any) -> Hashed:
        """Hash a text by its UTF-8, bytes as they are, and anything else by its canonical JSON.

        Args:
            key: The journal's hash key, 32 bytes (JRN-18d).
            value: What is to be recognised and not known.

        Raises:
            ValueError: The key has another length, or the value no canonical form.
        """
        if isinstance(value, Hashed):
            return value
        if isinstance(value, str):
            data = value.encode()
        elif isinstance(value, bytes | bytearray | memoryview):
            data = bytes(value)
        else:
            data = canonical(value)
        return cls(_core.blake3_keyed(key, data).hex(), len(data))


def key_check(hash_key: bytes) -> bytes:
    """By what a store recognises its hash key without holding it."""
    return _core.blake3(b"web4 journal hash key check" + hash_key)
