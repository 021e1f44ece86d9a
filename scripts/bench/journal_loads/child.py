"""The process in which one load runs: a task as JSON on its command line, a measurement as JSON on its output."""

from __future__ import annotations

import sys
from importlib import import_module

import msgspec

from scripts.bench.journal_task import Task

LOADS = {
    "raw": "raw:measure",
    "sqlite": "appends:sqlite",
    "sqlite_one_lane": "actors:one_lane",
    "sqlite_actors_64": "actors:over_64_lanes",
    "postgresql": "appends:postgresql",
    "postgresql_contended": "contended:measure",
    "nats_jetstream": "nats_jetstream:measure",
    "dbos_step": "dbos_step:measure",
    "langgraph_sqlite": "langgraph_sqlite:measure",
    "mailbox": "mailbox:mailbox",
    "actor_tell": "mailbox:actor",
    "memory_channel": "mailbox:channel",
    "store": "store:make",
    "snapshots": "store:add_snapshots",
    "boot": "store:boot",
    "replay": "store:replay",
    "busy": "store:keep_busy",
    "recover": "store:recover",
}
"""Each load's module and function in this package."""


def main() -> None:
    """Run the task of the command line."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    name, function = LOADS[task.load].split(":")
    measurement = getattr(import_module(f"scripts.bench.journal_loads.{name}"), function)(task)
    print(msgspec.json.encode(measurement).decode(), flush=True)


if __name__ == "__main__":
    main()
