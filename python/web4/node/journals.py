"""Where a node's journal is kept: in its data directory, or in PostgreSQL, as the configuration says (JRN-24d)."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from web4.journal.backends.memory import open_memory
from web4.journal.backends.postgresql import open_postgresql
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.backends.sqlite.directory import WriterLock, prepare_directory
from web4.journal.errors import JournalOpenError
from web4.node.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.journal.backends.backend import Backend
    from web4.node.config import JournalSection
    from web4.node.directory import Places

_DATABASE: Final = "journal.db"


def schema_of(fingerprint: str) -> str:
    """The schema in which a node's journal is. A key and its journal go together: a new key has another."""
    return f"web4_{fingerprint[:32]}"


@asynccontextmanager
async def open_journal_of(
    places: Places, fingerprint: str, section: JournalSection
) -> AsyncIterator[Backend]:
    """Open a node's journal for writing. Nobody else writes it, nor moves its directory, for the time of the block.

    Raises:
        JournalLocked, JournalOpenError, CorruptJournalError: See `open_sqlite` and `open_postgresql`.
        ConfigurationError: The environment does not say where the database is.
    """
    if section.backend == "sqlite":
        async with open_sqlite(places.journal, durability=section.profile) as backend:
            yield backend
        return
    conninfo = _conninfo(section)
    lock = await trio.to_thread.run_sync(_locked, places)
    try:
        async with open_postgresql(
            conninfo, node=fingerprint, schema=schema_of(fingerprint), durability=section.profile
        ) as backend:
            yield backend
    finally:
        lock.release()


@asynccontextmanager
async def read_journal_of(
    places: Places, fingerprint: str, section: JournalSection
) -> AsyncIterator[Backend]:
    """Open a node's journal for reading, beside a running node, too. One that was never written is empty.

    Raises:
        JournalOpenError: It cannot be read.
        ConfigurationError: The environment does not say where the database is.
    """
    if section.backend == "sqlite":
        there = await trio.Path(places.journal / _DATABASE).exists()
        opened: Any = open_sqlite(places.journal, read_only=True) if there else open_memory()
        async with opened as backend:
            yield backend
        return
    conninfo, schema = _conninfo(section), schema_of(fingerprint)
    async with AsyncExitStack() as stack:
        opened = open_postgresql(conninfo, node=fingerprint, schema=schema, read_only=True)
        try:
            backend = await stack.enter_async_context(opened)
        except JournalOpenError as error:
            if error.code != "not_found":
                raise
            backend = await stack.enter_async_context(open_memory())
        yield backend


def _locked(places: Places) -> WriterLock:
    return WriterLock(prepare_directory(places.journal, read_only=False))


def _conninfo(section: JournalSection) -> str:
    """Where the database is. The environment may say it, with a password; the file never does (UX-36)."""
    if section.conninfo_env is None:
        return section.conninfo
    told = os.environ.get(section.conninfo_env)
    if not told:
        raise ConfigurationError(
            f"journal.conninfo_env: the environment has no {section.conninfo_env}",
            code="configuration_value",
            field="journal.conninfo_env",
        )
    return told
