"""Errors of the journal. Messages name lanes, numbers and fields, never what a payload says."""

from __future__ import annotations

from typing import ClassVar

from web4.foundation.errors import ErrorCode, Web4Error


class JournalError(Web4Error):
    """Base of what goes wrong between a caller and its journal."""


class InvalidEventError(JournalError):
    """An event that this journal does not take (JRN-4e). Nothing was queued."""

    codes = (
        ErrorCode("event", "Its header has a field that does not fit.", "Nothing is written."),
        ErrorCode("lane", "No lane has this name (JRN-1).", "Nothing is written."),
        ErrorCode("unregistered", "No such type or version is registered (JRN-9).", "Nothing is written."),
        ErrorCode("payload_too_large", "The payload passes the limit (JRN-2).", "Nothing is written."),
        ErrorCode("not_canonical", "The payload has no canonical form.", "Nothing is written."),
        ErrorCode("unreadable", "What would be stored does not fit its type.", "Nothing is written."),
        ErrorCode("batch_too_large", "The batch passes a limit (JRN-4b).", "Nothing is written."),
        ErrorCode("blob_too_large", "The blob passes the limit (JRN-8).", "Nothing is written."),
    )


class ProhibitedDataError(JournalError):
    """A field holds what is stored nowhere (JRN-18e). Names the field, never the value."""

    codes = (ErrorCode("prohibited_data", "Data of a prohibited class.", "Nothing is written."),)


class RedactionError(JournalError):
    """A redaction hook raised, or broke its contract (JRN-19c)."""

    codes = (
        ErrorCode("hook_raised", "A hook raised.", "Nothing is written."),
        ErrorCode("hook_contract", "A hook changed what it may not.", "Nothing is written."),
        ErrorCode("redaction_unfit", "What is left does not fit the event's type.", "Nothing is written."),
    )


class WrongExpectedSeq(JournalError):  # noqa: N818 - the specification's name
    """The lane does not end where the caller decided (JRN-4a).

    An actor that meets it has been replaced as writer: it stops (JRN-4f).
    """

    codes = (ErrorCode("wrong_expected_seq", "The lane's head is another.", "Nothing is written."),)

    def __init__(self, lane: object, *, expected: int, actual: int) -> None:
        super().__init__(f"{lane} ends at {actual}, not at {expected}", field="expected_seq")
        self.lane = lane
        self.expected = expected
        self.actual = actual


class NotWriterError(JournalError):
    """Another owner writes the lane: its lease is theirs, or was lost (JRN-24b)."""

    codes = (
        ErrorCode("lane_owned", "Another node holds the lane.", "Nothing is written."),
        ErrorCode("lease_lost", "The lease ended, or another node took the lane.", "Nothing is written."),
        ErrorCode("read_only", "The journal was opened for reading.", "Nothing is written."),
    )

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        lane: object = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message, code=code, retry_after_ms=retry_after_ms)
        self.lane = lane


class CursorError(JournalError):
    """A cursor from which nothing can be read (JRN-6c)."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("compacted", "The records are gone; a base snapshot stands for them.", "Nothing is read."),
        ErrorCode("cursor_ahead", "The cursor is beyond the head.", "Nothing is read."),
        ErrorCode("foreign_cursor", "The cursor is no cursor of this journal.", "Nothing is read."),
    )


class Compacted(CursorError):  # noqa: N818 - the specification's name
    """The cursor is below the lane's base: start from the base snapshot, at `base_seq`."""

    codes = CursorError.codes[:1]

    def __init__(self, lane: object, *, base_seq: int) -> None:
        super().__init__(f"{lane} begins after {base_seq}; start from its base snapshot", field="after")
        self.base_seq = base_seq


class CursorAhead(CursorError):  # noqa: N818 - the specification's name
    """The cursor is beyond the lane's `head`."""

    codes = CursorError.codes[1:2]

    def __init__(self, lane: object, *, head: int) -> None:
        super().__init__(f"{lane} ends at {head}", field="after")
        self.head = head


class JournalLocked(JournalError):  # noqa: N818 - the specification's name
    """Another process, or another opening in this one, writes this journal (JRN-11b). `owner` is for people."""

    codes = (ErrorCode("journal_locked", "The journal has a writer.", "It is not opened for writing."),)

    def __init__(self, where: object, *, owner: str) -> None:
        super().__init__(f"{where} has a writer ({owner or 'unknown'}); open it for reading")
        self.owner = owner


class JournalOpenError(JournalError):
    """A journal that cannot be opened (JRN-10, JRN-11). Nothing in it was changed."""

    codes = (
        ErrorCode("not_found", "There is no journal.", "Nothing is opened."),
        ErrorCode("directory", "The directory cannot be used.", "Nothing is opened."),
        ErrorCode("read_only_directory", "The directory cannot be written.", "Nothing is opened."),
        ErrorCode("not_a_journal", "The file is no journal, or damaged as a whole.", "Nothing is opened."),
        ErrorCode("schema_newer", "A newer edition wrote the journal.", "Nothing is opened."),
        ErrorCode("schema_foreign", "No edition that can be migrated.", "Nothing is opened."),
        ErrorCode("schema_older", "The journal must be migrated by a writer first.", "Nothing is opened."),
        ErrorCode("engine", "The database engine cannot be trusted with a journal.", "Nothing is opened."),
        ErrorCode("hash_key", "The hash key is missing, or another.", "Nothing is opened."),
        ErrorCode("privileges", "The database allows this user too little.", "Nothing is opened."),
        ErrorCode("unreachable", "The database cannot be reached.", "Nothing is opened."),
        ErrorCode("timeout", "Opening took too long.", "Nothing is opened."),
    )


class CopyError(JournalError):
    """A journal that cannot be copied so. The target is as it was."""

    codes = (
        ErrorCode("not_empty", "The target holds a journal, or is open elsewhere.", "Nothing is written."),
        ErrorCode("too_large", "A commit has more records than the target takes.", "Nothing is written."),
        ErrorCode("source_changed", "The source was written while it was copied.", "Nothing is written."),
    )


class JournalUnavailable(JournalError):  # noqa: N818 - the specification's word
    """The journal cannot do this now (JRN-15).

    `outcome_unknown` is said of an append whose commit may or may not be there: read the lane (JRN-5e).
    """

    codes = (
        ErrorCode("closed", "The journal was closed.", "Nothing is written."),
        ErrorCode("busy", "Too many appends wait already.", "Nothing is written."),
        ErrorCode("no_space", "The volume is nearly full: no new work is begun.", "Nothing is written."),
        ErrorCode("suspended", "The journal cannot write at the moment.", "Nothing is written."),
        ErrorCode("failed", "The journal cannot be trusted any more.", "Nothing is written."),
        ErrorCode("outcome_unknown", "Whether the append is durable is not known.", "The lane tells."),
    )


class LaneHalted(JournalError):  # noqa: N818 - the specification's word
    """The lane is readable and takes nothing more (JRN-9c, JRN-12c, ACT-5c)."""

    codes = (ErrorCode("lane_halted", "The lane was halted.", "Nothing is written."),)


class CorruptJournalError(JournalError):
    """Stored bytes are not what was written. `lane` and `seq` say where it begins, `position` where in history."""

    codes = (
        ErrorCode("chain_broken", "A record does not follow the one before it.", "Nothing is used of it."),
        ErrorCode("future_event", "An event of a version or type that is not known here.", "The lane halts."),
        ErrorCode("undecodable", "A payload that does not fit its registered type.", "The lane halts."),
        ErrorCode("snapshot", "A base snapshot that does not fit its record.", "The lane halts."),
        ErrorCode("blob", "A blob that is not what its name says.", "It is not returned."),
        ErrorCode(
            "store", "The store's own tables are damaged.", "The journal is failed: it is inspected only."
        ),
        ErrorCode("bundle", "A bundle that is not as it was exported.", "Nothing is used of it."),
    )

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        lane: object = None,
        seq: int | None = None,
        position: int | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.lane = lane
        self.seq = seq
        self.position = position


class ExportError(JournalError):
    """An incident bundle that was not written (JRN-21). Nothing is left of it."""

    codes = (
        ErrorCode("target_exists", "Something is at the target already.", "It is left alone."),
        ErrorCode("unwritable", "The bundle could not be written.", "Nothing is left of it."),
        ErrorCode("moved", "A lane was compacted while it was exported.", "Nothing is left of it."),
    )


class RetentionError(JournalError):
    """What is kept of a lane cannot be changed so (JRN-16, JRN-17). Nothing was removed."""

    codes = (
        ErrorCode("kept", "Unfinished work, an anchor or a hold is in the way.", "Nothing is removed."),
        ErrorCode("no_snapshot", "No state can stand for the records.", "Nothing is removed."),
        ErrorCode("unknown_hold", "There is no such hold, or there is one already.", "Nothing changes."),
    )


class RepairError(JournalError):
    """A repair that was not begun (JRN-23b)."""

    codes = (
        ErrorCode("plan_outdated", "The lane is not what it was when planned.", "Nothing is cut."),
        ErrorCode("quarantine", "What would be cut cannot be kept.", "Nothing is cut."),
        ErrorCode("beyond_repair", "A base that does not hold leaves nothing to keep.", "Nothing is cut."),
    )


class BlobNotFoundError(JournalError):
    """There is no blob of this name (JRN-8)."""

    codes = (ErrorCode("blob_not_found", "No blob has this name.", "Nothing is read."),)


class NotCommittedError(Exception):
    """A backend's word to its journal: this certainly did not commit; it may be tried again (JRN-15a)."""


class OutcomeUnknownError(Exception):
    """A backend's word to its journal: whether this committed is not known (JRN-15b)."""
