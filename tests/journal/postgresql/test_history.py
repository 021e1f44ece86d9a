"""The order of history, and news of what others write (JRN-6, JRN-20, JRN-24b)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import trio

from tests.journal.postgresql.arrange import SAFETY, append, commit_of, sealed
from tests.journal.postgresql.test_faults import locked, until
from tests.seeds import a_seed
from web4.journal.backends.postgresql import open_postgresql
from web4.journal.backends.postgresql import reading as reading_module
from web4.journal.lane import Lane

if TYPE_CHECKING:
    import pytest

    from tests.postgresql_server import PostgresqlServer
    from web4.journal.record import Record

A, B = Lane("session", "a"), Lane("session", "b")
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock'"


async def test_a_cursor_skips_nothing_that_becomes_visible_late(
    server: PostgresqlServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JRN-24b: a commit that began first and is visible last is not passed over; until then history ends before it."""
    monkeypatch.setattr(reading_module, "PATIENCE", 0.05)
    name = database.rpartition("=")[2]
    async with (
        open_postgresql(database, node="slow") as slow,
        open_postgresql(database, node="fast") as fast,
    ):
        start = await append(slow, A, await slow.own(A), b'"first"')
        quick = await fast.own(B)
        operator = await locked(server, name, "SELECT FROM web4.lanes WHERE id = 'a' FOR NO KEY UPDATE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(append, slow, A, start, b'"late"')
            await until(server, BLOCKED.format(name), "1")
            await append(fast, B, quick, b'"early"')
            assert [r.payload for r in await fast.read(B)] == [
                b'"early"'
            ]  # a lane's own reader need not wait
            before = await fast.scan()
            assert [r.payload for r in before] == [b'"first"']
            operator.close()
        with trio.fail_after(SAFETY):
            later: list[Record] = []
            while len(later) < 2:
                later = await fast.scan(after=before[-1].position)
        assert [r.payload for r in later] == [b'"late"', b'"early"']
        assert later[0].commit < later[1].commit
        assert await slow.scan(reverse=True) == [*before, *later][::-1]


async def test_history_of_many_owners_is_read_once(database: str) -> None:
    """JRN-20b: pages by cursor, while several owners commit at once, hold every record once and in order."""
    seed = a_seed()
    print(f"seed {seed}")
    chance = random.Random(seed)
    commits, owners = 15, 4
    seen: list[Record] = []

    async def write(backend: Any, lanes: list[Lane]) -> None:
        heads = {lane: await backend.own(lane) for lane in lanes}
        for _ in range(commits):
            parts = [sealed(lane, head, [b"{}"] * chance.randrange(1, 4)) for lane, head in heads.items()]
            await backend.commit(commit_of(*parts))
            heads.update({move.lane: move.after for _, move in parts})
            await trio.sleep(chance.random() * 0.003)

    async with (
        open_postgresql(database, node="reader", read_only=False) as reader,
        trio.open_nursery() as readers,
    ):

        async def page() -> None:
            while True:
                found = await reader.scan(
                    after=seen[-1].position if seen else 0, limit=chance.randrange(1, 20)
                )
                seen.extend(found)

        readers.start_soon(page)
        async with trio.open_nursery() as writers:

            async def node(number: int) -> None:
                async with open_postgresql(database, node=f"n{number}") as backend:
                    await write(backend, [Lane("session", f"{number}.{lane}") for lane in range(2)])

            for number in range(owners):
                writers.start_soon(node, number)
        expected = sum([head.seq for _, head in await reader.heads()])
        with trio.fail_after(SAFETY):
            while len(seen) < expected:  # noqa: ASYNC110 - the other task is under test
                await trio.sleep(0.01)
        readers.cancel_scope.cancel()
    async with open_postgresql(database, node="reader", read_only=True) as reader:
        everything = await reader.scan(limit=100_000)
    assert seen == everything
    assert len(seen) == expected
    assert [r.position for r in seen] == sorted({r.position for r in seen})
    assert [(r.commit, r.lane, r.seq) for r in seen] == sorted((r.commit, r.lane, r.seq) for r in seen)


async def test_own_writing_is_found_at_once(server: PostgresqlServer, database: str) -> None:
    """JRN-20: a history that is asked for after an append holds it, though a shorter transaction of others runs."""
    name = database.rpartition("=")[2]
    async with open_postgresql(database, node="one") as one:
        operator = await locked(server, name, "SELECT pg_current_xact_id()")
        async with trio.open_nursery() as nursery:
            await append(one, A, await one.own(A), b"{}")

            async def end() -> None:
                await trio.sleep(0.05)
                operator.close()

            nursery.start_soon(end)
            assert len(await one.scan()) == 1


async def test_news_of_other_owners(database: str) -> None:
    """JRN-6b: who waits for a lane that another node writes is woken; news of other lanes is not for it."""
    async with (
        open_postgresql(database, node="writer") as writer,
        open_postgresql(database, node="reader", read_only=True) as reader,
    ):
        head = await append(writer, A, await writer.own(A), b"{}")
        other = await writer.own(B)
        with trio.fail_after(SAFETY):
            await reader.changed(A, 0)  # what is there already needs no news
            woken = []

            async def wait(lane: Lane, seq: int) -> None:
                await reader.changed(lane, seq)
                woken.append((lane, (await reader.head(lane)).seq))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, A, 1)
                nursery.start_soon(wait, B, 0)
                await reader._changes._listening.wait()
                await append(writer, B, other, b"{}")
                while not woken:  # noqa: ASYNC110 - as above
                    await trio.sleep(0.005)
                assert woken == [(B, 1)]
                await append(writer, A, head, b"{}", b"{}")
        assert woken == [(B, 1), (A, 3)]


async def test_news_survive_the_listeners_connection(server: PostgresqlServer, database: str) -> None:
    """JRN-6b: a listener whose connection broke looks for itself and listens again."""
    async with (
        open_postgresql(database, node="writer") as writer,
        open_postgresql(database, node="reader", read_only=True) as reader,
    ):
        head = await append(writer, A, await writer.own(A), b"{}")
        with trio.fail_after(SAFETY):
            async with trio.open_nursery() as nursery:

                async def follow() -> None:
                    seq = 1
                    while seq < 3:
                        await reader.changed(A, seq)
                        seq = (await reader.head(A)).seq

                nursery.start_soon(follow)
                await reader._changes._listening.wait()
                listeners = "FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
                await trio.to_thread.run_sync(
                    server.sql, f"SELECT count(pg_terminate_backend(pid)) {listeners}"
                )
                head = await append(writer, A, head, b"{}")
                await append(writer, A, head, b"{}")
