"""The generic envelope: parse, verify, seal (sections 3 and 4 of the specification).

`parse` and `verify` are two calls because schema checks stand between them (VAL-1). What a type means, and
which versions and types are known, belongs to the protocol's room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from web4 import _core
from web4._core import Envelope
from web4.foundation.errors import EnvelopeError, InvalidEnvelopeError, SignatureMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.foundation.identity import Identity

__all__ = [
    "DEFAULT_MAX_BYTES",
    "LARGEST_MAX_BYTES",
    "Envelope",
    "open_many",
    "parse",
    "seal",
    "seal_many",
    "verify",
    "verify_many",
    "with_hop",
]

DEFAULT_MAX_BYTES: Final = 192 * 1024
"""How long a canonical envelope may be unless configured otherwise, in bytes (section 22)."""

LARGEST_MAX_BYTES: Final = 256 * 1024
"""No configuration allows longer envelopes (ENV-3), in bytes."""


def parse(data: bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> Envelope:
    """Check size, strict canonical syntax and the discriminator (VAL-1, steps 1 to 3). Verifies nothing.

    Raises:
        InvalidEnvelopeError: `too_large`, `syntax`, `not_canonical`, `discriminator`; `version` or
            `unknown_type` if they are not even short strings.
    """
    try:
        return _core.parse_envelope(data, max_bytes)
    except _core.CoreError as error:
        _refuse(error)


def open_many(
    data: list[bytes], public_key: bytes, *, max_bytes: int = DEFAULT_MAX_BYTES
) -> list[Envelope | None]:
    """Parse many envelopes of one signer at once, over the cores; what `parse` refuses is None, and it says why.

    Digests and signature are worked out with it: `verify` with the same key then only says what came of it, so that
    the order of VAL-1 stays the caller's. Blocks the calling task for about 20 µs an envelope: bound the batch.
    """
    return _core.open_envelopes(data, public_key, max_bytes)


def verify(envelope: Envelope, public_key: bytes, *, peer: str | None = None) -> None:
    """Verify the envelope's own signature strictly against a raw public key (VAL-1, step 9; SIG-3).

    Args:
        envelope: What `parse` returned, its schema checked meanwhile.
        public_key: The raw key of the session's proven peer, 32 bytes.
        peer: The fingerprint to which a failure is charged (VAL-4).

    Raises:
        InvalidEnvelopeError: `field` if `sign` is missing or not written in the one right way (SIG-4).
        SignatureMismatchError: `signature`.
    """
    try:
        envelope.verify(public_key)
    except _core.CoreError as error:
        _refuse(error, msg_id=envelope.msg_id, peer=peer)


def verify_many(pairs: Sequence[tuple[Envelope, bytes]]) -> tuple[int, ...]:
    """Verify many `(envelope, public_key)`, each strictly and by itself, spread over the cores (SIG-3).

    Blocks the calling task for about 20 µs an envelope on two cores: bound the batch.

    Returns:
        The positions of those that do not verify, ascending. It is for the caller to refuse them; `verify`
        says why.
    """
    return tuple(_core.verify_envelopes(pairs))


def seal(identity: Identity, unsigned: bytes, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """Sign an envelope that has no `sign` yet, and bring it into canonical form.

    Args:
        identity: Who signs.
        unsigned: Strict JSON in any spelling; the canonical one is the fastest.
        max_bytes: How long the result may be.

    Raises:
        InvalidEnvelopeError: As `parse`, but never `not_canonical`; `field` if there is a `sign` already.
    """
    try:
        return _core.seal_envelope(identity, unsigned, max_bytes)
    except _core.CoreError as error:
        _refuse(error)


def seal_many(
    identity: Identity, unsigned: list[bytes], *, max_bytes: int = DEFAULT_MAX_BYTES
) -> list[bytes]:
    """Sign many envelopes at once, over the cores. See `seal`.

    Raises:
        InvalidEnvelopeError: As `seal`, about the first that is refused.
    """
    try:
        return _core.seal_envelopes(identity, unsigned, max_bytes)
    except _core.CoreError as error:
        _refuse(error)


def with_hop(envelope: Envelope, hop: str) -> bytes:
    """The canonical bytes of a mesh envelope with one more entry of `hops` (MESH-3, step 7).

    The origin signs everything but `hops` and `sign`: its signature stays as good as it was.

    Raises:
        InvalidEnvelopeError: `field`: this is no mesh envelope, its `hops` is no list, or `hop` is no plain word.
    """
    try:
        return envelope.with_hop(hop)
    except _core.CoreError as error:
        _refuse(error, msg_id=envelope.msg_id)


def _refuse(error: _core.CoreError, *, msg_id: str | None = None, peer: str | None = None) -> NoReturn:
    leaf: type[EnvelopeError] = SignatureMismatchError if error.code == "signature" else InvalidEnvelopeError
    raise leaf(str(error), code=error.code, field=error.field, msg_id=msg_id, peer=peer) from None
