"""The node's identity: its Ed25519 key, where the key is kept, and signatures bound to their purpose."""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING, Final

from web4 import _core
from web4._core import Identity, fingerprint
from web4.foundation.errors import IdentityError, SignatureMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "Identity",
    "check_public_key",
    "did_key",
    "fingerprint",
    "generate_identity",
    "load_identity",
    "save_identity",
    "verify",
    "verify_many",
]

_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_MAX_KEY_FILE: Final = 4096
"""A PKCS#8 PEM document of an Ed25519 key has about 120 bytes."""

_ED25519_MULTICODEC: Final = b"\xed\x01"
_BASE58_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def generate_identity() -> Identity:
    """Make a new identity from the operating system's randomness. It exists in memory until it is saved.

    Raises:
        OSError: There is no randomness.
    """
    return Identity.generate()


def load_identity(path: Path) -> Identity:
    """Read the key file at `path` (ID-2).

    Raises:
        IdentityError: `key_missing`; `key_permissions` if the file or its directory is open to others, is
            owned by somebody else, or is not a plain file; `key_malformed`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise IdentityError(f"no key file at {path}", code="key_missing") from None
    except OSError as error:
        raise IdentityError(f"{path} cannot be opened: {error.strerror}", code="key_permissions") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise IdentityError(f"{path} is not a plain file", code="key_permissions")
        _refuse_wider(path, status, _FILE_MODE)
        _refuse_wider(path.parent, path.parent.stat(), _DIRECTORY_MODE)
        pem = os.read(descriptor, _MAX_KEY_FILE + 1)
    finally:
        os.close(descriptor)
    try:
        if len(pem) > _MAX_KEY_FILE:
            raise ValueError
        return Identity.from_pem(pem.decode("ascii"))
    except (ValueError, _core.CoreError):
        raise IdentityError(
            f"{path} is not a PKCS#8 PEM document with one Ed25519 private key", code="key_malformed"
        ) from None


def save_identity(identity: Identity, path: Path) -> None:
    """Write the key file at `path`: mode 0600, whole or not at all, durable, and never over another file.

    A missing directory is made with mode 0700.

    Raises:
        IdentityError: `key_exists` if anything is at `path`; `key_permissions` if the directory is open to
            others; `key_unwritable`.
    """
    directory = path.parent
    try:
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        _refuse_wider(directory, directory.stat(), _DIRECTORY_MODE)
        if not write_new(path, identity.to_pem().encode("ascii")):
            raise IdentityError(f"{path} exists already and is left alone", code="key_exists")
    except OSError as error:
        raise IdentityError(f"{path} cannot be written: {error.strerror}", code="key_unwritable") from None


def write_new(path: Path, content: bytes) -> bool:
    """Write a durable file, mode 0600 and whole or not at all, or return False if the name is taken. Blocks.

    A hard link, unlike a rename, never replaces what is there.

    Raises:
        OSError: It cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, _FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.link(draft, path, follow_symlinks=False)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return True


def _refuse_wider(path: Path, status: os.stat_result, allowed: int) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if mode & ~allowed:
        raise IdentityError(
            f"{path} has mode {mode:04o}, wider than {allowed:04o}: run `chmod {allowed:04o} {path}`",
            code="key_permissions",
        )
    user = os.geteuid()
    if status.st_uid != user:
        raise IdentityError(
            f"{path} belongs to user {status.st_uid}, not to {user}: run `chown {user} {path}`",
            code="key_permissions",
        )


def did_key(public_key: bytes) -> str:
    """Name a raw Ed25519 public key as `did:key` (multicodec `ed25519-pub`, base58btc) for the outside.

    Raises:
        ValueError: The key has not 32 bytes.
    """
    if len(public_key) != 32:
        raise ValueError("a public key has 32 bytes")
    return "did:key:z" + _base58(_ED25519_MULTICODEC + public_key)


def _base58(data: bytes) -> str:
    """Encode as base58btc: the number in base 58, and one `1` for each leading zero byte."""
    number = int.from_bytes(data)
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_BASE58_ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(digits))


def check_public_key(public_key: bytes, expected_fingerprint: str) -> None:
    """Check that a public key is the one that a fingerprint names (VAL-1, step 7).

    Raises:
        SignatureMismatchError: `identity`.
    """
    if len(public_key) != 32 or fingerprint(public_key) != expected_fingerprint:
        raise SignatureMismatchError("the public key has another fingerprint", code="identity")


def verify(
    public_key: bytes, message: bytes, signature: bytes, *, protocol: str, version: str, purpose: str
) -> None:
    """Verify strictly (SIG-3) that `public_key` signed `message` for one protocol, version and purpose.

    Raises:
        SignatureMismatchError: `signature`, whatever is wrong with key or signature.
        ValueError: Protocol, version or purpose is not 1 to 32 characters of `[a-z0-9._-]`.
    """
    try:
        _core.verify(public_key, message, signature, protocol=protocol, version=version, purpose=purpose)
    except _core.CoreError as error:
        raise SignatureMismatchError(str(error), code="signature") from None


def verify_many(
    checks: Sequence[tuple[bytes, bytes, bytes]], *, protocol: str, version: str, purpose: str
) -> tuple[int, ...]:
    """Verify many `(public_key, message, signature)`, each strictly and by itself, spread over the cores.

    Blocks the calling task for about 20 µs a signature on two cores: bound the batch.

    Returns:
        The positions of those that do not verify, ascending. It is for the caller to refuse them.

    Raises:
        ValueError: As `verify`.
    """
    return tuple(_core.verify_many(checks, protocol=protocol, version=version, purpose=purpose))
