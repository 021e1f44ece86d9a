"""Rounds of the journal's benchmark, interleaved over all contenders; each load in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from scripts.bench.journal_task import Task
from scripts.bench.rounds import Spread, spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bench.figures import Measurement

_GRACE = 120.0
"""Seconds a process may take beyond what its task says."""


class Contender(msgspec.Struct, frozen=True):
    """A load at so many callers.

    Args:
        load: See `journal_loads.child`.
        callers: At the same time.
        needs: What it cannot do without: `postgresql`, or nothing.
    """

    load: str
    callers: int
    needs: str = ""

    @property
    def name(self) -> str:
        """What the report calls it."""
        return f"{self.load}/{self.callers}"


def _of(load: str, *callers: int, needs: str = "") -> list[Contender]:
    return [Contender(load, number, needs) for number in callers]


OURS = [
    *_of("raw", 1, 16, 256),
    *_of("sqlite", 1, 16, 256),
    *_of("sqlite_one_lane", 1, 16, 256),
    *_of("sqlite_actors_64", 256),
    *_of("mailbox", 1),
    *_of("actor_tell", 1),
    *_of("memory_channel", 1),
]
"""What needs nothing but this project."""
OTHERS = [
    *_of("postgresql", 1, 16, 256, needs="postgresql"),
    *_of("postgresql_contended", 1, 16, 256, needs="postgresql"),
    *_of("nats_jetstream", 1, 16, 256),
    *_of("dbos_step", 1, 16, needs="postgresql"),
    *_of("langgraph_sqlite", 1),
]
QUICK = [
    "raw/1",
    "raw/256",
    "sqlite/1",
    "sqlite/256",
    "sqlite_one_lane/16",
    "sqlite_actors_64/256",
    "mailbox/1",
]
"""One of each sort, without what would take long."""
CONTENDERS = {contender.name: contender for contender in (*OURS, *OTHERS)}


class LoadFailedError(Exception):
    """A load ended without a measurement."""


class Settings(msgspec.Struct, frozen=True):
    """How often, how long, and where.

    Args:
        rounds: Rounds over all contenders.
        warm_up: Seconds of each load before anything is counted.
        seconds: Seconds of each load that are counted.
        contenders: Their names.
        directory: Where loads get directories of their own.
        conninfo: The PostgreSQL server; empty if there is none.
    """

    rounds: int
    warm_up: float
    seconds: float
    contenders: list[str]
    directory: str
    conninfo: str = ""


class Run(msgspec.Struct):
    """What came of all rounds.

    Args:
        results: Contender, then value; a rate is in records per second.
        ratios: Of each contender's rate to that of `raw` with as many callers in the same round.
        failures: Why a contender has no figures.
    """

    results: dict[str, dict[str, Spread]]
    ratios: dict[str, Spread]
    failures: dict[str, str]


def command(task: Task) -> list[str]:
    """The command line of a task's process."""
    return [sys.executable, "-m", "scripts.bench.journal_loads.child", msgspec.json.encode(task).decode()]


def measure(task: Task) -> Measurement:
    """Run a task in a process of its own.

    Raises:
        LoadFailedError: It failed; the last line it said.
    """
    task = msgspec.structs.replace(task, began=time.monotonic())
    limit = task.warm_up + task.seconds + _GRACE + task.events / 1_000
    try:
        ran = subprocess.run(command(task), capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired:
        raise LoadFailedError(f"nothing within {limit:.0f} s") from None
    if ran.returncode:
        said = ran.stderr.strip().splitlines() or [f"exit {ran.returncode}"]
        raise LoadFailedError(said[-1])
    found: Measurement = msgspec.json.decode(ran.stdout.strip().splitlines()[-1])
    return found


@contextmanager
def scratch(parent: str) -> Iterator[str]:
    """A directory that is there while it is needed."""
    directory = tempfile.mkdtemp(prefix="bench-journal-", dir=parent)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run(settings: Settings) -> Run:
    """Measure every contender in every round; say on stderr how far it is."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    ratios: dict[str, list[float]] = defaultdict(list)
    failures: dict[str, str] = {}
    for turn in range(settings.rounds):
        rates: dict[str, float] = {}
        for name in settings.contenders[turn:] + settings.contenders[:turn]:
            if name in failures:
                continue
            load = os.getloadavg()[0]
            print(f"round {turn + 1}/{settings.rounds} {name} (load {load:.2f})", file=sys.stderr, flush=True)
            try:
                found = _take(CONTENDERS[name], settings)
            except LoadFailedError as error:
                failures[name] = str(error)
                print(f"{name}: {error}", file=sys.stderr)
                continue
            rates[name] = found["rate"]
            for key, value in found.items():
                values[name][key].append(value)
        for name, rate in rates.items():
            base = rates.get(f"raw/{CONTENDERS[name].callers}")
            if base and CONTENDERS[name].load not in ("mailbox", "actor_tell", "memory_channel"):
                ratios[name].append(rate / base)
    return Run(
        {name: {key: spread(samples) for key, samples in found.items()} for name, found in values.items()},
        {name: spread(samples) for name, samples in ratios.items()},
        failures,
    )


def _take(contender: Contender, settings: Settings) -> Measurement:
    if contender.needs == "postgresql" and not settings.conninfo:
        raise LoadFailedError("no PostgreSQL: install it, or name one with --postgresql")
    Path(settings.directory).mkdir(parents=True, exist_ok=True)
    with scratch(settings.directory) as directory:
        return measure(
            Task(
                contender.load,
                contender.callers,
                directory,
                settings.warm_up,
                settings.seconds,
                settings.conninfo,
            )
        )
