"""The single writer of a lane: what it decided, what is durable, and what becomes of it when an append fails."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.actors.jobs import (
    LANE,
    START,
    Begin,
    BrokenLogicError,
    Conclude,
    Crash,
    JobCommand,
    JobLane,
    JobLogic,
    JobState,
    Look,
    Note,
    Noted,
    Request,
    Start,
    opened,
)
from web4.actors.errors import EffectError, MailboxFullError
from web4.actors.lane_writer import MAX_PENDING, open_lane_writer
from web4.journal.backends.memory import Fault, MemoryStore, ScriptedFaults
from web4.journal.errors import InvalidEventError, JournalUnavailable, LaneHalted, WrongExpectedSeq
from web4.journal.journal import NewEvent
from web4.testing import check_lane_logic


def test_logic_of_these_tests_is_pure() -> None:
    """ACT-1: the tests' own lane is one."""
    commands: list[JobCommand] = [Note(1), Begin("a", start=True, effects=(("x", True),)), Look()]
    commands += [Conclude("x", "ok"), Start("a"), Request("y", "t"), Conclude("y", "error")]
    state, events = check_lane_logic(JobLogic(), commands)
    assert (state.total, len(events)) == (1, 10)


async def test_what_was_decided_is_durable_after_durable() -> None:
    """ACT-2: decisions see those before them; `durable_state` follows when the records are there."""
    async with opened() as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        assert [writer.decide(Note(n)).reply for n in (1, 2, 3)] == [1, 3, 6]
        assert (writer.state.total, writer.durable_state.total, writer.seq, writer.pending) == (6, 0, 0, True)
        await writer.durable()
        assert (writer.state, writer.seq, writer.pending) == (writer.durable_state, 3, False)
        assert [record.seq for record in await journal.read(LANE)] == [1, 2, 3]
        again = await open_lane_writer(journal, LANE, JobLane())
        assert again.state == writer.state


async def test_one_append_is_in_flight_and_takes_what_gathered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """ACT-2c: three appends for five callers: the first alone, then all that came meanwhile."""
    faults = ScriptedFaults({"commit": [Fault(delay=1)]})
    async with opened(faults=faults) as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())

        async def call(amount: int) -> None:
            writer.decide(Note(amount))
            await writer.durable()
            assert writer.durable_state.notes >= 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, 1)
            await trio.testing.wait_all_tasks_blocked()
            for amount in range(2, 6):
                nursery.start_soon(call, amount)
        commits = [record.commit for record in await journal.read(LANE)]
        assert len(set(commits)) == 2
        assert writer.durable_state.total == 15


async def test_cancelled_caller_leaves_its_events_to_the_next() -> None:
    """JRN-5e, JRN-4d: whoever calls next finishes the append that a cancelled caller began; nothing is there twice."""
    release = trio.Event()
    faults = ScriptedFaults({"commit": [Fault(until=release)]})
    async with opened(faults=faults) as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        writer.decide(Note(1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.durable)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert writer.pending
        writer.decide(Note(2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.durable)
            await trio.testing.wait_all_tasks_blocked()
            release.set()
        assert (writer.durable_state.total, writer.seq) == (3, 2)
        assert len(await journal.read(LANE)) == 2


async def test_another_writer_breaks_it() -> None:
    """JRN-4f: what was decided is dropped, and every call says so from then on."""
    async with opened() as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        await journal.append(LANE, [NewEvent(Noted(7), START)], expected_seq=0)
        writer.decide(Note(1))
        with pytest.raises(WrongExpectedSeq):
            await writer.durable()
        assert writer.state == writer.durable_state == JobState()
        with pytest.raises(WrongExpectedSeq):
            writer.decide(Note(1))
        assert (await open_lane_writer(journal, LANE, JobLane())).state.total == 7


async def test_halted_lane_is_refused() -> None:
    """ACT-5c: nothing is taken for it, neither by a writer at work nor by a new one."""
    async with opened() as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        writer.decide(Note(1))
        journal.halt(LANE, "for the test")
        with pytest.raises(LaneHalted):
            await writer.durable()
        with pytest.raises(LaneHalted):
            await open_lane_writer(journal, LANE, JobLane())


async def test_time_never_decreases() -> None:
    """JRN-2: a clock that was set back is clamped, within a batch and over a restart."""
    store = MemoryStore()
    async with opened(store) as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        for at in (START, START - 5, START + 7):
            writer.decide(Note(1, at))
        await writer.durable()
    async with opened(store) as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        writer.decide(Note(1, 0))
        await writer.durable()
        times = [record.at - START for record in await journal.read(LANE)]
    assert times == [0, 0, 7, 7]


async def test_refused_event_changes_nothing() -> None:
    """JRN-4e: a decision whose event the journal does not take leaves state, queue and time as they were."""
    async with opened() as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        with pytest.raises(InvalidEventError) as caught:
            writer.decide(Note(1, START, "x" * 300_000))
        assert caught.value.code == "payload_too_large"
        with pytest.raises(BrokenLogicError):
            writer.decide(Crash("apply"))
        with pytest.raises(InvalidEventError):
            writer.decide(Begin("a", effects=tuple((str(n), True) for n in range(512))))
        assert (writer.state, writer.pending, writer.effects) == (JobState(), False, {})


async def test_effects_are_requested_and_concluded_once() -> None:
    """ACT-3c: a second conclusion, and a second request of an open effect, are refused; also after a restart."""
    store = MemoryStore()
    async with opened(store) as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        writer.decide(Request("x", "hello"))
        with pytest.raises(EffectError) as caught:
            writer.decide(Request("x"))
        assert caught.value.code == "effect_requested"
        await writer.durable()
    async with opened(store) as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        assert writer.effects["x"].request.text == "hello"
        writer.decide(Conclude("x", "ok"))
        with pytest.raises(EffectError) as caught:
            writer.decide(Conclude("x", "ok"))
        assert caught.value.code == "effect_not_open"
        await writer.durable()
        assert writer.effects == {}


async def test_pending_events_are_bounded() -> None:
    """Every queue has a bound: deciding without ever waiting ends in `busy`."""
    async with opened() as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        for _ in range(MAX_PENDING):
            writer.decide(Note(1))
        with pytest.raises(MailboxFullError):
            writer.decide(Note(1))
        await writer.durable()
        assert writer.decide(Note(1)).reply == MAX_PENDING + 1


async def test_busy_journal_holds_the_events() -> None:
    """JRN-15: what the journal cannot take now is held, and goes with the next call."""
    async with opened() as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        append = journal.append
        refusals = iter([JournalUnavailable("full", code="busy")])

        async def busy(*args: object, **keywords: object) -> object:
            for error in refusals:
                raise error
            return await append(*args, **keywords)  # type: ignore[arg-type]

        journal.append = busy  # type: ignore[assignment, method-assign]
        writer.decide(Note(1))
        with pytest.raises(JournalUnavailable):
            await writer.durable()
        assert (writer.state.total, writer.pending) == (1, True)
        writer.decide(Note(2))
        await writer.durable()
        assert writer.durable_state.total == 3
