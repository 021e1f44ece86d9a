"""Floor 1: lanes of events, each gap-free, hash-chained and durable before anybody hears of it (JRN-1 to JRN-24).

    async with open_sqlite(directory) as store, open_journal(store, registry=EventRegistry(TYPES)) as journal:
        await journal.append(Lane("session", "one"), [NewEvent(Noted(text="hello"), at)], expected_seq=0)

Stores are opened by `web4.journal.backends.sqlite.open_sqlite`, `….postgresql.open_postgresql` and
`….memory.open_memory`. History, verification, repair, retention, bundles and replay are modules of their own.
"""

from web4.journal.draft import Append, NewEvent, Prepared
from web4.journal.errors import (
    BlobNotFoundError,
    Compacted,
    CorruptJournalError,
    CursorAhead,
    InvalidEventError,
    JournalError,
    JournalLocked,
    JournalOpenError,
    JournalUnavailable,
    LaneHalted,
    NotWriterError,
    ProhibitedDataError,
    RedactionError,
    WrongExpectedSeq,
)
from web4.journal.event_types import EventRegistry, EventType
from web4.journal.following import Follower
from web4.journal.journal import Journal
from web4.journal.lane import GOVERNANCE, KNOWLEDGE, SERVER, Lane
from web4.journal.limits import JournalLimits
from web4.journal.opening import open_journal
from web4.journal.record import Appended, Head, OpenWork, Record, Snapshot

__all__ = [
    "GOVERNANCE",
    "KNOWLEDGE",
    "SERVER",
    "Append",
    "Appended",
    "BlobNotFoundError",
    "Compacted",
    "CorruptJournalError",
    "CursorAhead",
    "EventRegistry",
    "EventType",
    "Follower",
    "Head",
    "InvalidEventError",
    "Journal",
    "JournalError",
    "JournalLimits",
    "JournalLocked",
    "JournalOpenError",
    "JournalUnavailable",
    "Lane",
    "LaneHalted",
    "NewEvent",
    "NotWriterError",
    "OpenWork",
    "Prepared",
    "ProhibitedDataError",
    "Record",
    "RedactionError",
    "Snapshot",
    "WrongExpectedSeq",
    "open_journal",
]
