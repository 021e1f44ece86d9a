"""The one error base and the registry of stable codes (ERR-1).

Each room owns its leaves: a leaf declares the codes it can carry, and declaring is registering. A code is a
lowercase word that never changes its meaning; texts may change and never contain a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from typing import Self

_CODE_WORD = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


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
            if not _CODE_WORD.fullmatch(entry.code):
                raise TypeError(f"{cls.__name__}: {entry.code!r} is not a lowercase code word")
            if not (entry.meaning and entry.effect):
                raise TypeError(f"{cls.__name__}: {entry.code!r} lacks its meaning or its effect")
        known = Web4Error.registry.setdefault(cls.__name__, cls)
        if known is not cls:
            raise TypeError(f"{cls.__name__} is declared by {known.__module__} and {cls.__module__}")

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

    def again(self) -> Self:
        """The same error for another task: one that many raise would collect the tracebacks of all of them."""
        other = type(self).__new__(type(self), *self.args)
        vars(other).update(vars(self))
        other.__cause__ = self.__cause__
        return other

    def __str__(self) -> str:
        where = f" (field {self.field})" if self.field else ""
        return f"{self.code}: {super().__str__()}{where}"


class EnvelopeError(Web4Error):
    """An envelope that is refused. The rooms above add their own leaves (section 21 of the specification)."""


class InvalidEnvelopeError(EnvelopeError):
    """Not an envelope that this node may handle: VAL-1, steps 1 to 4 and 6, and the handshake's order."""

    codes = (
        ErrorCode("too_large", "Longer than the size limit (ENV-3).", "Refused unread, counted."),
        ErrorCode("syntax", "Not strict JSON (SIG-1).", "Refused, counted."),
        ErrorCode("not_canonical", "Strict JSON, but not in canonical form (SIG-1).", "Refused, counted."),
        ErrorCode(
            "discriminator", "Not an object with exactly one of cip, hcp, lip, mesh.", "Refused, counted."
        ),
        ErrorCode("version", "A version of the protocol that this node does not speak.", "Refused, counted."),
        ErrorCode("unknown_type", "No type of this protocol (ENV-3).", "Refused, counted."),
        ErrorCode("field", "A field is missing, unknown, or has a wrong type or value.", "Refused, counted."),
        ErrorCode("misaddressed", "The receiver is not this node.", "Refused, counted."),
        ErrorCode("wrong_channel", "The type does not belong on this channel (CIP-1).", "Refused, counted."),
        ErrorCode("out_of_turn", "The handshake does not expect this now (HS-3).", "The handshake fails."),
        ErrorCode("no_common_protocol", "No common version of cip (HS-4).", "The handshake fails."),
    )


class SignatureMismatchError(EnvelopeError):
    """What was said is not proven to come from whom it names."""

    codes = (
        ErrorCode(
            "signature",
            "The signature does not verify.",
            "Refused; `auth_failure` of the session's peer (VAL-4).",
        ),
        ErrorCode(
            "identity",
            "The sender's fingerprint is not that of the session's peer, or not that of the public key.",
            "Refused before the signature is looked at; `malicious_evidence` of the session's peer (VAL-4).",
        ),
    )


class IdentityError(Web4Error):
    """The node's key file cannot be used (ID-2). Messages name the file and what to do, never the key."""

    codes = (
        ErrorCode("key_missing", "There is no key file.", "The node does not start."),
        ErrorCode("key_permissions", "Others could read or replace the key.", "The node does not start."),
        ErrorCode(
            "key_malformed", "The file is not an Ed25519 key in PKCS#8 PEM.", "The node does not start."
        ),
        ErrorCode("key_exists", "A key is already there.", "It is left alone; nothing is written."),
        ErrorCode("key_unwritable", "The key could not be written.", "No key file is left behind."),
    )
