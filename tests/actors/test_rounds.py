"""What one round decides always finds room in one append of the journal (ACT-2a, ACT-4b)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.actors.jobs import EVENTS, LANE, Conclude, JobLane, JobLogic, Note, Noted, Request
from web4.actors import open_lane_actors
from web4.foundation.logic import Decision
from web4.journal.backends.memory import open_memory
from web4.journal.errors import InvalidEventError
from web4.journal.event_types import EventRegistry
from web4.journal.journal import NewEvent
from web4.journal.limits import JournalLimits
from web4.journal.opening import open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.journal.journal import Journal


@dataclass(frozen=True)
class Verbose(JobLogic):
    """Says ten times what there is to say."""

    def decide(self, state: Any, command: Any) -> Decision[Any, Any]:
        decision = super().decide(state, command)
        more = tuple(Noted(1, "x" * 100) for _ in range(9)) if isinstance(command, Conclude) else ()
        return Decision((*decision.events, *more), decision.reply)


@asynccontextmanager
async def limited(**limits: Any) -> AsyncIterator[Journal]:
    async with (
        open_memory() as backend,
        open_journal(backend, registry=EventRegistry(EVENTS), limits=JournalLimits(**limits)) as journal,
    ):
        yield journal


async def test_a_round_of_more_bytes_than_may_wait(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-2, JRN-15e: 64 commands at once; were it one batch, the journal would be busy for ever."""
    async with (
        limited(waiting_bytes=20_000) as journal,
        open_lane_actors(journal, {"session": JobLane()}) as actors,
    ):
        ref = actors.lane(LANE)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(ref.ask, Note(1, memo="x" * 1_000))
        assert (await ref.state()).total == 200
        with pytest.raises(InvalidEventError) as caught:
            await ref.ask(Note(1, memo="x" * 6_000))
        assert caught.value.code == "batch_too_large"


async def test_conclusions_that_say_much(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-4b, ACT-3c: what was accepted is decided, in as many rounds as it takes; no lane is halted for it."""
    go = trio.Event()

    async def work(request: Any) -> Conclude:
        await go.wait()
        return Conclude(request.effect_id, "ok")

    definition = JobLane(logic=Verbose(), work=work)
    async with (
        limited(batch_records=200) as journal,
        open_lane_actors(journal, {"session": definition}) as actors,
    ):
        ref = actors.lane(LANE)
        for number in range(40):
            await ref.ask(Request(f"e{number}"))
        go.set()
        await trio.sleep(60)
        assert not (await ref.state()).effects
        assert not journal.halted
        assert (await ref.state()).total == 40 * 9
        assert actors.metrics.crashes == 0


async def test_a_batch_that_finds_room_at_no_time() -> None:
    """JRN-4e: it is refused for good, not as busy."""
    async with limited(waiting_bytes=1_000) as journal:
        for count, memo in ((3, "x" * 400), (1, "x" * 1_200)):
            with pytest.raises(InvalidEventError) as caught:
                await journal.append(LANE, [NewEvent(Noted(1, memo), 0)] * count, expected_seq=0)
            assert caught.value.code == "batch_too_large"
        await journal.append(LANE, [NewEvent(Noted(1, "fits"), 0)], expected_seq=0)
