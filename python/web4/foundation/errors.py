"""The one error base and the registry of stable codes (ERR-1).

Each room owns its leaves: a leaf declares the codes it can carry, and declaring is registering. A code is a
lowercase word that never changes its meaning; texts may change and never contain a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One stable code: what went wrong, and what the runtime did about it."""

    code: str
    meaning: str
    effect: str


class Web4Error(Exception):
    """Base of every error that Web4 raises on purpose.

    Args:
        message: What was wrong and, where it helps, what to do. Never a secret, never payload bytes.
        code: One of the codes the class declares; the first of them when left out.
        msg_id: The envelope concerned.
        peer: Fingerprint of the peer to whom the failure is charged (VAL-4, RTT-9), never a claimed name.
        field: Dotted path of the field that was wrong.
        retry_after_ms: Earliest sensible retry, in milliseconds; absent when a retry is pointless or free.
    """

    codes: ClassVar[tuple[ErrorCode, ...]] = ()
    registry: ClassVar[dict[str, type[Web4Error]]] = {}
    """Every leaf by its class name, for the reference and for the test that keeps it complete."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for entry in cls.codes:
            if not entry.code.replace("_", "").isalnum() or entry.code != entry.code.lower():
                raise TypeError(f"{cls.__name__}: {entry.code!r} is not a lowercase code word")
        Web4Error.registry[cls.__name__] = cls

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        msg_id: str | None = None,
        peer: str | None = None,
        field: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        known = [entry.code for entry in self.codes]
        if code is None and known:
            code = known[0]
        if code not in known:
            raise ValueError(f"{type(self).__name__} declares {known}, not {code!r}")
        super().__init__(message)
        self.code = code
        self.msg_id = msg_id
        self.peer = peer
        self.field = field
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        where = f" (field {self.field})" if self.field else ""
        return f"{self.code}: {super().__str__()}{where}"
