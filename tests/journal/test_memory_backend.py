"""The journal in memory by itself: restarts, faults to inject, and how strict it is (JRN-24c)."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing

from tests.journal.arrange import ONE, TWO, Bench, note
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import Fault, MemoryStore, RandomFaults, ScriptedFaults, open_memory
from web4.journal.errors import (
    JournalLocked,
    JournalOpenError,
    JournalUnavailable,
    NotCommittedError,
    NotWriterError,
    OutcomeUnknownError,
)
from web4.journal.record import Snapshot
from web4.testing.journal.scribe import Draft, Scribe


async def test_a_store_outlives_its_openings() -> None:
    """JRN-11b: opening it again is a restart; while it is open, nobody else writes."""
    store = MemoryStore()
    with pytest.raises(JournalOpenError):
        async with open_memory(store, read_only=True):
            pass
    async with open_memory(store) as backend:
        scribe = Scribe(backend)
        await scribe.write({ONE: [Draft()]})
        with pytest.raises(JournalLocked) as caught:
            async with open_memory(store):
                pass
        assert caught.value.owner == "boot 1"
    for call in (partial(backend.head, ONE), partial(backend.own, ONE)):
        with pytest.raises(JournalUnavailable):
            await call()
    async with open_memory(store) as backend:
        assert backend.boot == 2
        await scribe.reopened(backend)
        await scribe.check_all()
        # Killed, it can do nothing more, and the next opening is not refused.
        store.kill()
        with pytest.raises(JournalUnavailable):
            await scribe.write({ONE: [Draft()]})
        async with open_memory(store) as next_one:
            await scribe.reopened(next_one)
            await scribe.check_all()


async def test_scripted_faults(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-24c: before the commit, after it, unknown, torn, no space for so many attempts, and delay."""
    store, faults = MemoryStore(), ScriptedFaults({"commit": ["not_committed"], "put_blob": ["no_space"]})
    faults.plan("commit", "no_space", times=3)
    faults.plan("commit", Fault("reply_lost", delay=60), "unknown", "torn")
    async with open_memory(store, faults=faults) as backend:
        scribe = Scribe(backend)
        await scribe.own(ONE)
        for _ in range(4):
            with pytest.raises(NotCommittedError):
                await scribe.write({ONE: [Draft()]})
        began = trio.current_time()
        for there in (True, False, False):
            commit = scribe.draft({ONE: [Draft(), Draft()]})
            with pytest.raises(OutcomeUnknownError):
                await backend.commit(commit)
            with pytest.raises(NotCommittedError, match="not known"):
                await backend.put_blob("b3:x", b"", at=0)
            number = await backend.recover(commit)
            assert (number is not None) == there
            if number is not None:
                scribe.took(commit, number)
            await scribe.check_all()
        assert trio.current_time() - began == 60
        assert store.torn == 1
        with pytest.raises(NotCommittedError):
            await backend.put_blob("b3:x", b"", at=0)
        await backend.put_blob("b3:x", b"", at=0)
        faults.plan("commit", "torn")
        with pytest.raises(OutcomeUnknownError):
            await scribe.write({ONE: [Draft(), Draft()]})
        assert faults.attempts["commit"] == 8
    async with open_memory(store) as backend:
        assert backend.torn == 1
        await scribe.reopened(backend)
        await scribe.check_all()


async def test_a_cancelled_commit_completes(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-5e: what has begun to be written is written."""
    faults = ScriptedFaults({"commit": [Fault(delay=5)]})
    async with open_memory(faults=faults) as backend:
        scribe = Scribe(backend)
        await scribe.own(ONE)
        with trio.move_on_after(1):
            await scribe.write({ONE: [Draft()]})
        assert (await backend.head(ONE)).seq == 1


async def test_it_is_strict_with_its_journal() -> None:
    """What contradicts itself is a mistake above, and found here."""
    async with open_memory() as backend:
        scribe = Scribe(backend)
        await scribe.write({ONE: [Draft()] * 3, TWO: [Draft()] * 3})
        commit = scribe.draft({ONE: [Draft()] * 2, TWO: [Draft()]})
        for what, broken in {
            "another order": commit._replace(records=commit.records[::-1]),
            "without record": commit._replace(records=commit.records[:1]),
            "none of its heads": commit._replace(heads=commit.heads[:1]),
            "its last record": commit._replace(
                heads=[commit.heads[0]._replace(after=commit.heads[0].after._replace(hash=bytes(32)))],
                records=commit.records[:2],
            ),
            "beyond the end": commit._replace(bases=[Snapshot.of(ONE, 9, bytes(32), b"{}", 1)]),
        }.items():
            with pytest.raises(ValueError, match=what):
                await backend.commit(broken)
            await scribe.check_all()
        await backend.release(ONE)
        with pytest.raises(NotWriterError) as caught:
            await backend.commit(commit)
        assert (caught.value.code, caught.value.lane) == ("lease_lost", ONE)
        await scribe.check_all()


async def _run(seed: int) -> tuple[list[bytes], list[bytes]]:
    bench = Bench(store=MemoryStore(ids=SeededIds(seed)))
    faults = RandomFaults(seed, rate=0.5)
    async with bench.journal(faults=faults, retry_seconds=0.001, retry_most_seconds=0.001) as journal:
        for number in range(20):
            await journal.append(ONE, [note(number)], expected_seq=number)
        records = await journal.read(ONE)
    assert sum(faults.met.values()) > 0
    return [one.hash for one in records], [one.salt or b"" for one in records]


async def test_it_is_deterministic(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-24c: the same seeds give the same journal, byte for byte."""
    assert await _run(1) == await _run(1)
    assert (await _run(1))[0] != (await _run(2))[0]
