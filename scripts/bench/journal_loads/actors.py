"""Commands to lane actors: from a caller's `ask` to the reply that is durable (JRN-26a)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from scripts.bench.journal_loads import lane
from scripts.bench.journal_task import Counting, Task, now
from web4.actors import open_lane_actors
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.opening import open_journal

if TYPE_CHECKING:
    from scripts.bench.figures import Measurement
    from web4.actors import LaneRef


def one_lane(task: Task) -> Measurement:
    """All callers on one lane."""
    return trio.run(_measure, task, 1)


def over_64_lanes(task: Task) -> Measurement:
    """The callers spread over 64 lanes."""
    return trio.run(_measure, task, 64)


async def _measure(task: Task, lanes: int) -> Measurement:
    counting = Counting()
    async with (
        open_sqlite(task.directory) as backend,
        open_journal(backend, registry=lane.registry()) as journal,
        open_lane_actors(journal, {"session": lane.TallyLane()}) as actors,
        trio.open_nursery() as nursery,
    ):
        for number in range(task.callers):
            nursery.start_soon(_ask, actors.lane(lane.lane_of(number % lanes)), counting)
        await trio.sleep(task.warm_up)
        counting.begin()
        await trio.sleep(task.seconds)
        found = counting.end()
        stats = await journal.stats()
        found["records_per_commit"] = stats["records_written"] / max(1, stats["commits"])
        nursery.cancel_scope.cancel()
    return found


async def _ask(ref: LaneRef, counting: Counting) -> None:
    memo, latencies = lane.memo(), counting.latencies
    while True:
        begun = now()
        await ref.ask(lane.Note(1, memo, lane.wall_ms()))
        latencies.append(now() - begun)
