"""Values on their way into a lane and back: small ones inline, bytes and large ones in blobs (JRN-2, JRN-8)."""

from __future__ import annotations

from copy import deepcopy
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from web4.extensions.calls.call_events import Kept, KeptBlob
from web4.foundation.codec import ENCODER
from web4.foundation.digest import canonical
from web4.journal.errors import CorruptJournalError, JournalUnavailable

if TYPE_CHECKING:
    from web4.journal.journal import Journal

INLINE_BYTES: Final = 64 * 1024
"""Canonical JSON that is kept in the record itself, at most; less where the journal takes smaller payloads."""
MAX_BLOBS: Final = 64
"""Pieces of bytes in one value."""
_DEEPEST: Final = 100
_PASSING: Final = frozenset({"busy", "suspended", "outcome_unknown"})
_AGAIN_SECONDS: Final = 0.1
_AGAIN_MOST_SECONDS: Final = 5.0


class UnkeptError(ValueError):
    """A value that no lane can keep. `str()` says why, without contents."""


async def kept(journal: Journal, value: Any) -> Kept:
    """Make a value one that an event can hold. What goes into blobs is durable when this returns.

    While the journal cannot write it waits, for as long as that takes: what a worker did must not be forgotten because
    a disk is full (JRN-15a).

    Cancellation: blobs may stay behind that nothing refers to; they are collected (JRN-8c).

    Args:
        journal: Where the event will go.
        value: What msgpack can say: JSON values and bytes.

    Raises:
        UnkeptError: It is no JSON beside its bytes, has too many pieces of them, or is too deep.
        JournalError: A blob was refused, or the journal was closed.
    """
    pieces: list[tuple[str, bytes]] = []
    inline = _without_bytes(value, "", pieces, _DEEPEST)
    text, fits = _written(inline)
    blobs = [KeptBlob(at=at, blob=await _put(journal, data), size=len(data)) for at, data in pieces]
    if not fits or len(text) > min(INLINE_BYTES, journal.limits.payload_bytes // 4):
        blobs.insert(0, KeptBlob(at="", blob=await _put(journal, text), size=len(text), json=True))
        inline = None
    return Kept(inline=inline, blobs=tuple(blobs))


async def restored(journal: Journal, value: Kept) -> Any:
    """Give a value back as it was, with `[redacted:name]` where a secret of the node stood.

    Raises:
        BlobNotFoundError: A blob of it is gone.
        CorruptJournalError: `blob`: a blob is not what its name says, or does not fit.
    """
    found = deepcopy(value.inline) if value.blobs else value.inline
    for one in value.blobs:
        data = await journal.get_blob(one.blob)
        try:
            piece = msgspec.json.decode(data) if one.json else data
            found = piece if not one.at else _put_in(found, one.at, piece)
        except (ValueError, LookupError, TypeError):
            raise CorruptJournalError(f"blob {one.blob} does not fit where it belongs", code="blob") from None
    return found


def _written(value: Any) -> tuple[bytes, bool]:
    """The value's JSON, and whether an event could hold it: numbers of more than 53 bits have no canonical form."""
    try:
        return canonical(value), True
    except ValueError:
        pass
    try:
        return ENCODER.encode(value), False
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise UnkeptError("it cannot be written as JSON") from None


async def _put(journal: Journal, data: bytes) -> str:
    pause = _AGAIN_SECONDS
    while True:
        try:
            return await journal.put_blob(data)
        except JournalUnavailable as error:
            if error.code not in _PASSING:
                raise
        await trio.sleep(pause)
        pause = min(2 * pause, _AGAIN_MOST_SECONDS)


def _without_bytes(value: Any, at: str, pieces: list[tuple[str, bytes]], depth: int) -> Any:
    """A copy with None for every piece of bytes, which goes to `pieces` with its place."""
    if depth == 0:
        raise UnkeptError(f"it is deeper than {_DEEPEST}")
    if isinstance(value, bytes | bytearray | memoryview):
        if len(pieces) >= MAX_BLOBS:
            raise UnkeptError(f"it holds more than {MAX_BLOBS} pieces of bytes")
        pieces.append((at, bytes(value)))
        return None
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise UnkeptError("it has a key that is no text")
        return {
            key: _without_bytes(one, f"{at}/{_escaped(key)}", pieces, depth - 1) for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_bytes(one, f"{at}/{index}", pieces, depth - 1) for index, one in enumerate(value)]
    if isinstance(value, float) and not isfinite(value):
        raise UnkeptError("it holds what is no number")
    return value


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _put_in(value: Any, at: str, piece: Any) -> Any:
    """Put a piece where a JSON pointer says, into a value that is nobody else's; the value."""
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in at.split("/")[1:]]
    here = value
    for part in way:
        here = here[int(part)] if isinstance(here, list) else here[part]
    if isinstance(here, list):
        here[int(last)] = piece
    else:
        here[last] = piece
    return value
