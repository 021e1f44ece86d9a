"""Ids and nonces as they are given to us, so that equal inputs give equal transcripts (WEB-2, HS-9)."""

from __future__ import annotations

import os
import random
import uuid
from typing import Protocol


class IdSource(Protocol):
    """Where ids and nonces come from. Tests and `--seed` bring their own."""

    def uuid4(self) -> str:
        """A lowercase version 4 UUID."""
        ...

    def token(self, size: int) -> bytes:
        """Random bytes for nonces, challenges and session ids."""
        ...


class SystemIds:
    """The operating system's randomness."""

    def uuid4(self) -> str:
        """See `IdSource.uuid4`."""
        digits = os.urandom(16).hex()  # the standard library's way takes five times as long
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"

    def token(self, size: int) -> bytes:
        """See `IdSource.token`."""
        return os.urandom(size)


class SeededIds:
    """Repeatable ids for simulations and demos. Never for a node that means it: they can be guessed."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def uuid4(self) -> str:
        """See `IdSource.uuid4`."""
        return str(uuid.UUID(bytes=self._random.randbytes(16), version=4))

    def token(self, size: int) -> bytes:
        """See `IdSource.token`."""
        return self._random.randbytes(size)
