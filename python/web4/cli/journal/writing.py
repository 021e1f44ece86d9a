"""Opening a journal for the verbs that change it: they are its one writer while they run."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from web4.cli.journal.known import kinds_of, known_types
from web4.foundation.identity import load_identity
from web4.journal import open_journal
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from web4.journal import Journal


@asynccontextmanager
async def writing_journal(where: Path, key: Path | None) -> AsyncIterator[Journal]:
    """The journal in `where`, open for writing; anchors are signed if there is a key.

    Raises:
        JournalLocked: Somebody else writes it.
        IdentityError: The key cannot be used.
        JournalError: It cannot be opened.
    """
    identity = None if key is None else load_identity(key)
    async with open_sqlite(where) as backend:
        registry = known_types(await kinds_of(backend))
        redactor = Redactor(backend.hash_key)
        async with open_journal(backend, registry=registry, identity=identity, redactor=redactor) as journal:
            yield journal
