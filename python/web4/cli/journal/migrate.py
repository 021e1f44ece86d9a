"""`web4 journal migrate`."""

from typing import Any

from web4.cli.journal.target import journal_directory
from web4.cli.options import COMMON, Common, Directory
from web4.cli.output import Output
from web4.cli.running import Answer, perform
from web4.cli.text import visible
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.backends.sqlite.directory import WriterLock, prepare_directory
from web4.journal.backends.sqlite.inspecting import edition
from web4.journal.backends.sqlite.layout import DATABASE, SCHEMA
from web4.journal.backends.sqlite.migration import copy_path


def migrate(directory: Directory = None, /, *, common: Common = COMMON) -> int:
    """Bring a journal of the edition before to this edition's schema.

    A verified copy is laid beside the store first, and everything is moved in one transaction. A newer store, or one
    that is older than the edition before, is refused and not touched. Takes the writer's lock.

    ```
    web4 journal migrate ./node
    ```
    """

    async def body(_: Output) -> Answer:
        data: dict[str, Any]
        where = journal_directory(directory, common)
        # The lock first: what is found then stays so.
        lock = WriterLock(prepare_directory(where, read_only=True))
        try:
            before = edition(where / DATABASE, vfs=None)
        finally:
            lock.release()
        if before == SCHEMA:
            data = {"from": before, "to": SCHEMA, "migrated": False, "copy": None}
            return Answer(data, [f"schema {SCHEMA} already: nothing to do"])
        async with open_sqlite(where):
            pass
        copy = None if before is None else str(copy_path(where / DATABASE, before))
        data = {"from": before, "to": SCHEMA, "migrated": True, "copy": copy}
        return Answer(data, [visible(f"migrated from schema {before} to {SCHEMA}; the old store is {copy}")])

    return perform(common, body)
