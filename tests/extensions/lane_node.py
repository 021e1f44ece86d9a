"""A whole node that is going to be killed: a calling lane, the extension host, real workers.

    python -m tests.extensions.lane_node DIRECTORY SEED

Says `ready`, then `CALL_ID OUTCOME` for each call that its caller heard the end of. What workers did stands in
`DIRECTORY/world`, one line with id and idempotency key each.
"""

from __future__ import annotations

import random
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from tests.extensions.hosting import write_extension
from web4.actors import LaneActors, open_lane_actors
from web4.extensions.calls.call_events import CALL_EVENTS
from web4.extensions.calls.calls_lane import CallsLane, ExtensionCalls
from web4.extensions.calls.calls_lane_asking import call_on_lane
from web4.extensions.calls.calls_lane_host import HostCalls, request_for
from web4.extensions.calls.kept_values import kept
from web4.extensions.hosting.host import ExtensionHost, open_extension_host
from web4.extensions.hosting.provisional import read_provisional
from web4.extensions.processes import open_processes
from web4.journal import EventRegistry, Journal, Lane, open_journal
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.recovery import RECOVERY_EVENTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LANE = Lane("human", "ada")
NAME = "acme.world"
SOURCE = '''
import os, time
from pathlib import Path
from web4.ext import Context, Extension

ext = Extension("acme.world")

def act(ctx: Context, world: str, seconds: float) -> str:
    file = os.open(world, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{ctx.call_id} {ctx.idempotency_key}\\n".encode())
    time.sleep(seconds)
    return "done"

@ext.tool
def once(ctx: Context, world: str, seconds: float) -> str:
    """Act."""
    return act(ctx, world, seconds)

@ext.tool(idempotent=True)
def again(ctx: Context, world: str, seconds: float) -> str:
    """Act, whether or not it was done."""
    return act(ctx, world, seconds)
'''


class WholeNode(NamedTuple):
    """What a node consists of."""

    journal: Journal
    actors: LaneActors
    host: ExtensionHost


def prepare(directory: Path) -> None:
    """Write the extension, and the place that it may write to."""
    (directory / "world").mkdir(parents=True)
    sandbox = {"write": [str(directory / "world")]}
    write_extension(directory / "extension", SOURCE, name=NAME, sandbox=sandbox, resources={"workers": 3})


@asynccontextmanager
async def opened_node(directory: Path) -> AsyncIterator[WholeNode]:
    """A node over what is there."""
    calls = HostCalls()
    registry = EventRegistry((*CALL_EVENTS, *RECOVERY_EVENTS))
    extension = read_provisional(directory / "extension")
    async with (
        open_sqlite(directory / "journal") as store,
        open_journal(store, registry=registry) as journal,
        open_processes(runtime=directory / "runtime") as processes,
        open_lane_actors(journal, {"human": CallsLane(calls=ExtensionCalls(journal, calls))}) as actors,
        open_extension_host([extension], processes) as host,
    ):
        await host.ready(NAME)
        calls.attach(host)
        yield WholeNode(journal, actors, host)


async def main(directory: Path, seed: int) -> None:
    """Call until killed."""
    chance = random.Random(seed)
    world = str(directory / "world" / "done")

    async def calling(node: WholeNode, name: str) -> None:
        for number in range(100_000):
            operation = node.host.operation("tool", f"{NAME}.{chance.choice(['once', 'again'])}")
            arguments = await kept(node.journal, {"world": world, "seconds": chance.uniform(0, 0.05)})
            asked = request_for(operation, f"{name}.{number}", arguments=arguments)
            ended = await call_on_lane(node.journal, node.actors.lane(LANE), asked)
            print(ended.call_id, ended.outcome, flush=True)

    async with opened_node(directory) as node, trio.open_nursery() as nursery:
        print("ready", flush=True)
        for caller in range(5):
            nursery.start_soon(calling, node, f"{seed}.{caller}")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
