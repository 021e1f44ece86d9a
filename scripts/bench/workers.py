"""Measure workers against what the kernel takes, and against what else a user could take (EXT-45).

    python -m scripts.bench.workers [--quick] [--rounds N] [--calls N] [--contenders ...] [--json]

Prints one JSON object, tables, and the goals with what was reached. Floors of the same run: F, 1 KiB over a socketpair
to another process and back; S, a bare fork and its `waitpid`. Peers come with `make bench-peers`, in an environment of
its own, `target/bench-env`; those that cannot be had here are named with the reason. `--quick`: does everything still
run?
"""

from __future__ import annotations

import argparse
import os

import msgspec

from scripts.bench import workers_report, workers_rounds
from scripts.bench.machine import machine


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round, without peers")
    parser.add_argument("--rounds", type=int, help="over everything; five of them count")
    parser.add_argument("--calls", type=int, help="serial calls of each round")
    parser.add_argument("--kills", type=int, help="calls that hang, of each sort and round")
    parser.add_argument("--contenders", nargs="+", choices=workers_rounds.POOLS)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    return parser.parse_args()


def main() -> None:
    """Read the command line, measure, print."""
    options = _arguments()
    counts = workers_rounds.QUICK if options.quick else workers_rounds.FULL
    given = {name: getattr(options, name) for name in ("rounds", "calls", "kills")}
    counts = msgspec.structs.replace(counts, **{name: value for name, value in given.items() if value})
    contenders = options.contenders or (["web4"] if options.quick else workers_rounds.POOLS)
    where = machine()
    found = workers_rounds.run(counts, contenders)
    verdicts = workers_report.verdicts(found)
    report = {
        "benchmark": "workers",
        "machine": {**where, "load_after": [round(load, 2) for load in os.getloadavg()]},
        "settings": counts,
        "results": found.results,
        "failures": found.failures,
        "goals": verdicts,
    }
    print(msgspec.json.encode(report).decode())
    if not options.json:
        print(workers_report.tables(found, verdicts))


if __name__ == "__main__":
    main()
