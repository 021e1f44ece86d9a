"""A node that is going to be killed: lane actors over SQLite, work that goes on, and a word for each reply.

    python -m tests.chaos.journal_node DIRECTORY SEED

Says `ready`, then one line `lane memo` for every note whose reply came, until somebody ends it.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import trio

from tests.actors.jobs import EVENTS, Begin, Conclude, JobCommand, JobLane, Note, Requested
from web4.actors import LaneActors, open_lane_actors
from web4.journal import EventRegistry, Lane, open_journal
from web4.journal.backends.sqlite import open_sqlite

LANES = tuple(Lane("session", name) for name in ("a", "b", "c", "d"))


async def main(directory: Path, seed: int) -> None:
    """Work until killed."""
    chance = random.Random(seed)

    async def work(request: Requested) -> JobCommand:
        await trio.sleep(chance.uniform(0, 0.02))
        return Conclude(request.effect_id, "ok", request.text)

    definitions: Any = {"session": JobLane(work=work)}
    async with (
        open_sqlite(directory) as store,
        open_journal(store, registry=EventRegistry(EVENTS)) as journal,
        open_lane_actors(journal, definitions) as actors,
        trio.open_nursery() as nursery,
    ):
        print("ready", flush=True)
        for caller in range(8):
            nursery.start_soon(_call, actors, LANES[caller % len(LANES)], f"{seed}.{caller}", chance)


async def _call(actors: LaneActors, lane: Lane, name: str, chance: random.Random) -> None:
    handle = actors.lane(lane)
    for number in range(100_000):
        memo = f"{name}.{number}"
        if chance.random() < 0.2:
            effects = tuple((f"{memo}.{one}", chance.random() < 0.5) for one in range(chance.randrange(3)))
            await handle.ask(Begin(memo, start=bool(effects) and chance.random() < 0.5, effects=effects))
        else:
            await handle.ask(Note(1, memo=memo))
            print(lane, memo, flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
