"""The server dies as it would by a power cut, and comes back (JRN-12b, JRN-15)."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING, Any

import trio

from tests.journal.postgresql.arrange import SAFETY, commit_of, sealed
from tests.seeds import a_seed
from web4.journal.backends.postgresql import open_postgresql
from web4.journal.errors import NotCommittedError, NotWriterError, OutcomeUnknownError
from web4.journal.lane import Lane

if TYPE_CHECKING:
    from tests.postgresql_server import PostgresqlServer
    from web4.journal.backends.postgresql.backend import PostgresqlBackend
    from web4.journal.record import Commit

A, B = Lane("session", "a"), Lane("session", "b")
CRASHES = int(os.environ.get("WEB4_SERVER_CRASHES", "2"))


async def test_server_killed_in_mid_commit(server: PostgresqlServer, database: str) -> None:
    """JRN-12b, JRN-15b: shut down at once under load, over and over: nothing acknowledged is lost, what was unknown is
    read back truly, and the same opening goes on."""
    seed = a_seed()
    print(f"seed {seed}")
    chance = random.Random(seed)
    acknowledged: dict[bytes, int] = {}
    unknown = {"there": 0, "not there": 0}
    # The lease outlives a slow restart of the server; what happens when it does not is another test's.
    times: dict[str, Any] = {"lease_seconds": 90.0, "renew_seconds": 1.0, "give_up_seconds": 80.0}
    async with open_postgresql(database, node="one", **times) as one:
        heads = {A: await one.own(A), B: await one.own(B)}
        progress = [trio.Event()]

        async def write() -> None:
            while True:
                parts = [sealed(lane, head, [b"{}", b"[]"]) for lane, head in heads.items()]
                commit = commit_of(*parts)
                number = await persist(one, commit, unknown)
                acknowledged.update({record.hash: number for record in commit.records})
                heads.update({move.lane: move.after for _, move in parts})
                progress[0].set()
                progress[0] = trio.Event()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            for _ in range(CRASHES):
                for _ in range(chance.randrange(2, 30)):
                    with trio.fail_after(SAFETY):
                        await progress[0].wait()
                await trio.sleep(chance.random() * 0.01)
                await trio.to_thread.run_sync(server.stop, signal.SIGQUIT)
                await trio.to_thread.run_sync(server.start)
            with trio.fail_after(SAFETY):
                await progress[0].wait()
                await progress[0].wait()
            nursery.cancel_scope.cancel()
        print(unknown)
        for lane, head in heads.items():
            records = await one.read(lane, limit=1_000_000)
            assert [r.seq for r in records] == list(range(1, len(records) + 1))
            assert {r.hash: r.commit for r in records if r.seq <= head.seq} == {
                r.hash: acknowledged[r.hash] for r in records if r.seq <= head.seq
            }
            assert len(records) >= head.seq
        assert len(acknowledged) == sum(head.seq for head in heads.values())


async def persist(backend: PostgresqlBackend, commit: Commit, unknown: dict[str, int]) -> int:
    """As the journal's front does it."""
    lost = False
    while True:
        try:
            if lost:
                found = await backend.recover(commit)
                unknown["not there" if found is None else "there"] += 1
                if found is not None:
                    return found
                lost = False
            return await backend.commit(commit)
        except OutcomeUnknownError:
            lost = True
        except NotCommittedError:
            await trio.sleep(0.02)
        except NotWriterError as error:
            raise AssertionError("the lease was lost") from error
