"""Opening a journal in PostgreSQL. Imports psycopg when one is opened, not before."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from web4.journal.errors import JournalOpenError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from web4.journal.backends.backend import Durability
    from web4.journal.backends.postgresql.backend import PostgresqlBackend

_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,47}", re.ASCII)
_NODE: Final = re.compile(r"[!-~]{1,128}", re.ASCII)


@asynccontextmanager
async def open_postgresql(
    conninfo: str,
    *,
    node: str,
    lease_seconds: float = 10.0,
    renew_seconds: float = 3.0,
    give_up_seconds: float = 7.0,
    hash_key: bytes | None = None,
    read_only: bool = False,
    schema: str = "web4",
    durability: Durability = "strict",
) -> AsyncGenerator[PostgresqlBackend]:
    """Open a journal in PostgreSQL for the length of a block; create its tables if there are none.

    Lanes are owned one by one, by `Backend.own`; leaving the block lets go of them.

    Args:
        conninfo: Where the database is, as libpq takes it: a string of parameters, or a URI.
        node: Who writes: one process at a time per name. Others read it in refusals. Up to 128 printable characters.
        lease_seconds: How long after its last sign of life others must leave this node's lanes alone, by the
            database's clock.
        renew_seconds: How often it gives one.
        give_up_seconds: How long after its last sign of life the node stops writing by itself, by its own clock;
            less than `lease_seconds`.
        hash_key: 32 bytes under which hashed-only data are hashed (JRN-18d). Given, it is not stored in the database,
            and every opening must give it. Left out, it is drawn at creation and stored in the table `meta`.
        read_only: Open for reading: takes no lease, and needs no right but to read.
        schema: The database's schema that holds the tables.
        durability: `strict`: a commit is on the server's stable storage. `relaxed`: it is there within 100 ms.

    Raises:
        JournalOpenError: `unreachable`: nobody answers, or the server refuses this user; `not_found`: there is
            nothing to read; `not_a_journal`, `schema_newer`, `schema_foreign`: the tables are not of this edition;
            `hash_key`: missing, or another; `privileges`: the server allows this user too little; `engine`: psycopg
            lacks, the server is older than 13, or runs with `fsync` off.
        JournalLocked: Another process writes under this node's name.
        ValueError: An argument that cannot work.
    """
    _check(node, schema, hash_key, durability, lease_seconds, renew_seconds, give_up_seconds)
    try:
        # Only now psycopg is needed.
        from web4.journal.backends.postgresql.assembly import assemble, connect  # noqa: PLC0415
        from web4.journal.backends.postgresql.leases import Leases  # noqa: PLC0415
    except ImportError:
        raise JournalOpenError("PostgreSQL needs the extra web4[postgresql]", code="engine") from None
    first = await connect(conninfo, schema=schema, durability=durability)
    leases = None if read_only else Leases(node, lease_seconds=lease_seconds, give_up_seconds=give_up_seconds)
    try:
        backend = await assemble(first, conninfo, leases=leases, hash_key=hash_key, durability=durability)
    except BaseException:
        first.close()
        raise
    async with _living(backend, renew_seconds=None if read_only else renew_seconds):
        yield backend


@asynccontextmanager
async def _living(backend: PostgresqlBackend, *, renew_seconds: float | None) -> AsyncGenerator[None]:
    """Run what a backend does by itself. What the block raises comes out as it was raised."""
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backend.listen)
            if renew_seconds is not None:
                nursery.start_soon(backend.tell)
                nursery.start_soon(backend.renew, renew_seconds)
                if backend.durability == "relaxed":
                    nursery.start_soon(backend.flush)
            try:
                yield
            except BaseException as error:
                raised = error
                raise
            finally:
                nursery.cancel_scope.cancel()
                await backend.leave()
    except BaseExceptionGroup as group:
        if raised is not None and group.exceptions == (raised,):
            raise raised from raised.__cause__
        raise


def _check(
    node: str,
    schema: str,
    hash_key: bytes | None,
    durability: str,
    lease_seconds: float,
    renew_seconds: float,
    give_up_seconds: float,
) -> None:
    if not _NODE.fullmatch(node):
        raise ValueError("node: 1 to 128 printable characters without spaces")
    if not _SCHEMA.fullmatch(schema):
        raise ValueError("schema: 1 to 48 characters of [a-z0-9_], not beginning with a digit")
    if hash_key is not None and len(hash_key) != 32:
        raise ValueError("hash_key: 32 bytes")
    if durability not in {"strict", "relaxed"}:
        raise ValueError("durability: strict or relaxed")
    if not 0 < renew_seconds < give_up_seconds < lease_seconds:
        raise ValueError("0 < renew_seconds < give_up_seconds < lease_seconds does not hold")
