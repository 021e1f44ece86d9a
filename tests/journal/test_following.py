"""Reading and following: every record once, in order, whatever happens meanwhile (JRN-6)."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.journal.arrange import ONE, TWO, Bench, note
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import Fault, MemoryStore
from web4.journal.errors import Compacted, CorruptJournalError, CursorAhead, JournalUnavailable
from web4.journal.lane import Lane
from web4.journal.record import Snapshot

if TYPE_CHECKING:
    from web4.journal.journal import Journal
    from web4.journal.record import Record


async def compact(journal: Journal, lane: Lane, seq: int) -> None:
    (record,) = await journal.read(lane, after=seq - 1, limit=1)
    await journal.change(bases=[Snapshot.of(lane, seq, record.hash, b"{}", 1)])


async def test_follow_through_everything(autojump_clock: trio.testing.MockClock) -> None:
    """Scenario 8, JRN-6b: from 0 over writes, failures, restarts and a slow consumer: every record once."""
    bench, seen = Bench(), {"quick": 0, "slow": 0}

    async def follow(journal: Journal, name: str, until: int) -> None:
        async for record in journal.follow(ONE, after=seen[name]):
            assert record.seq == seen[name] + 1
            assert journal.registry.decode(record).text == str(record.seq)
            seen[name] = record.seq
            if record.seq == until:
                return
            if name == "slow":
                await trio.sleep(0.05)

    for life in range(1, 4):
        bench.faults.plan("commit", "none", "not_committed", "reply_lost", "none", "torn", times=5)
        async with bench.journal(follower_records=8) as journal, trio.open_nursery() as nursery:
            for name in seen:
                nursery.start_soon(follow, journal, name, 100 * life)
            for seq in range(100 * (life - 1), 100 * life, 4):
                await journal.append(ONE, [note(seq + n + 1) for n in range(4)], expected_seq=seq)
                await trio.sleep(0.01)
    assert seen == {"quick": 300, "slow": 300}


async def test_cursor_after_compaction() -> None:
    """Scenario 9, JRN-6c: below the base `Compacted` says where to start; from there it runs, live."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(n) for n in range(1, 11)], expected_seq=0)
        running = journal.follow(ONE)
        assert (await running.__anext__()).seq == 1
        await compact(journal, ONE, 7)
        for after in (0, 6):
            for call in (journal.read(ONE, after=after), journal.follow(ONE, after=after).__anext__()):
                with pytest.raises(Compacted) as caught:
                    await call
                assert caught.value.base_seq == 7
        follower = journal.follow(ONE, after=caught.value.base_seq)
        assert [(await follower.__anext__()).seq for _ in range(3)] == [8, 9, 10]
        await journal.append(ONE, [note(11)], expected_seq=10)
        assert (await follower.__anext__()).seq == 11
        # One that was under way has what it had read; nothing is skipped silently.
        assert [(await running.__anext__()).seq for _ in range(10)] == list(range(2, 12))
        with pytest.raises(CursorAhead) as ahead:
            await journal.follow(ONE, after=12).__anext__()
        assert ahead.value.head == 11
        with pytest.raises(CursorAhead):
            await journal.read(TWO, after=1)


async def test_a_slow_follower_is_told_of_compaction() -> None:
    """JRN-6b, c: what it had not read yet has gone: it is told, never given a hole."""
    bench = Bench()
    async with bench.journal(follower_records=4) as journal:
        follower = journal.follow(ONE)
        await journal.append(ONE, [note(1)], expected_seq=0)
        assert (await follower.__anext__()).seq == 1
        for seq in range(1, 40):
            await journal.append(ONE, [note(seq)], expected_seq=seq)
        await compact(journal, ONE, 30)
        got = []

        async def drain() -> None:
            async for record in follower:
                got.append(record.seq)

        with pytest.raises(Compacted) as caught:
            await drain()
        assert got == list(range(2, 2 + len(got)))
        assert len(got) <= 4
        assert caught.value.base_seq == 30


async def test_a_follower_that_is_cancelled_has_taken_nothing() -> None:
    """JRN-6b: at every checkpoint."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(n) for n in range(5)], expected_seq=0)
        follower = journal.follow(ONE)
        got: list[int] = []
        while len(got) < 5:
            with trio.CancelScope() as scope:
                scope.cancel()
                await follower.__anext__()
            got.append((await follower.__anext__()).seq)
        assert got == [1, 2, 3, 4, 5]
        with trio.move_on_after(0.01):
            await follower.__anext__()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(journal.append, ONE, [note(6)], expected_seq=5))
            assert (await follower.__anext__()).seq == 6


async def test_followers_see_only_what_is_durable(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-6d: not what is on its way, and not what was refused."""
    bench, gate = Bench(), trio.Event()
    async with bench.journal() as journal:
        follower = journal.follow(ONE)
        got: list[Record] = []

        async def follow() -> None:
            got.append(await follower.__anext__())

        bench.faults.plan("commit", Fault("unknown", until=gate), "not_committed")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            nursery.start_soon(partial(journal.append, ONE, [note(1)], expected_seq=0))
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
            gate.set()
            await trio.testing.wait_all_tasks_blocked()
            assert got == []
        assert [one.seq for one in got] == [1]
        stored = (await journal.read(ONE))[0]
        assert (got[0].hash, got[0].commit, got[0].payload) == (stored.hash, stored.commit, stored.payload)


async def test_reading() -> None:
    """JRN-6a: limits, both ways, lanes by kind and name."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(n) for n in range(600)], expected_seq=0)
        await journal.append(TWO, [note(0)], expected_seq=0)
        assert len(await journal.read(ONE)) == 500
        assert [one.seq for one in await journal.read(ONE, after=597)] == [598, 599, 600]
        assert [one.seq for one in await journal.read(ONE, after=598, reverse=True)] == [600, 599]
        assert [one.seq for one in await journal.read(ONE, limit=2, reverse=True)] == [600, 599]
        for limit in (0, 10_001):
            with pytest.raises(ValueError, match="limit"):
                await journal.read(ONE, limit=limit)
        assert [lane for lane, _ in await journal.heads("session")] == [ONE, TWO]
        assert [lane for lane, _ in await journal.heads(after=ONE)] == [TWO]
        assert await journal.heads("peer") == []


async def test_a_missing_record_is_never_passed_over() -> None:
    """JRN-6b, JRN-15g: a store that lost one is damaged; readers and followers are told where, not given the next."""
    bench = Bench()
    async with bench.journal(follower_records=3) as journal:
        await journal.append(ONE, [note(n) for n in range(9)], expected_seq=0)
        rows = bench.store.lanes[ONE].rows
        fifth, rows[4] = rows[4], None  # type: ignore[call-overload]
        for call in (
            journal.read(ONE),
            journal.read(ONE, after=4),
            journal.read(ONE, reverse=True),
            journal.read(ONE, after=2, limit=5),
        ):
            with pytest.raises(CorruptJournalError) as caught:
                await call
            assert (caught.value.code, caught.value.lane, caught.value.seq) == ("chain_broken", ONE, 5)
        assert [one.seq for one in await journal.read(ONE, limit=4)] == [1, 2, 3, 4]
        follower = journal.follow(ONE)
        assert [(await follower.__anext__()).seq for _ in range(3)] == [1, 2, 3]
        with pytest.raises(CorruptJournalError):
            await follower.__anext__()
        # At the end, too: whoever reads up to the head would ask for ever.
        rows[4:] = [fifth]
        assert len(await journal.read(ONE)) == 5
        for reverse in (False, True):
            with pytest.raises(CorruptJournalError) as caught:
                await journal.read(ONE, after=5, reverse=reverse)
            assert caught.value.seq == 6


async def test_many_followers_come_and_go() -> None:
    """A follower that is let go is told nothing more, and nothing keeps it."""
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(0)], expected_seq=0)
        followers = [journal.follow(ONE) for _ in range(100)]
        for follower in followers:
            assert (await follower.__anext__()).seq == 1
        assert (await journal.stats())["followers"] == 100
        followers[0].close()
        del follower, followers[50:]
        await journal.append(ONE, [note(1)], expected_seq=1)
        assert (await journal.stats())["followers"] == 49
        assert [(await one.__anext__()).seq for one in followers] == [2] * 50


@pytest.mark.parametrize("shared", [False, True])
async def test_following_a_journal_that_closes(shared: bool) -> None:
    """DESIGN: nobody waits for ever; what was there is delivered first, and the error comes by itself."""
    bench, seen, told = Bench(store=MemoryStore(ids=SeededIds("store"), shared=shared)), [], []

    async def follow(journal: Journal) -> None:
        try:
            async for record in journal.follow(ONE):
                seen.append(record.seq)
        except JournalUnavailable as error:
            told.append(error.code)

    async with trio.open_nursery() as nursery, bench.journal() as journal:
        for _ in range(3):
            nursery.start_soon(follow, journal)
        await journal.append(ONE, [note(1)], expected_seq=0)
    assert (seen, told) == ([1, 1, 1], ["closed"] * 3)


async def test_one_task_at_a_time_waits_for_a_follower() -> None:
    """JRN-6b: a second one would get some of the records, or none for ever."""
    bench = Bench()
    async with bench.journal() as journal, trio.open_nursery() as nursery:
        follower = journal.follow(ONE)
        nursery.start_soon(follower.__anext__)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError):
            await follower.__anext__()
        await journal.append(ONE, [note(1)], expected_seq=0)


async def test_followers_that_were_let_go_leave_nothing() -> None:
    """DESIGN: lanes that were followed once and are never written again are not remembered."""
    bench = Bench()
    async with bench.journal() as journal:
        for number in range(500):
            with trio.CancelScope() as scope:
                follower = journal.follow(Lane("session", f"s{number}"))
                scope.deadline = trio.current_time() + 0.0001
                await follower.__anext__()
            del follower
        gc.collect()
        assert len(journal._followers) <= 1
        assert len(journal._followers._of) <= 130
