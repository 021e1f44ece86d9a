"""Whose journal it is: that of the key that signed its newest anchor (ID-4, decision 0027)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.foundation.errors import Web4Error
from web4.journal.errors import CorruptJournalError
from web4.journal.event_types import EventRegistry
from web4.journal.lane import SERVER
from web4.journal.own_events import OWN_EVENTS, JournalAnchored
from web4.node.errors import DirectoryError

if TYPE_CHECKING:
    from web4.foundation.identity import Identity
    from web4.journal.backends.backend import Backend
    from web4.node.directory import Places

_PAGE: Final = 500
_ANCHORED: Final = "journal.anchored"


async def check_owner(backend: Backend, identity: Identity, places: Places) -> bool:
    """Refuse a journal that another key has written; whether it says already whose it is.

    Under another key its promises would be forgeries and its votes a stranger's. One that was never anchored says
    nothing, and is anybody's.

    Args:
        backend: The open store, for reading or for more. A journal that is opened over it may anchor, and sign.
        identity: Whose key lies in the data directory.
        places: That directory, for the message.

    Raises:
        DirectoryError: `foreign_journal`.
    """
    signer = await _signer(backend)
    if signer is None or signer == identity.fingerprint:
        return signer is not None
    raise DirectoryError(
        f"the journal in {places.journal} was written by {signer}, and the key in {places.key} is of "
        f"{identity.fingerprint}",
        code="foreign_journal",
    )


async def _signer(backend: Backend) -> str | None:
    """Who signed the newest anchor that can be read; None where there is none."""
    registry = EventRegistry(OWN_EVENTS)
    before: int | None = None
    while True:
        try:
            page = await backend.read(SERVER, limit=_PAGE, reverse=True, before=before)
        except CorruptJournalError:
            return None  # the lane is damaged: that is said by whoever reads it for more than this
        for record in page:
            if record.type == _ANCHORED and not record.erased:
                try:
                    event = registry.decode(record)
                except Web4Error:
                    continue
                if isinstance(event, JournalAnchored):
                    return event.fingerprint
        if len(page) < _PAGE:
            return None
        before = page[-1].seq
