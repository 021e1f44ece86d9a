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
from scripts.bench.figures import FIGURES, OF_A_SIDE, Task
from scripts.bench.processes import Pair, PeerFailedError, cores
from scripts.bench.side import Hello

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUIET = 0.15
"""Cores others may keep busy in a figure that counts; more, and it is taken again."""
_FRESH = ("idle", "crowd")
"""Kinds that weigh memory: once, in processes that have not freed any yet."""
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
"""Peer, figure, value: what means something at each side carries its name (`server_cpu_us`)."""


class Run(msgspec.Struct):
    """What came of all rounds.

    Args:
        results: The figures; those that a peer does not carry, or failed, are not there.
        about: What each peer that could be opened said of itself.
        failures: What went wrong, by peer and then by figure; under `open`, why there is nothing at all.
    """

    results: Results
    about: dict[str, Hello]
    failures: dict[str, dict[str, str]]


def spread(samples: list[float]) -> Spread:
    """Return what the report says of the samples of all rounds."""
    return Spread(*(round(value, 3) for value in (statistics.median(samples), min(samples), max(samples))))


class _Collector:
    """Takes the figures of every peer, and goes on when one fails: a figure that failed once is not tried again."""

    def __init__(self, settings: Settings, credentials: Path, path: list[str]) -> None:
        self._settings = settings
        self._credentials = credentials
        self._path = path
        self._pin = cores() if settings.pin else None
        self.values: dict[str, dict[str, dict[str, list[float]]]] = {}
        self.about: dict[str, Hello] = {}
        self.failures: dict[str, dict[str, str]] = defaultdict(dict)

    def take(self, label: str, peer: str) -> None:
        """Run a round of one peer; a new pair takes over from one that failed."""
        values = self.values.setdefault(label, defaultdict(lambda: defaultdict(list)))
        failures = self.failures[label]
        left = [
            figure
            for figure in self._settings.figures
            if figure not in failures and not (figure in values and FIGURES[figure].kind in _FRESH)
        ]
        while left and "open" not in failures:
            figure = "open"
            try:
                with Pair(peer, self._credentials, pin=self._pin, path=self._path) as pair:
                    self.about[label] = pair.hello
                    left = [name for name in left if FIGURES[name].needs <= set(pair.hello.kinds)]
                    used = False
                    while left and not (used and FIGURES[left[0]].kind in _FRESH):
                        figure, used = left.pop(0), True
                        self._measure(pair, figure, values[figure])
            except PeerFailedError as error:
                failures[figure] = str(error)
                print(f"{label}, {figure}: {error}", file=sys.stderr)

    def _measure(self, pair: Pair, figure: str, values: dict[str, list[float]]) -> None:
        settings = self._settings
        task = Task(FIGURES[figure], settings.warm_up, settings.seconds, settings.samples)
        for _ in range(_ATTEMPTS if settings.quiet else 1):
            if settings.quiet:
                wait_until_quiet(_QUIET, _PATIENCE)
            seen, others = pair.measure(task)
            if others < _QUIET:
                break
        values["others_cores"].append(others)
        for role, measurement in seen.items():
            for name, value in measurement.items():
                values[f"{role}_{name}" if name in OF_A_SIDE else name].append(value)


def run(peers: Mapping[str, str], settings: Settings, *, path: list[str] | None = None) -> Run:
    """Measure every peer (label to import name) in every round; say on stderr how far it is."""
    with tempfile.TemporaryDirectory(prefix="web4-bench-") as directory:
        write_credentials(Path(directory))
        collector = _Collector(settings, Path(directory), path or [])
        for turn in range(settings.rounds):
            order = list(peers)
            order = order[turn % len(order) :] + order[: turn % len(order)]
            for label in order:
                load = os.getloadavg()[0]
                print(f"round {turn + 1}/{settings.rounds} {label} (load {load:.2f})", file=sys.stderr)
                collector.take(label, peers[label])
    results = {
        peer: {
            figure: {name: spread(samples) for name, samples in found.items()}
            for figure, found in collector.values[peer].items()
        }
        for peer in peers
    }
    failures = {peer: found for peer, found in collector.failures.items() if found}
    return Run(results, collector.about, failures)
