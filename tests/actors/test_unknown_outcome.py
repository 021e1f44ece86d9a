"""A lane actor whose journal cannot tell what became of an append stays truthful (JRN-15d)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.actors.jobs import LANE, Begin, JobLane, Note, opened
from web4.actors import LaneActors, open_lane_actors, open_lane_writer
from web4.journal.backends.memory import Fault, MemoryStore, ScriptedFaults
from web4.journal.errors import CorruptJournalError, JournalUnavailable
from web4.journal.lane import Lane

if TYPE_CHECKING:
    from web4.actors import LaneRef


@pytest.mark.parametrize("ends", ["damaged", "closed"])
async def test_what_may_be_durable_is_not_called_refused(ends: str, autojump_clock: object) -> None:
    """JRN-15d: the journal fails, or closes, while nobody can tell: it is neither refused nor decided again."""
    store, faults, told = MemoryStore(), ScriptedFaults(), []

    async def ask(ref: LaneRef, amount: int) -> None:
        with pytest.raises(JournalUnavailable) as caught:
            await ref.ask(Note(amount))
        told.append((amount, caught.value.code))

    async def damaged(_: object) -> int | None:
        raise CorruptJournalError("damaged")

    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[LaneActors]) -> None:
            async with open_lane_actors(journal, {"session": JobLane()}) as actors:
                task_status.started(actors)
                await trio.sleep(20)

        async with opened(store, faults=faults) as journal:
            actors = await nursery.start(serve)
            ref = actors.lane(LANE)
            await ref.ask(Note(1))
            hold = trio.Event()
            faults.plan("commit", Fault("reply_lost", until=hold))
            if ends == "damaged":
                journal.backend.recover = damaged  # type: ignore[assignment]
            else:
                faults.plan("recover", "not_committed", times=1_000)
            nursery.start_soon(ask, ref, 2)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask, ref, 3)
            await trio.testing.wait_all_tasks_blocked()
            hold.set()
            await trio.sleep(1)
        await trio.sleep(1)
    certain = "failed" if ends == "damaged" else "closed"
    assert sorted(told) == [(2, "outcome_unknown"), (3, certain)]
    assert store.head(LANE).seq == 2


async def test_a_cancelled_append_is_in_doubt() -> None:
    """JRN-5e: who repeats it when the journal has closed meanwhile is not told that nothing was written."""
    store, faults, hold = MemoryStore(), ScriptedFaults(), trio.Event()
    async with opened(store, faults=faults) as journal:
        writer = await open_lane_writer(journal, LANE, JobLane())
        faults.plan("commit", Fault(until=hold))
        writer.decide(Note(1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.durable)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        hold.set()
    with pytest.raises(JournalUnavailable) as caught:
        await writer.durable()
    assert caught.value.code == "outcome_unknown"
    assert store.head(LANE).seq == 1


async def test_a_journal_that_fails_during_recovery(autojump_clock: trio.testing.MockClock) -> None:
    """JRN-14, JRN-15g: recovery has failed, and says so at once instead of when its time is over."""
    store, faults = MemoryStore(), ScriptedFaults()
    async with opened(store) as journal:
        for name in "ab":
            writer = await open_lane_writer(journal, Lane("session", name), JobLane())
            writer.decide(Begin("j", start=True))
            await writer.durable()

    async def damaged(_: object) -> int | None:
        raise CorruptJournalError("damaged")

    async with opened(store, faults=faults) as journal:
        journal.backend.recover = damaged  # type: ignore[assignment]
        faults.plan("commit", "reply_lost")
        began = trio.current_time()
        async with open_lane_actors(journal, {"session": JobLane()}) as actors:
            assert actors.summary.state == "failed"
            assert trio.current_time() - began < 10
