"""Opening a journal in PostgreSQL, and what is refused (JRN-10, JRN-11, JRN-18d)."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from tests.journal.postgresql.arrange import SAFETY, append, commit_of, sealed
from web4.journal.backends.postgresql import open_postgresql
from web4.journal.errors import JournalOpenError
from web4.journal.lane import Lane

if TYPE_CHECKING:
    from tests.postgresql_server import PostgresqlServer

A = Lane("session", "a")


def database_name(conninfo: str) -> str:
    return conninfo.rpartition("=")[2]


async def test_two_that_open_at_once_make_one_journal(database: str) -> None:
    """JRN-10: the tables are created once."""
    ids = []

    async def open_one(node: str) -> None:
        async with open_postgresql(database, node=node) as backend:
            ids.append((backend.journal_id, backend.hash_key))
            await append(backend, Lane("session", node), await backend.own(Lane("session", node)), b"{}")

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(open_one, f"n{number}")
    assert len(ids) == 5
    assert len(set(ids)) == 1


@pytest.mark.parametrize(
    ("edition", "code"), [(3, "schema_newer"), (1, "schema_foreign"), (0, "schema_foreign")]
)
async def test_other_editions_are_refused(
    server: PostgresqlServer, database: str, edition: int, code: str
) -> None:
    """JRN-10b: the message names both numbers; nothing is changed, not even the count of openings."""
    name = database_name(database)
    async with open_postgresql(database, node="one"):
        pass
    server.sql(f"UPDATE web4.meta SET schema = {edition}", name)
    for read_only in (False, True):
        with pytest.raises(JournalOpenError) as refused:
            async with open_postgresql(database, node="one", read_only=read_only):
                pass
        assert refused.value.code == code
        assert f"edition {edition}" in str(refused.value)
        assert "edition 2" in str(refused.value)
    assert server.sql("SELECT boots FROM web4.meta", name) == "1"


async def test_what_is_no_journal(server: PostgresqlServer, database: str) -> None:
    """JRN-10: nothing to read; tables of somebody else's."""
    name = database_name(database)
    with pytest.raises(JournalOpenError) as refused:
        async with open_postgresql(database, node="one", read_only=True):
            pass
    assert refused.value.code == "not_found"
    assert server.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'web4'", name) == "0"
    server.sql("CREATE SCHEMA web4; CREATE TABLE web4.meta (x integer)", name)
    with pytest.raises(JournalOpenError) as refused:
        async with open_postgresql(database, node="one"):
            pass
    assert refused.value.code == "not_a_journal"
    async with open_postgresql(database, node="one", schema="other") as other:
        assert (await other.stats())["lanes"] == 0


async def test_hash_key_outside_the_database(server: PostgresqlServer, database: str) -> None:
    """JRN-18d: a key that is given is not stored, and recognised; without one it is drawn and stored."""
    key = bytes(range(32))
    async with open_postgresql(database, node="one", hash_key=key) as one:
        assert one.hash_key == key
    assert server.sql("SELECT hash_key IS NULL FROM web4.meta", database_name(database)) == "t"
    for wrong in (None, bytes(32)):
        with pytest.raises(JournalOpenError) as refused:
            async with open_postgresql(database, node="one", hash_key=wrong):
                pass
        assert refused.value.code == "hash_key"
        assert key.hex() not in str(refused.value)
    async with open_postgresql(database, node="one", hash_key=key):
        pass


async def test_privileges(server: PostgresqlServer, database: str) -> None:
    """docs/guides/postgresql.md: a writer needs its schema or the right to create one, a reader USAGE and SELECT."""
    name = database_name(database)
    for role in ("writer", "reader"):
        server.sql(f"CREATE ROLE {role}_{name} LOGIN", name)
    writer, reader = (server.conninfo(name, user=f"{role}_{name}") for role in ("writer", "reader"))
    with pytest.raises(JournalOpenError) as refused:
        async with open_postgresql(writer, node="one"):
            pass
    assert refused.value.code == "privileges"
    server.sql(f"CREATE SCHEMA web4 AUTHORIZATION writer_{name}", name)
    async with open_postgresql(writer, node="one") as one:
        await append(one, A, await one.own(A), b"{}")
        with pytest.raises(JournalOpenError) as refused:
            async with open_postgresql(reader, node="two", read_only=True):
                pass
        assert refused.value.code == "privileges"
        grants = "GRANT USAGE ON SCHEMA web4 TO {0}; GRANT SELECT ON ALL TABLES IN SCHEMA web4 TO {0}"
        server.sql(grants.format(f"reader_{name}"), name)
        async with open_postgresql(reader, node="two", read_only=True) as two:
            assert len(await two.read(A)) == len(await two.scan()) == 1
            assert (await two.stats())["records"] == 1
        with pytest.raises(JournalOpenError) as refused:
            async with open_postgresql(reader, node="two"):
                pass
        assert refused.value.code == "privileges"


async def test_relaxed_is_asked_for_and_soon_flushed(server: PostgresqlServer, database: str) -> None:
    """JRN-5c: nothing but the name of the profile turns the wait for the disk off, and what was written follows."""
    name = database_name(database)
    settings = "SELECT current_setting('synchronous_commit')"
    tricked = f"{database} options='-c synchronous_commit=off'"
    async with open_postgresql(tricked, node="one") as one:
        assert one.durability == "strict"
        assert await setting(one, settings) == "on"
    async with open_postgresql(database, node="one", durability="relaxed") as one:
        assert one.durability == "relaxed"
        assert await setting(one, settings) == "off"
        await append(one, A, await one.own(A), b"{}")
        written = await trio.to_thread.run_sync(server.sql, "SELECT pg_current_wal_insert_lsn()", name)
        flushed = f"SELECT pg_current_wal_flush_lsn() >= '{written}'"
        with trio.fail_after(SAFETY):
            while await trio.to_thread.run_sync(server.sql, flushed, name) != "t":  # noqa: ASYNC110
                await trio.sleep(0.01)


async def setting(backend: object, question: str) -> str:
    from web4.journal.backends.postgresql.wire import Statement

    (answer,) = await backend._connection.run((Statement("setting", question), ()))  # type: ignore[attr-defined]
    value: bytes = answer.get_value(0, 0)
    return value.decode()


async def test_server_without_fsync_is_refused(server: PostgresqlServer, database: str) -> None:
    """JRN-5d: no profile is reached by silent fallback."""
    await trio.to_thread.run_sync(server.stop)
    await trio.to_thread.run_sync(server.start, "-c", "fsync=off")
    try:
        with pytest.raises(JournalOpenError) as refused:
            async with open_postgresql(database, node="one"):
                pass
        assert refused.value.code == "engine"
    finally:
        await trio.to_thread.run_sync(server.stop)
        await trio.to_thread.run_sync(server.start)


async def test_dump_and_restore(server: PostgresqlServer, database: str) -> None:
    """docs/guides/postgresql.md: a dump that is restored where fewer transactions were counted goes on with higher
    numbers."""
    name, target = database_name(database), server.conninfo("restored")
    server.sql("CREATE DATABASE restored")
    async with open_postgresql(database, node="one") as one:
        server.sql("UPDATE web4.meta SET commit_offset = 1000000", name)
    async with open_postgresql(database, node="one") as one:
        head = await append(one, A, await one.own(A), b"1", b"2")
        before = await one.scan()
    dump = server.tool("pg_dump", "-d", server.conninfo(name))
    server.load(dump, database_name(target))
    async with open_postgresql(target, node="two", read_only=True) as reader:
        assert await reader.scan() == before
    async with open_postgresql(target, node="two") as two:
        assert (two.journal_id, two.hash_key) == (one.journal_id, one.hash_key)
        assert await two.own(A) == head
        records, move = sealed(A, head, [b"3"])
        number = await two.commit(commit_of((records, move)))
        assert number > before[-1].commit
        after = await two.scan()
        assert after[:2] == before
        assert [r.seq for r in after] == [1, 2, 3]


def test_importing_the_journal_imports_no_psycopg() -> None:
    """The extra is needed to open a journal in PostgreSQL, not to have a journal."""
    program = """
import sys
sys.modules["psycopg"] = None
import trio, web4.journal.backends.postgresql as backend
from web4.journal.errors import JournalOpenError
async def main():
    try:
        async with backend.open_postgresql("", node="x"):
            pass
    except JournalOpenError as error:
        print(error)
trio.run(main)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "engine: PostgreSQL needs the extra web4[postgresql]\n"


@pytest.mark.parametrize(
    "wrong",
    [
        {"node": ""},
        {"node": "a b"},
        {"schema": 'x"; DROP'},
        {"schema": "x" * 49},
        {"hash_key": b"short"},
        {"durability": "none"},
        {"lease_seconds": 5.0},
        {"renew_seconds": 0.0},
    ],
)
async def test_arguments_that_cannot_work(wrong: dict[str, object]) -> None:
    """Bad input is refused before anything is connected."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        async with open_postgresql("host=/nonexistent", **{"node": "x", **wrong}):  # type: ignore[arg-type]
            pass
