"""Measure the journal against the disk, and against what else a user could take (JRN-26).

    python -m scripts.bench.journal [--quick] [--rounds N] [--seconds S] [--contenders ...] [--no-boot] [--json]

Prints one JSON object and tables: appends per second with their ratio to a raw loop of append and `fdatasync` in the
same round and directory, the times of boot and recovery of a large store, and the goals. What cannot be had here is
named with the reason. `make bench-peers` makes the environment with all contenders, `target/bench-env`; PostgreSQL is
started from the system's packages if there are any. `--quick`: does everything still run?
"""

from __future__ import annotations

import argparse
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from scripts.bench import journal_boot, journal_report
from scripts.bench.journal_rounds import CONTENDERS, QUICK, Settings, run
from scripts.bench.machine import machine
from tests.postgresql_server import PostgresqlServer, find_binaries

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parents[2] / "target"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round of what needs nothing installed"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before each load counts")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), metavar="LOAD/CALLERS")
    parser.add_argument("--directory", default=str(HERE), help="on the disk to be measured")
    parser.add_argument(
        "--postgresql", default="", metavar="CONNINFO", help="a server to use, with 300 connections"
    )
    parser.add_argument("--no-boot", action="store_true", help="leave boot and recovery out")
    parser.add_argument("--no-appends", action="store_true", help="nothing but boot and recovery")
    parser.add_argument("--boot-rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=1_000_000, help="of the store that is booted")
    parser.add_argument("--lanes", type=int, default=1_000)
    parser.add_argument("--payload", type=int, default=512, help="bytes of its events")
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.warm_up, options.seconds, options.boot_rounds = 1, 0.1, 0.3, 1
        options.events, options.lanes = 10_000, 100
        options.contenders = options.contenders or QUICK
    elif options.contenders is None:
        options.contenders = list(CONTENDERS)
    return options


@contextmanager
def postgresql(given: str, wanted: bool) -> Iterator[str]:
    """A server for those who need one; an empty string if there is none."""
    binaries = find_binaries()
    if given or not wanted or binaries is None:
        yield given
        return
    server = PostgresqlServer(binaries)
    try:
        with (server.data / "postgresql.conf").open("a") as file:
            # A connection for each of 256 contending callers, and memory enough.
            file.write("max_connections = 300\nshared_buffers = 128MB\nmax_wal_size = 4GB\n")
        server.start()
        yield server.conninfo()
    finally:
        server.remove()


def main() -> None:
    """Read the command line, measure, print."""
    options = _arguments()
    contenders = [] if options.no_appends else options.contenders
    where = machine()
    with postgresql(options.postgresql, any(CONTENDERS[name].needs for name in contenders)) as conninfo:
        settings = Settings(
            options.rounds, options.warm_up, options.seconds, contenders, options.directory, conninfo
        )
        found = run(settings)
    boots = None
    if not options.no_boot:
        boots = journal_boot.run(
            options.directory,
            events=options.events,
            lanes=options.lanes,
            payload=options.payload,
            rounds=options.boot_rounds,
        )
    verdicts = journal_report.verdicts(found, boots)
    report = {
        "benchmark": "journal",
        "machine": {**where, "load_after": [round(load, 2) for load in os.getloadavg()]},
        "settings": msgspec.structs.replace(settings, conninfo="", directory=""),
        "results": found.results,
        "ratios": found.ratios,
        "failures": found.failures,
        "boot": boots,
        "goals": verdicts,
    }
    print(msgspec.json.encode(report).decode())
    if not options.json:
        print(journal_report.tables(found, boots, verdicts))


if __name__ == "__main__":
    main()
