"""The native core of Web4. Private: the rooms of `web4` give these names their public shape."""

from collections.abc import Sequence
from typing import final

__all__ = [
    "CoreError",
    "Envelope",
    "Identity",
    "blake3",
    "build_info",
    "canonicalize",
    "fingerprint",
    "parse_envelope",
    "seal_envelope",
    "verify",
    "verify_envelopes",
    "verify_many",
]

class CoreError(Exception):
    """The native core refuses something."""

    code: str
    """A stable code."""
    field: str | None
    """The dotted path of the field concerned, if it is one."""

@final
class Identity:
    """An agent's Ed25519 key pair (ID-1). Its repr shows the fingerprint only; it cannot be pickled."""

    @staticmethod
    def generate() -> Identity:
        """A new identity from the operating system's randomness.

        Raises:
            OSError: There is none.
        """

    @staticmethod
    def from_seed(seed: bytes, /) -> Identity:
        """The identity that belongs to a seed: the 32 bytes that RFC 8032 calls the private key.

        Raises:
            ValueError: The seed has another length.
        """

    @staticmethod
    def from_pem(pem: str, /) -> Identity:
        """Reads a PKCS#8 PEM document.

        Raises:
            CoreError: `key_malformed`.
        """

    def to_pem(self) -> str:
        """The private key as a PKCS#8 PEM document: whoever reads it is this agent."""

    @property
    def public_key(self) -> bytes:
        """The raw public key, 32 bytes."""

    @property
    def fingerprint(self) -> str:
        """Lowercase hex BLAKE3-256 of the raw public key."""

    def sign(self, message: bytes, /, *, protocol: str, version: str, purpose: str) -> bytes:
        """Sign `message` for one protocol, version and purpose, and for no other (SIG-2); 64 bytes.

        Raises:
            ValueError: Protocol, version or purpose is not 1 to 32 characters of `[a-z0-9._-]`.
        """

@final
class Envelope:
    """An envelope in canonical form. Nothing of it is verified until `verify` has returned."""

    @property
    def protocol(self) -> str:
        """`cip`, `hcp` or `lip`."""

    @property
    def version(self) -> str:
        """The protocol's version as it is written; whether it is known is the protocol's business."""

    @property
    def type(self) -> str:
        """The type as it is written; whether it is known is the protocol's business."""

    @property
    def msg_id(self) -> str | None:
        """The message id, if there is one and it is a string."""

    @property
    def timestamp(self) -> str | None:
        """The timestamp as it is written, if there is one and it is a string."""

    @property
    def payload(self) -> bytes | None:
        """The canonical bytes of the payload, if there is one."""

    @property
    def data(self) -> bytes:
        """The canonical bytes of the whole envelope: the object that was parsed, not a copy."""

    @property
    def content_digest(self) -> str:
        """Lowercase hex BLAKE3-256 of the canonical bytes without `sign` and `timestamp` (SIG-5).

        Computed on each use.
        """

    def verify(self, public_key: bytes, /) -> None:
        """Verify the envelope's signature strictly against a raw public key (SIG-3).

        Raises:
            CoreError: `field` if `sign` is missing or not written in the one right way; `signature` if it
                does not verify.
        """

def build_info() -> tuple[str, str]:
    """Version and build profile (`release` or `debug`) of the native core."""

def blake3(data: bytes, /) -> bytes:
    """The BLAKE3-256 of `data`, 32 bytes."""

def canonicalize(data: bytes, /) -> bytes:
    """The canonical form (RFC 8785) of strict JSON (SIG-1).

    Raises:
        CoreError: `syntax`.
    """

def fingerprint(public_key: bytes, /) -> str:
    """The fingerprint of a raw public key: lowercase hex of its BLAKE3-256 (ID-1).

    Raises:
        ValueError: The key has not 32 bytes.
    """

def parse_envelope(data: bytes, /, max_bytes: int) -> Envelope:
    """Check size, strict canonical syntax and the discriminator of `data` (VAL-1, steps 1 to 3).

    Raises:
        CoreError: `too_large`, `syntax`, `not_canonical`, `discriminator`, `version` (it is no short string)
            or `unknown_type` (it is missing or no string).
    """

def seal_envelope(identity: Identity, unsigned: bytes, /, max_bytes: int) -> bytes:
    """Sign an envelope that has no `sign` yet; the canonical bytes of the whole.

    Fastest when `unsigned` is in canonical form already; any other spelling of strict JSON is rewritten.

    Raises:
        CoreError: As `parse_envelope`, but never `not_canonical`; `field` if there is a `sign` already.
    """

def verify(
    public_key: bytes, message: bytes, signature: bytes, /, *, protocol: str, version: str, purpose: str
) -> None:
    """Verify strictly that `public_key` signed `message` for one protocol, version and purpose (SIG-3).

    Raises:
        CoreError: `signature`, whatever is wrong with key or signature.
        ValueError: As `Identity.sign`.
    """

def verify_many(
    checks: Sequence[tuple[bytes, bytes, bytes]], /, *, protocol: str, version: str, purpose: str
) -> list[int]:
    """Verify many `(public_key, message, signature)`, each strictly and by itself, over the cores.

    Returns:
        The positions of those that do not verify, ascending.

    Raises:
        ValueError: As `Identity.sign`.
    """

def verify_envelopes(pairs: Sequence[tuple[Envelope, bytes]], /) -> list[int]:
    """Verify many `(envelope, public_key)`, each strictly and by itself, over the cores.

    Returns:
        The positions of those that do not verify, ascending.
    """
