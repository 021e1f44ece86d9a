"""Durable appends through the journal's public API, profile `strict`: every caller on a lane of its own (JRN-26a)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import trio

from scripts.bench.journal_loads import lane
from scripts.bench.journal_task import Counting, Task, now
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.journal import NewEvent
from web4.journal.opening import open_journal

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from scripts.bench.figures import Measurement
    from web4.journal.backends.backend import Backend
    from web4.journal.journal import Journal


def sqlite(task: Task) -> Measurement:
    """Append to SQLite."""
    return trio.run(_measure, open_sqlite(task.directory), task)


def postgresql(task: Task) -> Measurement:
    """Append to PostgreSQL: this node owns the lanes, and batches. Its server's CPU is not counted."""
    from web4.journal.backends.postgresql import open_postgresql  # noqa: PLC0415 - psycopg may not be there

    schema = f"bench_{uuid.uuid4().hex[:12]}"
    return trio.run(_measure, open_postgresql(task.conninfo, node="bench", schema=schema), task)


async def _measure(opening: AbstractAsyncContextManager[Backend], task: Task) -> Measurement:
    counting = Counting()
    async with (
        opening as backend,
        open_journal(backend, registry=lane.registry()) as journal,
        trio.open_nursery() as nursery,
    ):
        for number in range(task.callers):
            nursery.start_soon(_append, journal, number, counting)
        await trio.sleep(task.warm_up)
        counting.begin()
        await trio.sleep(task.seconds)
        found = counting.end()
        stats = await journal.stats()
        found["records_per_commit"] = stats["records_written"] / max(1, stats["commits"])
        nursery.cancel_scope.cancel()
    return found


async def _append(journal: Journal, number: int, counting: Counting) -> None:
    here, memo, latencies = lane.lane_of(number), lane.memo(), counting.latencies
    seq = (await journal.head(here)).seq
    while True:
        begun = now()
        appended = await journal.append(
            here, [NewEvent(lane.Noted(1, memo), lane.wall_ms())], expected_seq=seq
        )
        latencies.append(now() - begun)
        seq = appended.last_seq
