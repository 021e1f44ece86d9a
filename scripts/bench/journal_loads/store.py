"""A large store: made once, booted, replayed, killed under load and recovered (JRN-26b to d)."""

from __future__ import annotations

import resource
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from scripts.bench.journal_loads import lane
from scripts.bench.meter import peak, resident
from web4.actors import open_lane_actors
from web4.actors.rebuilding import rebuild
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.journal import Append, NewEvent
from web4.journal.opening import open_journal
from web4.journal.record import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scripts.bench.figures import Measurement
    from scripts.bench.journal_task import Task
    from web4.journal.backends.backend import Durability
    from web4.journal.journal import Journal

_RUN = 50
"""Records of one lane that follow each other; then the other lanes have their turn."""
_TOGETHER = 10
"""Lanes of one commit."""
EFFECTS = 64
"""Effects that are open when the process is killed (JRN-26c)."""
BUSY = "busy"
"""What a loaded process prints."""


@asynccontextmanager
async def _opened(task: Task, durability: Durability = "strict") -> AsyncIterator[Journal]:
    async with (
        open_sqlite(task.directory, durability=durability) as backend,
        open_journal(backend, registry=lane.registry()) as journal,
    ):
        yield journal


def make(task: Task) -> Measurement:
    """Fill a store, every lane in turn, in large commits."""
    return trio.run(_make, task)


async def _make(task: Task) -> Measurement:
    begun, at, memo = time.monotonic(), lane.wall_ms(), lane.memo(task.callers)
    event = NewEvent(lane.Noted(1, memo), at)
    each = task.events // task.lanes
    async with _opened(task, "relaxed") as journal:
        for first in range(0, each, _RUN):
            run = [event] * min(_RUN, each - first)
            for begin in range(0, task.lanes, _TOGETHER):
                some = range(begin, min(begin + _TOGETHER, task.lanes))
                await journal.append_batch([Append(lane.lane_of(one), run, first) for one in some])
    return {"made_s": time.monotonic() - begun}


def add_snapshots(task: Task) -> Measurement:
    """Store a snapshot of every lane, as actors do when they come to rest."""
    return trio.run(_add_snapshots, task)


async def _add_snapshots(task: Task) -> Measurement:
    definition = lane.TallyLane()
    async with _opened(task, "relaxed") as journal:
        for number in range(task.lanes):
            rebuilt = await rebuild(journal, lane.lane_of(number), definition)
            state = definition.encode(rebuilt.state)
            head = rebuilt.head
            await journal.put_snapshot(Snapshot.of(lane.lane_of(number), head.seq, head.hash, state, 1))
    return {}


def boot(task: Task) -> Measurement:
    """Open the journal and rebuild every lane, from the start of the process; then weigh it."""
    return trio.run(_boot, task)


def replay(task: Task) -> Measurement:
    """The same of a store without snapshots."""
    return trio.run(_boot, task)


async def _boot(task: Task) -> Measurement:
    imported = time.monotonic()
    definition = lane.TallyLane()
    applied = 0
    async with _opened(task) as journal:
        opened = time.monotonic()
        states = []
        for number in range(task.lanes):
            rebuilt = await rebuild(journal, lane.lane_of(number), definition)
            applied += rebuilt.tail_records
            states.append(rebuilt.state)
        ready = time.monotonic()
        if [state.notes for state in states] != [task.events // task.lanes] * task.lanes:
            raise AssertionError("the lanes are not what was written")
        cpu = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "start_s": imported - task.began,
            "open_s": opened - imported,
            "rebuild_s": ready - opened,
            "boot_s": ready - task.began,
            "applied": applied,
            "events_per_s": applied / (ready - opened),
            "cpu_s": cpu.ru_utime + cpu.ru_stime,
            "peak_mib": peak() / 2**20,
            "resident_mib": resident() / 2**20,
        }


def keep_busy(task: Task) -> Measurement:
    """Have effects open, and append until killed."""
    return trio.run(_keep_busy, task)


async def _keep_busy(task: Task) -> Measurement:
    async with (
        _opened(task) as journal,
        open_lane_actors(journal, {"session": lane.TallyLane()}) as actors,
        trio.open_nursery() as nursery,
    ):
        refs = [actors.lane(lane.lane_of(number)) for number in range(EFFECTS)]
        for number, ref in enumerate(refs):
            name = f"{journal.backend.boot}-{number}"
            await ref.ask(lane.Ask(name, bool(number % 2), lane.wall_ms()))

        async def note(number: int) -> None:
            memo = lane.memo()
            while True:
                await refs[number].ask(lane.Note(1, memo, lane.wall_ms()))

        for number in range(EFFECTS):
            nursery.start_soon(note, number)
        await trio.sleep(task.seconds)
        print(BUSY, flush=True)
    return {}


def recover(task: Task) -> Measurement:
    """Open a store that was left like that, to the first command whose outcome is durable; then go at once."""
    return trio.run(_recover, task)


async def _recover(task: Task) -> Measurement:
    imported = time.monotonic()
    found: Measurement = {}
    # Effects that may be performed again run for ever: the actors are stopped at once, not gracefully.
    with trio.CancelScope() as scope:
        async with (
            _opened(task) as journal,
            open_lane_actors(journal, {"session": lane.TallyLane()}) as actors,
        ):
            opened = time.monotonic()
            await actors.lane(lane.lane_of(0)).ask(lane.Note(1, "", lane.wall_ms()))
            admitted = time.monotonic()
            summary = actors.summary
            if summary.state != "ready" or sum(summary.unfinished.values()) < EFFECTS:
                raise AssertionError(f"recovery: {summary}")
            found = {
                "recovery_s": admitted - task.began,
                "start_s": imported - task.began,
                "open_s": opened - imported,
                "scanned": summary.records_scanned,
            }
            scope.cancel()
            await trio.lowlevel.checkpoint()
    return found
