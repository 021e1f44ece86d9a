"""Compare transports over loopback: two processes, pinned apart, rounds interleaved across peers.

    python -m scripts.bench.transport [--quick] [--rounds N] [--json] [--peers ...] [--figures ...]

Prints one JSON object and a table (RTT-71, section 22 of the RTT specification). A peer is one module in
`peers/`; its name there is its name here.
"""

from __future__ import annotations

import argparse
import importlib

import msgspec

from scripts.bench.figures import FIGURES
from scripts.bench.report import machine, table
from scripts.bench.rounds import Settings, run

PEERS = ["raw_tcp", "blocking_tls", "trio_tcp", "trio_tls", "rtt"]
DEFAULT_FIGURES = [name for name, figure in FIGURES.items() if not figure.hogged]
QUICK = Settings(rounds=1, warm_up=0.05, seconds=0.2, samples=500, figures=DEFAULT_FIGURES)


def kind(peer: str) -> str:
    """Return in a few words what a peer is."""
    module = importlib.import_module(f"scripts.bench.peers.{peer}")
    return f"{module.LOOP}, {'encrypted' if module.ENCRYPTED else 'plain'}"


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round: does everything still run?")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each one-way figure")
    parser.add_argument("--samples", type=int, default=100_000, help="round trips of each ping-pong")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS, metavar="PEER")
    parser.add_argument(
        "--figures", nargs="+", choices=list(FIGURES), default=DEFAULT_FIGURES, metavar="FIGURE"
    )
    parser.add_argument("--no-pin", action="store_true", help="let the scheduler place both processes")
    parser.add_argument(
        "--quiet", action="store_true", help="wait for a quiet machine, take disturbed figures again"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    options = parser.parse_args()
    settings = Settings(options.rounds, 1.0, options.seconds, options.samples, options.figures)
    if options.quick:
        settings = msgspec.structs.replace(QUICK, figures=options.figures)
    settings = msgspec.structs.replace(settings, pin=not options.no_pin, quiet=options.quiet)
    where = machine()
    results = run({peer: f"scripts.bench.peers.{peer}" for peer in options.peers}, settings)
    report = {"benchmark": "transport", "machine": where, "settings": settings, "results": results}
    print(msgspec.json.encode(report).decode())
    if not options.json:
        print(table(results, settings.figures, {peer: kind(peer) for peer in options.peers}))


if __name__ == "__main__":
    main()
