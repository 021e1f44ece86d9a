"""Rounds of the workers' benchmark, interleaved over all contenders; each figure in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from scripts.bench.rounds import Spread, spread
from scripts.bench.workers_task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bench.figures import Measurement

_LIMIT = 600.0
"""Seconds after which a process that has not answered is taken for hung."""

POOLS = ["web4", "trio_parallel", "anyio_trio", "anyio_asyncio", "pebble", "loky", "futures"]
KILLING = ["web4", "trio_parallel", "anyio_trio", "anyio_asyncio", "pebble", "loky"]
"""Those that can end a call that hangs."""


class Counts(msgspec.Struct, frozen=True):
    """How many of each.

    Args:
        rounds: Rounds over everything.
        calls: Serial calls that count, after a twentieth of as many.
        kills: Calls that hang, of each contender; of ours four times as many of each sort, for their p99.
        starts: Processes that are started.
        hygiene: Timeouts in a row (`kills_1000`), in one round only.
    """

    rounds: int
    calls: int
    kills: int
    starts: int
    hygiene: int


FULL = Counts(rounds=5, calls=20_000, kills=25, starts=100, hygiene=1_000)
QUICK = Counts(rounds=1, calls=200, kills=3, starts=5, hygiene=20)


class Run(msgspec.Struct):
    """What came of all rounds.

    Args:
        results: `figure/contender`, then value.
        failures: Why one has no figures.
    """

    results: dict[str, dict[str, Spread]]
    failures: dict[str, str]


class LoadFailedError(Exception):
    """A process ended without a measurement."""


def tasks(counts: Counts, contenders: list[str]) -> Iterator[Task]:
    """All that one round measures, floors and contenders of a figure side by side."""
    warm_up = counts.calls // 20
    for floor in ("ping_pong", "ping_pong_trio"):
        yield Task(floor, "noop_call", counts.calls, warm_up)
    yield Task("fork", "starts", counts.starts, 5)
    yield Task("interpreter", "starts", max(3, counts.starts // 10))
    for name in POOLS:
        if name in contenders:
            yield Task(name, "noop_call", counts.calls, warm_up)
            yield Task(name, "noop_call_16", counts.calls, warm_up, callers=16, workers=2)
            yield Task(name, "memory", 1, workers=2)
    for name in KILLING:
        if name in contenders:
            # With one worker and with two: what a pool does best with counts.
            yield Task(name, "kill_to_served", counts.kills, workers=1)
            if name != "web4":
                yield Task(name, "kill_to_served", counts.kills, workers=2)
    if "web4" in contenders:
        for kind in ("sleeping", "spinning", "forking"):
            yield Task("web4", f"overshoot_{kind}", 4 * counts.kills, workers=2)
        yield Task("web4", "starts", counts.starts)
        yield Task("web4", "spawn_cold", max(3, counts.starts // 10))


def name_of(task: Task) -> str:
    """What the report calls it."""
    suffix = f"_{task.workers}" if task.figure == "kill_to_served" and task.workers > 1 else ""
    return f"{task.figure}{suffix}/{task.contender}"


def measure(task: Task) -> Measurement:
    """Run a task in a process of its own.

    Raises:
        LoadFailedError: It failed; the last line it said.
    """
    command = [sys.executable, "-m", "scripts.bench.workers_loads.child", msgspec.json.encode(task).decode()]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LIMIT)
    except subprocess.TimeoutExpired:
        raise LoadFailedError(f"nothing within {_LIMIT:.0f} s") from None
    if ran.returncode:
        said = ran.stderr.strip().splitlines() or [f"exit {ran.returncode}"]
        raise LoadFailedError(said[-1])
    found: Measurement = msgspec.json.decode(ran.stdout.strip().splitlines()[-1])
    return found


def run(counts: Counts, contenders: list[str]) -> Run:
    """Measure everything in every round; say on stderr how far it is."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    failures: dict[str, str] = {}
    for turn in range(counts.rounds):
        todo = list(tasks(counts, contenders))
        if turn == 0 and "web4" in contenders:
            todo.append(Task("web4", "kills_1000", counts.hygiene, workers=2))
        shift = turn * len(todo) // counts.rounds
        for task in todo[shift:] + todo[:shift]:
            name = name_of(task)
            if name in failures:
                continue
            load = os.getloadavg()[0]
            where = f"round {turn + 1}/{counts.rounds}"
            print(f"{where} {name} (load {load:.2f})", file=sys.stderr, flush=True)
            try:
                found = measure(task)
            except LoadFailedError as error:
                failures[name] = str(error)
                print(f"{name}: {error}", file=sys.stderr)
                continue
            for key, value in found.items():
                values[name][key].append(value)
    return Run(
        {name: {key: spread(samples) for key, samples in found.items()} for name, found in values.items()},
        failures,
    )
