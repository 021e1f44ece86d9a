"""Opening a node's journal for the verbs that change what may run: they are its one writer while they run."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from web4.cli.journal.known import kinds_of, known_types
from web4.extensions.enabling.enabling import EnablingRules, open_enabling
from web4.journal import open_journal
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.redaction import Redactor
from web4.mesh.server_lane import SERVER_LANE
from web4.node.journals import check_in_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.cli.extensions.places import Surroundings
    from web4.extensions.enabling.enabling import Enabling


@asynccontextmanager
async def writing_enabling(around: Surroundings) -> AsyncIterator[Enabling]:
    """The enabling of a node that does not run; its journal is made if there is none.

    Raises:
        JournalLocked: The node runs, or another verb writes.
        JournalError: The journal cannot be opened.
        ConfigurationError: It is not in the data directory.
        OSError: The data directory cannot be made.
    """
    await trio.to_thread.run_sync(check_in_directory, around.data)
    around.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with open_sqlite(around.data / "journal") as backend:
        registry = known_types(await kinds_of(backend))
        redactor = Redactor(backend.hash_key)
        async with (
            open_journal(backend, registry=registry, redactor=redactor) as journal,
            open_enabling(journal, rules_of(around), SERVER_LANE) as enabling,
        ):
            yield enabling


def rules_of(around: Surroundings) -> EnablingRules:
    """What holds for every extension of the node."""
    return EnablingRules(
        node=around.paths,
        ceilings=around.configuration.ceilings,
        development=around.configuration.development,
    )
