"""Journals on PostgreSQL, as programs see them: what docs/guides/postgresql.md says."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.journal.arrange import NOTED, note
from tests.journal.postgresql.arrange import SAFETY, append, commit_of, sealed
from web4 import generate_identity
from web4.journal.backends.postgresql import changes as changes_module
from web4.journal.backends.postgresql import open_postgresql
from web4.journal.backends.postgresql.wire import Connection
from web4.journal.errors import JournalUnavailable, NotWriterError
from web4.journal.event_types import EventRegistry
from web4.journal.lane import SERVER, Lane
from web4.journal.opening import open_journal
from web4.journal.record import Commit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.postgresql_server import PostgresqlServer
    from web4.journal.journal import Journal

A, B = Lane("session", "a"), Lane("session", "b")


@asynccontextmanager
async def journal_of(database: str, node: str, **options: Any) -> AsyncGenerator[Journal]:
    async with (
        open_postgresql(database, node=node, **options) as backend,
        open_journal(backend, registry=EventRegistry([NOTED]), identity=generate_identity()) as journal,
    ):
        yield journal


async def test_two_nodes_share_a_journal(database: str) -> None:
    """JRN-24b: each writes its lanes, both read all; of `server` one is the owner, and the other does without."""
    async with journal_of(database, "one") as one, journal_of(database, "two") as two:
        await one.append(A, [note("a1")], expected_seq=0)
        await two.append(B, [note("b1")], expected_seq=0)
        with pytest.raises(NotWriterError) as refused:
            await two.append(A, [note("a2")], expected_seq=1)
        assert refused.value.code == "lane_owned"
        assert [lane for lane, _ in await two.heads()] == [A, B]
        async with trio.open_nursery() as nursery:
            seen: list[int] = []

            async def follow() -> None:
                async for record in two.follow(A):
                    seen.append(record.seq)
                    if record.seq == 20:
                        return

            nursery.start_soon(follow)
            for number in range(1, 20):
                await one.append(A, [note(number)], expected_seq=number)
        assert seen == list(range(1, 21))
    async with journal_of(database, "three", read_only=True) as three:
        assert three.halted == {}
        assert (await three.head(A)).seq == 20
        assert (await three.head(SERVER)).seq > 0


async def test_appends_wait_for_the_server(server: PostgresqlServer, database: str) -> None:
    """JRN-15a: while the server is away appends wait and reading says so; when it is back they are durable."""
    times: dict[str, Any] = {"lease_seconds": 90.0, "renew_seconds": 1.0, "give_up_seconds": 80.0}
    async with journal_of(database, "one", **times) as one:
        await one.append(A, [note(1)], expected_seq=0)
        await trio.to_thread.run_sync(server.stop, signal.SIGQUIT)
        try:
            with trio.fail_after(SAFETY):
                async with trio.open_nursery() as nursery:

                    async def write() -> None:
                        await one.append(A, [note(2)], expected_seq=1)
                        await one.append(B, [note(3)], expected_seq=0)

                    nursery.start_soon(write)
                    while one.state != "suspended":  # noqa: ASYNC110 - nothing tells of it
                        await trio.sleep(0.01)
                    with pytest.raises(JournalUnavailable) as unavailable:
                        await one.read(A)
                    assert unavailable.value.code == "suspended"
                    await trio.to_thread.run_sync(server.start)
                assert [record.seq for record in await one.read(A)] == [1, 2]
                assert one.health()["state"] == "ready"
        finally:
            if not server.running:
                await trio.to_thread.run_sync(server.start)


async def test_own_lease_that_is_over(server: PostgresqlServer, database: str) -> None:
    """JRN-11b, JRN-24b: a process of the same name takes over from one whose lease is over, and that one stops."""
    async with open_postgresql(database, node="one") as stale:
        head = await append(stale, A, await stale.own(A), b"{}")
        server.sql("UPDATE web4.nodes SET expires = now() - interval '1 s'", database.rpartition("=")[2])
        async with open_postgresql(database, node="one") as fresh:
            for _ in range(2):
                with pytest.raises(NotWriterError) as lost:
                    await append(stale, A, head, b'"stale"')
                assert lost.value.code == "lease_lost"
            with pytest.raises(NotWriterError) as lost:
                await stale.own(A)
            assert lost.value.code == "lease_lost"
            await append(fresh, A, await fresh.own(A), b'"fresh"')
            assert [record.payload for record in await fresh.read(A)] == [b"{}", b'"fresh"']
            await stale.release(A)
    async with open_postgresql(database, node="two", read_only=True) as two:
        assert len(await two.scan()) == 2


async def test_connections_are_few(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/guides/postgresql.md: six at most, whatever is asked at once."""
    made: list[Connection] = []
    most = 0
    begin = Connection.__init__

    def count(self: Connection, *arguments: Any) -> None:
        nonlocal most
        begin(self, *arguments)
        made.append(self)
        most = max(most, sum(not connection.closed for connection in made))

    monkeypatch.setattr(Connection, "__init__", count)
    async with open_postgresql(database, node="one") as one:
        head = await append(one, A, await one.own(A), b"{}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.changed, B, 0)
            async with trio.open_nursery() as busy:
                for number in range(20):
                    busy.start_soon(one.read, A)
                    busy.start_soon(one.scan)
                    busy.start_soon(partial(one.put_blob, f"b3:{number}", b"x" * 10_000, at=0))
                    busy.start_soon(partial(one.prune, A, limit=5))
                await append(one, A, head, b"{}")
            nursery.cancel_scope.cancel()
    assert 4 <= most <= 6
    assert all(connection.closed for connection in made)


async def test_news_that_were_never_sent(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """JRN-6b: an owner that dies between its commit and its news delays a reader, and costs it nothing."""
    monkeypatch.setattr(changes_module, "LOOK_AGAIN", 0.2)

    async def say_nothing() -> None:
        await trio.lowlevel.checkpoint()

    async with (
        open_postgresql(database, node="one") as one,
        open_postgresql(database, node="two", read_only=True) as two,
    ):
        one._changes.send_now = say_nothing  # type: ignore[method-assign]
        head = await append(one, A, await one.own(A), b"{}")
        with trio.fail_after(SAFETY):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(two.changed, A, 1)
                await two._changes._listening.wait()
                await append(one, A, head, b"{}")
        assert (await two.head(A)).seq == 2


async def test_scrubbing_leaves_nothing_in_the_tables(server: PostgresqlServer, database: str) -> None:
    """JRN-16, docs/guides/postgresql.md: what was erased is in no file of a table afterwards."""
    secret = b'"the-secret-that-was-erased"'
    name = database.rpartition("=")[2]
    async with open_postgresql(database, node="one") as one:
        await append(one, A, await one.own(A), secret, b'"kept-by-the-journal"')
        server.sql("CHECKPOINT", name)
        directory = (
            server.data / "base" / server.sql(f"SELECT oid FROM pg_database WHERE datname = '{name}'", name)
        )

        def holds(wanted: bytes) -> bool:
            return any(wanted in path.read_bytes() for path in directory.iterdir())

        assert holds(secret)
        await one.commit(Commit([], [], (), [(A, 1)]))
        await one.scrub()
        server.sql("CHECKPOINT", name)
        assert not holds(secret)
        assert holds(b'"kept-by-the-journal"')
        head = await one.head(A)
        await one.commit(commit_of(sealed(A, head, [b"{}"])))
        assert [record.erased for record in await one.read(A)] == [True, False, False]
