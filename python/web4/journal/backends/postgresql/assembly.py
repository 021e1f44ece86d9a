"""The parts of an open journal in PostgreSQL, put together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from web4.journal.backends.postgresql.addresses import where
from web4.journal.backends.postgresql.backend import PostgresqlBackend
from web4.journal.backends.postgresql.changes import Changes
from web4.journal.backends.postgresql.pool import Pool
from web4.journal.backends.postgresql.tables import open_tables
from web4.journal.backends.postgresql.wire import Connection, ConnectionLostError, StatementRefusedError
from web4.journal.errors import JournalLocked, JournalOpenError

if TYPE_CHECKING:
    from web4.journal.backends.backend import Durability
    from web4.journal.backends.postgresql.leases import Leases

CONNECT_WITHIN = 5.0
_PRIVILEGES = "42501"
_NO_SUCH = {"42P01", "42703"}
"""Undefined table, undefined column: the tables are there, and are not ours."""
_DYING = 1.0
"""Seconds for which a server may need to see that the process which wrote before is dead."""


async def connect(conninfo: str, *, schema: str, durability: Durability) -> Connection:
    """The first connection.

    Raises:
        JournalOpenError: `unreachable`.
    """
    try:
        return await Connection.open(
            conninfo, schema=schema, synchronous=durability == "strict", within=CONNECT_WITHIN
        )
    except ConnectionLostError as error:
        raise JournalOpenError(f"{where(conninfo)} cannot be reached: {error}", code="unreachable") from None


async def assemble(
    first: Connection,
    conninfo: str,
    *,
    leases: Leases | None,
    hash_key: bytes | None,
    durability: Durability,
) -> PostgresqlBackend:
    """Open the tables on the first connection, and make a backend over them that holds its node's lease.

    Raises:
        JournalOpenError, JournalLocked: See `open_postgresql`.
    """
    schema = first.schema
    place = f"{where(conninfo)}, schema {schema}"
    dial = partial(
        Connection.open,
        conninfo,
        schema=schema,
        synchronous=durability == "strict",
        within=CONNECT_WITHIN,
    )
    pool = Pool(dial)
    changes = Changes(pool, dial, f"web4_journal_{schema}")
    try:
        meta = await open_tables(first, hash_key=hash_key, read_only=leases is None, where=place)
        backend = PostgresqlBackend(meta, pool, changes, leases, dial, durability=durability)
        if leases is None:
            pool.give(first)
        else:
            await _start(backend, first)
    except StatementRefusedError as error:
        code = "privileges" if error.sqlstate == _PRIVILEGES else "engine"
        code = "not_a_journal" if error.sqlstate in _NO_SUCH else code
        raise JournalOpenError(f"{place} cannot be opened: {error}", code=code) from None
    except ConnectionLostError as error:
        raise JournalOpenError(f"{place} went away: {error}", code="unreachable") from None
    return backend


async def _start(backend: PostgresqlBackend, connection: Connection) -> None:
    deadline = trio.current_time() + _DYING
    while True:
        try:
            return await backend.start(connection)
        except JournalLocked:
            if trio.current_time() >= deadline:
                raise
        await trio.sleep(0.05)
