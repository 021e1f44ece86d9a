"""The parts of an open journal in PostgreSQL, put together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from web4.journal.backends.postgresql.addresses import where
from web4.journal.backends.postgresql.backend import PostgresqlBackend
from web4.journal.backends.postgresql.changes import Changes
from web4.journal.backends.postgresql.leases import Leases
from web4.journal.backends.postgresql.pool import Pool
from web4.journal.backends.postgresql.tables import open_tables
from web4.journal.backends.postgresql.wire import Connection, ConnectionLostError, StatementRefusedError
from web4.journal.errors import JournalOpenError

if TYPE_CHECKING:
    from web4.journal.backends.backend import Durability

CONNECT_WITHIN = 5.0
_PRIVILEGES = "42501"
_NO_SUCH = {"42P01", "42703"}
"""Undefined table, undefined column: the tables are there, and are not ours."""


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
    node: str,
    lease_seconds: float,
    give_up_seconds: float,
    hash_key: bytes | None,
    read_only: bool,
    schema: str,
    durability: Durability,
) -> PostgresqlBackend:
    """Open the tables on the first connection, and make a backend over them.

    Raises:
        JournalOpenError: See `open_postgresql`.
    """
    place = f"{where(conninfo)}, schema {schema}"
    try:
        meta = await open_tables(first, hash_key=hash_key, read_only=read_only, where=place)
    except StatementRefusedError as error:
        code = "privileges" if error.sqlstate == _PRIVILEGES else "engine"
        code = "not_a_journal" if error.sqlstate in _NO_SUCH else code
        raise JournalOpenError(f"{place} cannot be opened: {error}", code=code) from None
    except ConnectionLostError as error:
        raise JournalOpenError(f"{place} went away: {error}", code="unreachable") from None
    dial = partial(
        Connection.open,
        conninfo,
        schema=schema,
        synchronous=durability == "strict",
        within=CONNECT_WITHIN,
    )
    pool = Pool(dial)
    if read_only:
        pool.give(first)
    return PostgresqlBackend(
        meta,
        pool,
        Changes(pool, dial, f"web4_journal_{schema}"),
        None if read_only else Leases(node, lease_seconds=lease_seconds, give_up_seconds=give_up_seconds),
        dial,
        durability=durability,
    )
