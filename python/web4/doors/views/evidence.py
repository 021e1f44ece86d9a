"""What was fetched and kept: `evidence_show`, and its export as WARC (FETCH-10). And what trust events cite."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import trio

from web4.doors.views.errors import ExportRefused, UnknownName
from web4.doors.views.naming import by_prefix
from web4.journal.errors import BlobNotFoundError
from web4.protocols.lip.fetch_events import FETCH_EVENTS
from web4.protocols.lip.kept import MAX_LISTED, export_warc, recent_records, records_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from web4.doors.views.reading import Reading
    from web4.protocols.lip.fetching.record import FetchRecord

MOST_BYTES: Final = 128 * 1024 * 1024
"""Of bodies in one file."""
_WHOLE: Final = 64


class WhichEvidence(msgspec.Struct, frozen=True):
    """The payload of `evidence_show`.

    Args:
        digest: BLAKE3 of a body that was fetched or of an envelope that a trust event cites, or the first digits of
            a body's; None for the last fetches.
        limit: How many of the last.
    """

    digest: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20


async def evidence_show(reading: Reading, asked: WhichEvidence) -> Mapping[str, Any]:
    """`{fetches: [row], envelope}`: how bodies came here, and the head of an envelope that is kept."""
    _know(reading)
    if asked.digest is None:
        found = await recent_records(reading.journal, asked.limit)
        return {"fetches": [fetch_row(one) for one in found], "envelope": None}
    fetched = await _named(reading, asked.digest)
    envelope = None if fetched else await _envelope(reading, asked.digest.lower())
    if not fetched and envelope is None:
        raise UnknownName(f"no evidence {asked.digest[:80]!r} is kept here", code="unknown_name")
    return {"fetches": [fetch_row(one) for one in fetched], "envelope": envelope}


def fetch_row(record: FetchRecord) -> dict[str, Any]:
    """A fetch: all of its record but the names of blobs. Title and excerpt are the site's words."""
    shown: dict[str, Any] = msgspec.to_builtins(record)
    return {name: value for name, value in shown.items() if name not in {"body", "text", "head"}}


async def export_evidence(reading: Reading, path: Path, digests: Sequence[str]) -> Mapping[str, Any]:
    """Write fetches as a WARC file, whole or not at all, and never over another file: `{file, fetches, bytes}`.

    Args:
        reading: Whose.
        path: Absolute.
        digests: Of bodies, or first digits; none for the last fetches, `MAX_LISTED` at most.

    Raises:
        UnknownName: A digest is not here.
        ExportRefused: `nothing_kept`, `target_exists`, `unwritable`, `too_much`.
        BlobNotFoundError: A body was collected or erased.
    """
    _know(reading)
    records: list[FetchRecord] = []
    for one in digests:
        found = await _named(reading, one)
        if not found:
            raise UnknownName(f"no body {one[:80]!r} was fetched here", code="unknown_name")
        records += [record for record in found if record not in records]
    if not digests:
        records = (await recent_records(reading.journal, MAX_LISTED))[::-1]
    if not records:
        raise ExportRefused("nothing was fetched yet", code="nothing_kept")
    size = sum(one.body_bytes for one in records)
    if size > MOST_BYTES:
        raise ExportRefused(f"{size:,} bytes, {MOST_BYTES:,} at once: name digests", code="too_much")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    file = await trio.to_thread.run_sync(_begun, draft, path)
    try:
        with file:
            await export_warc(reading.journal, records, file)
            await trio.to_thread.run_sync(_synced, file)
        await trio.to_thread.run_sync(_placed, draft, path)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_removed, draft)
    return {"file": str(path), "fetches": len(records), "bytes": size}


def _know(reading: Reading) -> None:
    for one in FETCH_EVENTS:
        reading.journal.registry.register(one)


async def _named(reading: Reading, word: str) -> list[FetchRecord]:
    """The fetches of a body; a prefix is looked for among the last ones."""
    digest = word.lower()
    if len(digest) == _WHOLE:
        return await records_of(reading.journal, digest)
    known = {one.body_blake3 for one in await recent_records(reading.journal, MAX_LISTED)}
    return await records_of(reading.journal, by_prefix(word, known, what="body"))


async def _envelope(reading: Reading, digest: str) -> dict[str, Any] | None:
    """The head of an envelope that is kept under its digest. What it says is between its two ends."""
    try:
        data = await reading.journal.get_blob(f"b3:{digest}")
        document = msgspec.json.decode(data)
    except (BlobNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(document, dict) or "msg_id" not in document or "sender" not in document:
        return None
    names = ("cip", "hcp", "lip", "type", "msg_id", "timestamp")
    sender = document["sender"]
    return {
        "blake3": digest,
        "bytes": len(data),
        **{name: document[name] for name in names if name in document},
        "sender": sender.get("fingerprint") if isinstance(sender, dict) else None,
    }


def _begun(draft: Path, path: Path) -> BinaryIO:
    if os.path.lexists(path):
        raise ExportRefused(f"{path} exists already and is left alone", code="target_exists")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ExportRefused(f"{path} cannot be written: {error.strerror}", code="unwritable") from None
    return os.fdopen(descriptor, "wb")


def _synced(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _placed(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path, follow_symlinks=False)  # a hard link never replaces what is there
    except FileExistsError:
        raise ExportRefused(f"{path} exists already and is left alone", code="target_exists") from None
    except OSError as error:
        raise ExportRefused(f"{path} cannot be written: {error.strerror}", code="unwritable") from None


def _removed(draft: Path) -> None:
    draft.unlink(missing_ok=True)


QUESTIONS: Final = {"evidence_show": (WhichEvidence, evidence_show)}
