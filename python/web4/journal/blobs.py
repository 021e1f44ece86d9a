"""Values too large for a record, stored under the hash of their bytes (JRN-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4 import _core
from web4.journal.errors import (
    BlobNotFoundError,
    CorruptJournalError,
    InvalidEventError,
    JournalUnavailable,
    NotCommittedError,
)

if TYPE_CHECKING:
    from web4.journal.backends.backend import Backend
    from web4.journal.redaction import Redactor


def blob_name(data: bytes) -> str:
    """The name under which events refer to these bytes."""
    return f"b3:{_core.blake3(data).hex()}"


async def put_blob(backend: Backend, redactor: Redactor, data: bytes, *, at: int, limit: int) -> str:
    """Store bytes durably, without the secrets in them; their name. See `Journal.put_blob`."""
    if len(data) > limit:
        raise InvalidEventError(f"a blob of {len(data)} bytes, {limit} are allowed", code="blob_too_large")
    data = redactor.scrub_bytes(data)
    name = blob_name(data)
    try:
        await backend.put_blob(name, data, at=at)
    except NotCommittedError as error:
        raise JournalUnavailable(f"the blob was not stored: {error}", code="suspended") from None
    return name


async def get_blob(backend: Backend, name: str) -> bytes:
    """Read a blob, verified (JRN-8a). See `Journal.get_blob`."""
    data = await backend.blob(name)
    if data is None:
        raise BlobNotFoundError(f"no blob {name}")
    if blob_name(data) != name:
        raise CorruptJournalError(f"blob {name} is not what its name says", code="blob")
    return data
