"""What fetches left in a journal, for whoever has the journal alone: a command line, an auditor (FETCH-10).

The journal's registry has to know `FETCH_EVENTS`. Titles, excerpts and bodies are the sites' words: a terminal must not
be shown them as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.protocols.lip.archive import Archived, write_warc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import BinaryIO

    from web4.journal.journal import Journal
    from web4.journal.record import Record
    from web4.protocols.lip.fetch_events import FetchConcluded
    from web4.protocols.lip.fetching.record import FetchRecord

MAX_LISTED: Final = 1_000
"""Records that are listed at once."""


async def records_of(journal: Journal, digest: str) -> list[FetchRecord]:
    """The records of all fetches that gave a body, by its BLAKE3 in hex; the oldest first, at most `MAX_LISTED`.

    Raises:
        CorruptJournalError: One of them cannot be read.
    """
    return _succeeded(journal, await journal.backend.find(("evidence", digest), limit=MAX_LISTED))


async def recent_records(journal: Journal, limit: int = 50) -> list[FetchRecord]:
    """The records of the last fetches that succeeded, the newest first; at most `MAX_LISTED`.

    Raises:
        CorruptJournalError: One of them cannot be read.
    """
    found = await journal.backend.find(("fetch", "ok"), reverse=True, limit=min(limit, MAX_LISTED))
    return _succeeded(journal, found)


async def export_warc(journal: Journal, records: Sequence[FetchRecord], file: BinaryIO) -> None:
    """Write fetches as a WARC file. Blocks while it writes.

    Raises:
        BlobNotFoundError: A body was collected or erased.
        OSError: The file cannot be written.
    """
    whole = [
        Archived(one, await journal.get_blob(one.head), await journal.get_blob(one.body)) for one in records
    ]
    write_warc(file, whole)


def _succeeded(journal: Journal, records: Iterable[Record]) -> list[FetchRecord]:
    found = []
    for one in records:
        if one.type == "lip.fetch_concluded" and one.payload is not None:
            concluded: FetchConcluded = journal.registry.decode(one)
            if concluded.record is not None:
                found.append(concluded.record)
    return found
