"""What breaks between a node and its PostgreSQL, and what is said of it (JRN-15, JRN-24b)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.journal.postgresql.arrange import SAFETY, append, commit_of, sealed
from tests.journal.postgresql.proxy import open_proxy
from web4.journal.backends.postgresql import open_postgresql
from web4.journal.backends.postgresql.wire import Connection
from web4.journal.errors import (
    JournalOpenError,
    JournalUnavailable,
    NotCommittedError,
    NotWriterError,
    OutcomeUnknownError,
    WrongExpectedSeq,
)
from web4.journal.lane import Lane

if TYPE_CHECKING:
    from tests.postgresql_server import PostgresqlServer

A, B = Lane("session", "a"), Lane("session", "b")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock'"
QUICK: dict[str, Any] = {"lease_seconds": 3.0, "renew_seconds": 0.3, "give_up_seconds": 2.0}


@pytest.mark.parametrize("arrives", ["never", "at_once", "late"])
async def test_unknown_outcome_is_read_back(server: PostgresqlServer, database: str, arrives: str) -> None:
    """JRN-15b: a connection lost at commit; what is found once is true for ever, even if the request is still on its
    way to the server and arrives after it was looked for."""
    async with (
        open_proxy(server) as proxy,
        open_postgresql(proxy.conninfo(server, database), node="one") as one,
    ):
        before = await append(one, A, await one.own(A), b"{}")
        commit = commit_of(sealed(A, before, [b"1", b"2"]), sealed(B, await one.own(B), [b"3"]))
        if arrives == "at_once":
            proxy.hold_answering()
        else:
            proxy.hold_asking()
        held = proxy.answered if arrives == "at_once" else proxy.asked

        async def cut() -> None:
            await held.wait()
            await proxy.cut()
            if arrives != "late":
                proxy.let_ask()
            proxy.let_answer()

        with trio.fail_after(SAFETY):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut)
                with pytest.raises(OutcomeUnknownError):
                    await one.commit(commit)
            with pytest.raises(NotCommittedError):
                await one.commit(commit)  # it takes nothing until it knows
            if arrives == "late":
                found = await recover_beside_what_is_held(one, proxy, commit)
            else:
                found = await one.recover(commit)
        there = len(await one.scan()) - 1
        assert there == (0 if found is None else 3)
        if arrives == "late":
            assert found is None
        if arrives == "at_once":
            assert found is not None
        if found is None:
            # It is written again, once.
            found = await one.commit(commit)
        assert [(r.lane, r.seq) for r in await one.scan() if r.commit == found] == [
            (A, 2),
            (A, 3),
            (B, 1),
        ]
        await append(one, A, await one.head(A), b"{}")


async def recover_beside_what_is_held(one: Any, proxy: Any, commit: Any) -> Any:
    """Recover on a new connection while the old request waits in the wire; let it arrive afterwards."""
    held, passing = proxy._may_ask, trio.Event()
    passing.set()
    proxy._may_ask = passing
    found = await one.recover(commit)
    held.set()
    await trio.sleep(0.2)  # nothing tells when a server has refused somebody who is gone
    return found


async def test_cancelled_reading_ends_in_the_server_too(server: PostgresqlServer, database: str) -> None:
    """A cancellation in mid-query: the server is asked to stop, the connection is dropped, the next query works."""
    async with open_postgresql(database, node="one") as one:
        head = await append(one, A, await one.own(A), b"{}")
        name = database.rpartition("=")[2]
        operator = await locked(server, name, "LOCK TABLE web4.records IN ACCESS EXCLUSIVE MODE")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.read, A)
            await until(server, WAITING.format(name), "1")
            nursery.cancel_scope.cancel()
        await until(server, WAITING.format(name), "0")
        operator.close()
        assert [r.seq for r in await one.read(A)] == [1]
        await append(one, A, head, b"{}")


async def test_cancelled_append_is_written(server: PostgresqlServer, database: str) -> None:
    """JRN-5e: cancelling a commit under way does not undo it; one that has not begun does not begin."""
    name = database.rpartition("=")[2]
    async with open_postgresql(database, node="one", lease_seconds=20, give_up_seconds=15) as one:
        head = await one.own(A)
        with trio.CancelScope() as early:
            early.cancel()
            await append(one, A, head, b"{}")
        assert early.cancelled_caught
        assert (await one.head(A)).seq == 0
        async with trio.open_nursery() as nursery:
            operator = await locked(server, name, "LOCK TABLE web4.lanes IN SHARE MODE")
            scope = trio.CancelScope()

            async def write() -> None:
                with scope:
                    await append(one, A, head, b"{}")
                scope.cancel()

            nursery.start_soon(write)
            await until(server, WAITING.format(name), "1")
            scope.cancel()
            operator.close()
        assert (await one.head(A)).seq == 1


async def test_lease_that_cannot_be_renewed(server: PostgresqlServer, database: str) -> None:
    """JRN-24b: an owner cut off from its database gives up before anybody may take its lanes, and says so."""
    async with (
        open_proxy(server) as proxy,
        open_postgresql(proxy.conninfo(server, database), node="one", **QUICK) as one,
        open_postgresql(database, node="two", **QUICK) as two,
    ):
        head = await append(one, A, await one.own(A), b"{}")
        await one.own(B)
        proxy.refuse = True
        await proxy.cut()
        cut_at = trio.current_time()
        with pytest.raises(JournalUnavailable) as unavailable:
            await one.head(A)
        assert unavailable.value.code == "suspended"
        commit = commit_of(sealed(A, head, [b"{}"]))
        # An append that begins before it gives up would not know its outcome; this one begins after.
        await trio.sleep_until(cut_at + QUICK["give_up_seconds"])
        with pytest.raises(NotWriterError) as lost:
            await one.commit(commit)
        assert lost.value.code == "lease_lost"
        with trio.fail_after(SAFETY):
            while True:
                try:
                    head = await two.own(A)
                    break
                except NotWriterError:
                    await trio.sleep(0.05)
        assert head.seq == 1
        proxy.refuse = False
        # Back again it may ask for lanes anew; those it held before are gone.
        with trio.fail_after(SAFETY):
            while True:
                try:
                    again = await one.own(B)
                    break
                except NotCommittedError:
                    await trio.sleep(0.05)
        with pytest.raises(NotWriterError):
            await one.commit(commit)
        await append(two, A, head, b"{}")
        await append(one, B, again, b"{}")


async def test_operators_lock_is_no_outcome(server: PostgresqlServer, database: str) -> None:
    """JRN-15a: a commit that met somebody's lock did not happen, and is said not to have; later it works."""
    impatient = f"{database} options='-c lock_timeout=100ms'"
    async with open_postgresql(impatient, node="one") as one:
        head = await one.own(A)
        operator = await locked(server, database.rpartition("=")[2], "LOCK TABLE web4.records IN SHARE MODE")
        with pytest.raises(NotCommittedError):
            await append(one, A, head, b"{}")
        operator.close()
        await append(one, A, head, b"{}")
        with pytest.raises(WrongExpectedSeq):
            await append(one, A, head, b"{}")


@pytest.mark.parametrize(
    "conninfo",
    [
        "host=/nonexistent dbname=x password=hunter2",
        "postgresql://somebody:hunter2@127.0.0.1:1/x",
        "password=hunter2 no sense in this",
        "postgresql://u:hunter2@[::1/x",
        "host=no-such-host.invalid password=hunter2",
    ],
)
async def test_unreachable_database_is_said_without_its_password(conninfo: str) -> None:
    """JRN-11d: a typed error; neither its message nor what it hangs on holds the password."""
    with pytest.raises(JournalOpenError) as refused:
        async with open_postgresql(conninfo, node="one"):
            pass
    assert refused.value.code == "unreachable"
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


async def locked(server: PostgresqlServer, database: str, lock: str) -> Connection:
    """Hold a lock as an operator's psql would, until the connection is closed."""
    connection = await Connection.open(server.conninfo(database), schema="web4", synchronous=True, within=5)
    await connection.script(f"BEGIN; {lock}")
    return connection


async def until(server: PostgresqlServer, question: str, answer: str) -> None:
    with trio.fail_after(SAFETY):
        while await trio.to_thread.run_sync(server.sql, question) != answer:  # noqa: ASYNC110 - the server tells nobody
            await trio.sleep(0.01)
