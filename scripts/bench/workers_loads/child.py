"""The process in which one figure is measured: a task as JSON on its command line, a measurement on its output."""

from __future__ import annotations

import sys
from importlib import import_module

import msgspec

from scripts.bench.workers_task import Task

LOADS = {
    "ping_pong": "floors:ping_pong",
    "ping_pong_trio": "floors:ping_pong_trio",
    "fork": "floors:fork",
    "interpreter": "floors:interpreter",
    "web4": "web4_workers:measure",
    "trio_parallel": "asynchronous:measure",
    "anyio_trio": "asynchronous:measure",
    "anyio_asyncio": "asynchronous:measure",
    "pebble": "executors:measure",
    "loky": "executors:measure",
    "futures": "executors:measure",
}
"""Each contender's module and function in this package."""


def main() -> None:
    """Run the task of the command line."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    name, function = LOADS[task.contender].split(":")
    measurement = getattr(import_module(f"scripts.bench.workers_loads.{name}"), function)(task)
    print(msgspec.json.encode(measurement).decode(), flush=True)


if __name__ == "__main__":
    main()
