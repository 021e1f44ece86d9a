"""Compare transports over loopback: two processes, pinned apart, rounds interleaved across peers.

    python -m scripts.bench.transport [--quick] [--rounds N] [--json] [--peers ...] [--figures ...] [--robustness]

Prints one JSON object and tables (RTT-71, section 22 of the RTT specification): the figures, what is missing and
why, and the goals. A peer is one module in `peers/`; its name there is its name here. `make bench-peers` makes the
environment with all of them, `target/bench-env`; in any other, what is not installed is named as absent. `--quick`
measures only the peers that need no such environment, and only what takes no time. Memory is weighed once.
"""

from __future__ import annotations

import argparse

import msgspec

from scripts.bench import catalog, goals, robustness
from scripts.bench.figures import FIGURES
from scripts.bench.machine import machine
from scripts.bench.processes import cores
from scripts.bench.report import cpu_table, failures, kind, table
from scripts.bench.rounds import Settings, run

SHORT_FIGURES = [
    name
    for name, figure in FIGURES.items()
    if not figure.hogged and not figure.count and figure.kind in ("one_way", "ping_pong", "control", "open")
]
DEFAULT_FIGURES = [name for name, figure in FIGURES.items() if not figure.hogged]
QUICK = Settings(rounds=1, warm_up=0.05, seconds=0.2, samples=500, figures=SHORT_FIGURES)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round: does everything still run?")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds before each figure counts")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each one-way figure")
    parser.add_argument("--samples", type=int, default=100_000, help="round trips of each ping-pong")
    parser.add_argument("--peers", nargs="+", choices=catalog.PEERS, metavar="PEER")
    parser.add_argument("--figures", nargs="+", choices=list(FIGURES), metavar="FIGURE")
    parser.add_argument("--robustness", action="store_true", help="resets, stalls and resume times as well")
    parser.add_argument("--no-pin", action="store_true", help="let the scheduler place both processes")
    parser.add_argument(
        "--quiet", action="store_true", help="wait for a quiet machine, take disturbed figures again"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    return parser.parse_args()


def main() -> None:
    """Read the command line, measure, print."""
    options = _arguments()
    settings = QUICK
    if not options.quick:
        settings = Settings(
            options.rounds, options.warm_up, options.seconds, options.samples, DEFAULT_FIGURES
        )
    settings = msgspec.structs.replace(
        settings,
        figures=options.figures or settings.figures,
        pin=not options.no_pin,
        quiet=options.quiet,
    )
    peers = options.peers or (catalog.LOCAL if options.quick else catalog.PEERS)
    where = {**machine(), "pinned_to": cores() if settings.pin else None}
    found = run({peer: catalog.module(peer) for peer in peers}, settings)
    outcomes: list[robustness.Outcome] = []
    if options.robustness:
        resuming = [peer for peer in catalog.RESUMING if peer in peers]
        outcomes = robustness.run(resuming, robustness.MESSAGES, robustness.STALLED_MESSAGES)
    verdicts = goals.verdicts(found, outcomes)
    report = {
        "benchmark": "transport",
        "machine": where,
        "settings": settings,
        "peers": found.about,
        "results": found.results,
        "failures": found.failures,
        "robustness": outcomes,
        "goals": verdicts,
    }
    print(msgspec.json.encode(report).decode())
    if options.json:
        return
    print(table(found.results, settings.figures, {peer: kind(found.about.get(peer)) for peer in peers}))
    if any(FIGURES[figure].kind == "one_way" for figure in settings.figures):
        print(f"\n{cpu_table(found.results, settings.figures)}")
    for text in failures(found):
        print(text)
    if outcomes:
        print(f"\n{robustness.table(outcomes)}")
    shown = [verdict for verdict in verdicts if verdict.met is not None or not options.quick]
    print(f"\n{goals.table(shown)}")


if __name__ == "__main__":
    main()
