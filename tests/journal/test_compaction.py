"""A base snapshot in the place of a lane's first records changes nothing that anybody can tell (JRN-17)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.journal.ledger import (
    DEFINITION,
    DEFINITIONS,
    LANE,
    Command,
    Writer,
    commands,
    opened,
    sequence,
    types,
)
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import Fault, MemoryStore, ScriptedFaults, open_memory
from web4.journal.compaction import Slices, compact, floor_of
from web4.journal.errors import (
    Compacted,
    CursorAhead,
    JournalUnavailable,
    NotCommittedError,
    RetentionError,
)
from web4.journal.event_types import EventRegistry
from web4.journal.holds import hold
from web4.journal.opening import open_journal
from web4.journal.redaction import Redactor
from web4.journal.replay import replay, state_at
from web4.journal.verify import verify
from web4.testing.clocks import ManualClock

if TYPE_CHECKING:
    from web4.journal.record import Head

EXAMPLES = int(os.environ.get("WEB4_COMPACTIONS", "25"))


async def told(journal: Any) -> tuple[Any, ...]:
    """All that can be told of the lane: head, state, versions, what is unfinished."""
    result = await replay(journal.backend, DEFINITIONS, journal.registry, lane=LANE)
    (lane,) = result.lanes
    assert result.divergences == ()
    work = [(one.kind, one.subject, one.started) for one in await journal.open_work(LANE)]
    head = await journal.head(LANE)
    return lane.stopped, lane.digest, lane.seq, work, head.seq


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(
    given_commands=commands(),
    points=st.sets(st.integers(0, 39), min_size=2, max_size=8),
    erase=st.booleans(),
    restart=st.booleans(),
    following=commands(10),
)
def test_compaction_equivalence(
    given_commands: list[Command],
    points: set[int],
    erase: bool,
    restart: bool,
    following: list[Command],
) -> None:
    """Scenario 19: states, outcomes, keys, versions and following decisions equal those of an uncompacted twin."""

    async def run(compacting: bool) -> Any:
        store = MemoryStore(ids=SeededIds(1))
        replies = []
        state, seq = None, 0
        async with opened(store, identity=None) as journal:
            writer = Writer(journal)
            for index, command in enumerate(given_commands):
                replies.append(await writer.handle(command))
                if compacting and index in points:
                    if erase and writer.seq:
                        await _compact_some(journal, writer.seq // 2)
                    await compact(journal, LANE, definition=DEFINITION)
            if compacting:
                event("compacted" if (await journal.head(LANE)).base_seq else "nothing to compact")
            state, seq = writer.state, writer.seq
        async with opened(store, identity=None) as journal:
            if restart:
                (lane,) = (await replay(journal.backend, DEFINITIONS, journal.registry, lane=LANE)).lanes
                assert lane.stopped is None
                rebuilt = await _rebuilt(journal)
                assert rebuilt == DEFINITION.encode(state)
            writer = Writer(journal, state=state, seq=seq)
            replies += [await writer.handle(command) for command in following]
            assert (await verify(journal.backend, journal.registry)).findings == []
            return replies, writer.state, await told(journal)

    assert trio.run(run, True) == trio.run(run, False)


async def _compact_some(journal: Any, seq: int) -> None:
    """Compact to `seq`, if nothing is in the way there."""
    head = await journal.head(LANE)
    kept = await floor_of(journal, LANE, head, seq, held={})
    if kept is None:
        await compact(journal, LANE, seq=seq, definition=DEFINITION)


async def _rebuilt(journal: Any) -> bytes:
    head: Head = await journal.head(LANE)
    return (await state_at(journal.backend, DEFINITION, journal.registry, LANE, head.seq)).state


async def test_a_lane_without_a_record_left_goes_on_where_it_was() -> None:
    """JRN-17a, JRN-1e."""
    store = MemoryStore()
    async with opened(store) as journal:
        writer = Writer(journal)
        await writer.notes(5)
        before = await journal.head(LANE)
        assert await compact(journal, LANE, definition=DEFINITION) == 5
        assert await journal.read(LANE, after=5) == []
        with pytest.raises(Compacted) as caught:
            await journal.read(LANE, after=4)
        assert caught.value.base_seq == 5
    async with opened(store) as journal:
        writer.journal = journal
        await writer.notes(1, start=5)
        (record,) = await journal.read(LANE, after=5)
        assert record.seq == 6
        assert (await journal.head(LANE)).base_hash == before.hash
        assert (await verify(journal.backend, journal.registry)).findings == []


async def test_what_may_not_go_is_said() -> None:
    async with opened() as journal:
        writer = Writer(journal)
        for command in sequence("note", "note", "place a", "note"):
            await writer.handle(command)
        with pytest.raises(RetentionError) as caught:
            await compact(journal, LANE, seq=3, definition=DEFINITION)
        assert caught.value.code == "kept"
        with pytest.raises(RetentionError) as caught:
            await compact(journal, LANE, seq=1)
        assert caught.value.code == "no_snapshot"
        with pytest.raises(CursorAhead):
            await compact(journal, LANE, seq=9, definition=DEFINITION)
        assert await compact(journal, LANE, seq=1, definition=DEFINITION) == 1
        assert await compact(journal, LANE, seq=1, definition=DEFINITION) == 1
        assert await compact(journal, LANE, definition=DEFINITION) == 2
        await hold(journal, LANE, name="h", reason="r")
        await writer.handle(sequence("finish a")[0])
        assert await compact(journal, LANE, definition=DEFINITION) == 2


async def test_a_state_that_holds_a_secret_stands_for_nothing() -> None:
    """JRN-18f: replacing it in the state would make the rebuilt state another than the live one."""
    async with opened() as journal:
        assert journal.redactor is not None
        await Writer(journal).handle(sequence("note", text="abcdefgh")[0])
        journal.redactor.learn("late", "abcdefgh")
        with pytest.raises(RetentionError) as caught:
            await compact(journal, LANE, definition=DEFINITION)
        assert caught.value.code == "no_snapshot"
        assert "abcdefgh" not in str(caught.value)


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("kind", ["not_committed", "kill"])
async def test_compaction_survives_a_kill_at_any_point(step: int, kind: Any) -> None:
    """JRN-17c: whatever was done, the lane is whole, and the next run finishes."""
    store = MemoryStore(ids=SeededIds(2))
    seen: list[str] = []

    def faults(operation: str) -> Fault | None:
        seen.append(operation)
        if len(seen) - 1 != step or operation == "put_snapshot":
            return None
        if kind == "kill":
            store.kill()
            return None
        return Fault("not_committed") if operation == "prune" else None

    async with opened(store) as journal:
        writer = Writer(journal)
        await writer.notes(700)
        state = DEFINITION.encode(writer.state)
    try:
        async with (
            open_memory(store, faults=faults) as backend,
            open_journal(backend, registry=EventRegistry(types()), clock=ManualClock()) as journal,
        ):
            with trio.fail_after(5):
                await compact(journal, LANE, seq=650, definition=DEFINITION)
    except* (JournalUnavailable, trio.TooSlowError):
        pass
    async with opened(store) as journal:
        head = await journal.head(LANE)
        assert head.base_seq in {0, 650}
        assert (await verify(journal.backend, journal.registry)).findings == []
        assert await compact(journal, LANE, seq=650, definition=DEFINITION) == 650
        assert await _rebuilt(journal) == state
        assert store.lanes[LANE].first == 651


async def test_appends_get_their_turn_between_the_slices() -> None:
    """JRN-17c: slices are sized by what they take; a writer is never shut out."""
    clock = ManualClock()
    sizes = []
    async with opened(clock=clock) as journal:
        backend: Any = journal.backend
        prune = backend.prune
        writer = Writer(journal)

        async def slow(lane: Any, *, limit: int) -> int:
            sizes.append(limit)
            clock.advance(limit // 4)  # a quarter of a millisecond for each record
            await writer.notes(1, start=writer.seq)
            return int(await prune(lane, limit=limit))

        backend.prune = slow
        await writer.notes(3_000)
        await compact(journal, LANE, definition=DEFINITION)
        assert writer.seq == 3_000 + len(sizes)
        # 256 records take 64 ms: too many; from then on a slice takes 32 ms, and soon 16.
        assert sizes[:3] == [256, 128, 64]
        assert max(sizes[1:]) // 4 <= 50


def test_slices_grow_and_shrink_within_bounds() -> None:
    clock = ManualClock()

    class Timed:
        def __init__(self) -> None:
            self.clock = clock

    slices = Slices(Timed(), first=100)  # type: ignore[arg-type]
    for _ in range(20):
        with slices.measured():
            clock.advance(1)
    assert slices.size == 4_096
    for _ in range(20):
        with slices.measured():
            clock.advance(100)
    assert slices.size == 16


async def test_an_interrupted_prune_is_finished() -> None:
    store = MemoryStore()
    plan = ScriptedFaults()
    async with opened(store) as journal:
        await Writer(journal).notes(600)
    async with (
        open_memory(store, faults=plan) as backend,
        open_journal(
            backend, registry=EventRegistry(types()), redactor=Redactor(backend.hash_key)
        ) as journal,
    ):
        plan.plan("prune", Fault(), Fault("no_space"))
        with pytest.raises(JournalUnavailable) as caught:
            await compact(journal, LANE, definition=DEFINITION)
        assert caught.value.code == "suspended"
        assert (await journal.head(LANE)).base_seq == 600
        assert store.lanes[LANE].first == 257
        assert await compact(journal, LANE, definition=DEFINITION) == 600
        assert store.lanes[LANE].first == 601


async def test_a_file_that_cannot_be_scrubbed_is_no_crash() -> None:
    """JRN-16: a reader in the way gives the error that is promised; the compaction stands, and can do without."""
    async with opened() as journal:
        backend: Any = journal.backend

        async def in_the_way() -> None:
            raise NotCommittedError("somebody reads it")

        backend.scrub = in_the_way
        await Writer(journal).notes(20)
        with pytest.raises(JournalUnavailable) as refused:
            await compact(journal, LANE, seq=10, definition=DEFINITION)
        assert refused.value.code == "suspended"
        assert (await journal.head(LANE)).base_seq == 10
        assert await compact(journal, LANE, seq=15, definition=DEFINITION, thorough=False) == 15
