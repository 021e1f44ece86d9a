"""A node that is going to be killed while it calls extensions.

    python -m tests.extensions.calls_node DIRECTORY SEED

Says `ready`, then `CALL_ID OUTCOME` for each call that its caller heard the end of. Every call that a worker saw stands
in `DIRECTORY.worked`, one line with id and idempotency key each, as the outside world would remember it.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.extensions.calling import Host, outcome, request
from web4.actors import LaneActors, open_lane_actors
from web4.extensions.calls.call_events import CALL_EVENTS, CallRequested
from web4.extensions.calls.calls_lane import CallsLane, ExtensionCalls
from web4.extensions.calls.calls_lane_asking import call_on_lane
from web4.extensions.calls.kept_values import INLINE_BYTES, kept
from web4.journal import EventRegistry, Journal, Lane, open_journal
from web4.journal.backends.sqlite import open_sqlite

if TYPE_CHECKING:
    from web4.extensions.outcome import CallOutcome

LANES = tuple(Lane("human", name) for name in ("ada", "bob"))
CALLERS = 6


class World:
    """What calls do outside: it does not go away with the node."""

    def __init__(self, directory: Path) -> None:
        self._file = os.open(f"{directory}.worked", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def work(self, asked: CallRequested) -> None:
        """Remember that a worker had this call."""
        os.write(self._file, f"{asked.call_id} {asked.idempotency_key}\n".encode())


async def main(directory: Path, seed: int) -> None:
    """Call until killed."""
    chance, world = random.Random(seed), World(directory)

    async def work(asked: CallRequested, arguments: Any) -> CallOutcome:
        world.work(asked)
        await trio.sleep(chance.uniform(0, 0.01))
        return outcome(asked, {"was": arguments, "more": "x" * chance.choice([1, INLINE_BYTES * 2])})

    async with (
        open_sqlite(directory) as store,
        open_journal(store, registry=EventRegistry(CALL_EVENTS)) as journal,
        open_lane_actors(journal, {"human": CallsLane(calls=ExtensionCalls(journal, Host(work)))}) as actors,
        trio.open_nursery() as nursery,
    ):
        print("ready", flush=True)
        for caller in range(CALLERS):
            nursery.start_soon(_call, journal, actors, LANES[caller % len(LANES)], f"{seed}.{caller}", chance)


async def _call(journal: Journal, actors: LaneActors, lane: Lane, name: str, chance: random.Random) -> None:
    for number in range(100_000):
        arguments = await kept(journal, b"bytes" if chance.random() < 0.2 else number)
        asked = request(f"{name}.{number}", arguments=arguments, idempotent=chance.random() < 0.5)
        ended = await call_on_lane(journal, actors.lane(lane), asked)
        print(ended.call_id, ended.outcome, flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
