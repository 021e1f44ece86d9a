"""Removing blobs that nothing refers to any more (JRN-8c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from web4.journal.bundle.export import exports_open
from web4.journal.compaction import scrub
from web4.journal.errors import JournalUnavailable, NotCommittedError
from web4.journal.holds import turn
from web4.journal.references import blob_names

if TYPE_CHECKING:
    from web4.journal.backends.backend import Backend
    from web4.journal.journal import Journal
    from web4.journal.lane import Lane

GRACE_MS: Final = 3_600_000
"""How long a blob may be there before the event that refers to it (JRN-8c)."""
MOST: Final = 100_000
"""Blobs that one run looks at: their names are held in memory."""
_PAGE: Final = 200


class Collected(NamedTuple):
    """What a run came to. `more`: whether there were more candidates than one run looks at."""

    removed: int
    bytes: int
    more: bool


async def collect_blobs(journal: Journal, *, grace_ms: int = GRACE_MS, now: int | None = None) -> Collected:
    """Remove the blobs, older than the grace, whose names stand in no record and no snapshot.

    Nothing is removed while this process writes a bundle. A blob that is stored again meanwhile is as new.

    Args:
        journal: Open for writing.
        grace_ms: Milliseconds since the blob was stored, or stored again, that it stays in any case.
        now: From when the grace counts; the journal's clock if left out.

    Raises:
        JournalUnavailable: `suspended`: the store cannot be written now.
        JournalError: Records cannot be read: what they refer to is not known, so nothing is removed.

    Cancellation: between two blobs.
    """
    before = (journal.clock.wall_ms() if now is None else now) - grace_ms
    backend = journal.backend
    async with turn(journal):
        if exports_open(backend):
            return Collected(0, 0, more=False)
        candidates, more = await _candidates(backend, before)
        seen = await _drop_referred(backend, candidates, 0)
        removed = size = 0
        while candidates and not exports_open(backend):
            # What was appended since the last look counts too, as does a blob that was stored again.
            seen = await _drop_referred(backend, candidates, seen)
            if not candidates:
                break
            name, held = candidates.popitem()
            at = await _stored_at(backend, name)
            if at is None or at > before:
                continue
            try:
                # It may be stored again between the look and this: then it stays.
                await backend.delete_blob(name, before=before)
            except NotCommittedError as error:
                raise JournalUnavailable(f"a blob was not removed: {error}", code="suspended") from None
            removed += 1
            size += held
        if removed:
            await scrub(journal)
    return Collected(removed, size, more)


async def _candidates(backend: Backend, before: int) -> tuple[dict[str, int], bool]:
    """Names and sizes of blobs that are old enough, and whether there are more."""
    found: dict[str, int] = {}
    after = ""
    while page := await backend.blobs(after=after, limit=_PAGE):
        for name, size, at in page:
            if at <= before:
                if len(found) == MOST:
                    return found, True
                found[name] = size
        after = page[-1][0]
    return found, False


async def _drop_referred(backend: Backend, candidates: dict[str, int], after: int) -> int:
    """Take away the candidates that records after a position, or any snapshot, refer to; the last position seen."""
    first = after == 0
    while candidates:
        records = await backend.scan(after=after, limit=_PAGE)
        for record in records:
            for name in blob_names(record.payload):
                candidates.pop(name, None)
        if not records:
            break
        after = records[-1].position
    lane: Lane | None = None
    while first and candidates and (page := await backend.heads(after=lane, limit=_PAGE)):
        for lane, _ in page:
            for snapshot in await backend.snapshots(lane):
                # States are long and seldom have names in them: others may run in between.
                await trio.lowlevel.checkpoint()
                for name in blob_names(snapshot.state):
                    candidates.pop(name, None)
    return after


async def _stored_at(backend: Backend, name: str) -> int | None:
    """When a blob was stored last; None if it is gone. At most sixteen names share all but the last digit."""
    for found, _, at in await backend.blobs(after=name[:-1], limit=16):
        if found == name:
            return at
    return None
