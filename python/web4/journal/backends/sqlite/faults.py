"""What the engine's complaints mean for a journal (JRN-15)."""

from __future__ import annotations

from typing import Final

import apsw

from web4.journal.errors import CorruptJournalError, NotCommittedError

_DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError)
_NEVER_WRITTEN: Final = (
    apsw.FullError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
)


def is_damage(error: apsw.Error) -> bool:
    """Whether the store's own tables cannot be read."""
    return isinstance(error, _DAMAGE)


def is_full(error: apsw.Error) -> bool:
    """Whether there is no space left."""
    return isinstance(error, apsw.FullError)


def certainly_not_written(error: apsw.Error) -> bool:
    """Whether a commit that ended with `error` cannot be in the file.

    A commit counts once its last frame is complete. No space, and no lock, are met before; after any other failure
    of writing or syncing the frame may be there.
    """
    return isinstance(error, _NEVER_WRITTEN)


def describe(error: BaseException) -> str:
    """The error in a few words, for messages. The engine names no values."""
    code = getattr(error, "extendedresult", None)
    name = apsw.mapping_extended_result_codes.get(code) if isinstance(code, int) else None
    return f"{name or type(error).__name__}: {error}"


def not_committed(error: apsw.Error) -> NotCommittedError | CorruptJournalError:
    """What to raise for a write that was taken back."""
    if is_damage(error):
        return CorruptJournalError(f"the store is damaged ({describe(error)})", code="store")
    return NotCommittedError(describe(error))
