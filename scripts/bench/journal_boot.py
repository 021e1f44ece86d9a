"""Boot, recovery and memory of a large store (JRN-26b to d)."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from scripts.bench.journal_loads.store import BUSY
from scripts.bench.journal_rounds import LoadFailedError, command, measure, scratch
from scripts.bench.journal_task import Task
from scripts.bench.rounds import Spread, spread

if TYPE_CHECKING:
    from scripts.bench.figures import Measurement


class Boots(msgspec.Struct):
    """What a large store costs; times are seconds from the start of the process.

    Args:
        events: In the store.
        lanes: They are spread over.
        payload: Bytes of each event's payload.
        store_mib: Size of the store's file.
        results: `replay` (without snapshots), `boot` (with), `recover` (after kill -9), each value over the rounds.
        failures: What went wrong.
    """

    events: int
    lanes: int
    payload: int
    store_mib: float = 0.0
    results: dict[str, dict[str, Spread]] = {}
    failures: dict[str, str] = {}


def run(directory: str, *, events: int, lanes: int, payload: int, rounds: int) -> Boots:
    """Make a store and use it; say on stderr how far it is."""
    boots = Boots(events, lanes, payload)
    values: dict[str, list[Measurement]] = defaultdict(list)
    Path(directory).mkdir(parents=True, exist_ok=True)
    with scratch(directory) as place:
        # `callers` of the task that makes the store is the size of its payloads.
        task = Task("store", callers=payload, directory=place, events=events, lanes=lanes)
        try:
            _say(f"making a store of {events} events in {lanes} lanes")
            measure(task)
            boots.store_mib = round((Path(place) / "journal.db").stat().st_size / 2**20, 1)
            for load in ("replay", "snapshots", "boot"):
                for turn in range(1 if load == "snapshots" else rounds):
                    _say(f"{load} {turn + 1}/{rounds}")
                    values[load].append(measure(msgspec.structs.replace(task, load=load)))
            for turn in range(rounds):
                _say(f"recover {turn + 1}/{rounds}")
                _kill_busy(msgspec.structs.replace(task, load="busy", seconds=1.0))
                values["recover"].append(measure(msgspec.structs.replace(task, load="recover")))
        except LoadFailedError as error:
            boots.failures["boot"] = str(error)
            _say(str(error))
    boots.results = {
        load: {name: spread([one[name] for one in found]) for name in found[0]}
        for load, found in values.items()
        if found[0]
    }
    return boots


def _kill_busy(task: Task) -> None:
    """Kill a process that appends with effects open, in the middle of it."""
    with subprocess.Popen(command(task), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        process.kill()
    if said != BUSY:
        raise LoadFailedError(f"the process to be killed had ended by itself: {said}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
