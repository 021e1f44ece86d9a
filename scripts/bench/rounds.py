"""Rounds interleaved across peers, so that what disturbs the machine disturbs all of them alike."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from scripts.bench.credentials import write_credentials
from scripts.bench.disturbance import wait_until_quiet
from scripts.bench.figures import FIGURES, Task
from scripts.bench.processes import Pair, cores

if TYPE_CHECKING:
    from collections.abc import Mapping

_PER_SIDE = ("cpu_us", "cpu_main_us")
_QUIET = 0.15
"""Cores others may keep busy in a figure that counts; more, and it is taken again."""
_ATTEMPTS = 4
_PATIENCE = 10.0


class Settings(msgspec.Struct, frozen=True):
    """How long, how often and what.

    Args:
        rounds: Rounds over all peers.
        warm_up: Seconds before each figure counts.
        seconds: Seconds of each one-way figure, and the longest a ping-pong may take.
        samples: Round trips of each ping-pong.
        figures: Names of the figures.
        pin: Whether each process gets a core of its own.
        quiet: Whether to wait for a quiet machine, and to take a figure again that others disturbed.
    """

    rounds: int
    warm_up: float
    seconds: float
    samples: int
    figures: list[str]
    pin: bool = True
    quiet: bool = False


class Spread(msgspec.Struct, frozen=True):
    """The median, the smallest and the largest over all rounds."""

    median: float
    min: float
    max: float


Results = dict[str, dict[str, dict[str, Spread]]]
"""Peer, figure, value: CPU values carry the side's name (`server_cpu_us`)."""


def run(peers: Mapping[str, str], settings: Settings, *, path: list[str] | None = None) -> Results:
    """Measure every peer (label to import name) in every round; say on stderr how far it is."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {
        peer: {figure: defaultdict(list) for figure in settings.figures} for peer in peers
    }
    pin = cores() if settings.pin else None
    with tempfile.TemporaryDirectory(prefix="web4-bench-") as directory:
        write_credentials(Path(directory))
        for turn in range(settings.rounds):
            order = list(peers)
            order = order[turn % len(order) :] + order[: turn % len(order)]
            for label in order:
                load = os.getloadavg()[0]
                print(f"round {turn + 1}/{settings.rounds} {label} (load {load:.2f})", file=sys.stderr)
                with Pair(peers[label], Path(directory), pin=pin, path=path or []) as pair:
                    for figure in settings.figures:
                        _measure(pair, figure, settings, values[label][figure])
    return {
        peer: {
            figure: {name: _spread(samples) for name, samples in found.items()}
            for figure, found in figures.items()
        }
        for peer, figures in values.items()
    }


def _measure(pair: Pair, figure: str, settings: Settings, values: dict[str, list[float]]) -> None:
    task = Task(FIGURES[figure], settings.warm_up, settings.seconds, settings.samples)
    for _ in range(_ATTEMPTS if settings.quiet else 1):
        if settings.quiet:
            wait_until_quiet(_QUIET, _PATIENCE)
        seen, others = pair.measure(task)
        if others < _QUIET:
            break
    values["others_cores"].append(others)
    for name in ("rate", "mib_s", "p50_us", "p99_us", "max_us"):
        for measurement in seen.values():
            if name in measurement:
                values[name].append(float(measurement[name]))
    for role, measurement in seen.items():
        for name in _PER_SIDE:
            values[f"{role}_{name}"].append(float(measurement[name]))  # type: ignore[literal-required]


def _spread(samples: list[float]) -> Spread:
    return Spread(*(round(value, 3) for value in (statistics.median(samples), min(samples), max(samples))))
