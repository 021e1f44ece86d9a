"""Verified envelopes per second, process to process, against other ways for agents to tell each other something.

    python -m scripts.bench.envelopes [--quick] [--rounds N] [--seconds S] [--shares] [--json]

Two processes over loopback; what counts is what the receiver's handler was given. `cip_envelopes` is all that a node
does in memory, `cip_envelopes_durable` the same with a journal at both sides; `signed_http` is signed JSON over HTTP
in the manner of `uagents`; `slim_tls` is `slim-bindings`, which neither verifies signatures nor keeps anything. Rounds
are interleaved, medians compared, both processes placed by the scheduler. `make bench-peers` makes the environment that
has the peers; in any other, what is not installed is named as absent.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from itertools import product

import msgspec

from scripts.bench import catalog, shares
from scripts.bench.child import PROFILE
from scripts.bench.machine import machine
from scripts.bench.report import cpu_table, failures, kind, table
from scripts.bench.rounds import Results, Settings, run

OURS, DURABLE, HTTP, SLIM = "cip_envelopes", "cip_envelopes_durable", "signed_http", "slim_tls"
FIGURES = ["one_way_64", "one_way_1k"]
GOALS = ((HTTP, 3.0), (SLIM, 1.0))
"""How many times as many envelopes as others' there should be."""
QUICK = Settings(rounds=1, warm_up=0.05, seconds=0.2, samples=0, figures=FIGURES, pin=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round: does everything still run?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=float, default=0.5, help="seconds before each figure counts")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each figure")
    parser.add_argument(
        "--shares", action="store_true", help="profile both kinds of ours: the share of each step"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    return parser.parse_args()


def verdicts(results: Results) -> list[str]:
    """Say of each goal what this run shows."""
    lines = []
    for figure, (peer, least) in product(FIGURES, GOALS):
        goal = f"{figure}: {OURS} >= {least:g}x {peer}"
        ours, theirs = (results.get(one, {}).get(figure) for one in (OURS, peer))
        if not (ours and theirs):
            lines.append(f"{goal}: not measured")
            continue
        ratio = ours["rate"].median / theirs["rate"].median
        lines.append(f"{goal}: {ratio:.2f}x, {'met' if ratio >= least else 'not met'}")
    return lines


def _shares() -> str:
    """Run ours under a profiler, which makes Python's own part look larger than it is."""
    tables = []
    with tempfile.TemporaryDirectory(prefix="web4-bench-") as directory:
        for peer in (OURS, DURABLE):
            os.environ[PROFILE] = f"{directory}/{peer}"
            run({peer: catalog.module(peer)}, Settings(1, 0.3, 3.0, 0, FIGURES[-1:], pin=False))
            tables.append(f"{peer}\n{shares.table(os.environ[PROFILE])}")
    return "\n\n".join(tables)


def main() -> None:
    """Read the command line, measure, print."""
    options = _arguments()
    settings = QUICK
    if not options.quick:
        settings = Settings(options.rounds, options.warm_up, options.seconds, 0, FIGURES, pin=False)
    if options.shares:
        print(_shares())
        return
    peers = [OURS, DURABLE] if options.quick else [OURS, DURABLE, HTTP, SLIM]
    where = machine()
    found = run({peer: catalog.module(peer) for peer in peers}, settings)
    report = {"benchmark": "envelopes", "machine": where, "settings": settings, "run": found}
    print(msgspec.json.encode(report).decode())
    if options.json:
        return
    notes = {peer: kind(found.about.get(peer)) for peer in peers}
    print(table(found.results, FIGURES, notes), cpu_table(found.results, FIGURES), sep="\n\n")
    print("", *verdicts(found.results), *failures(found), sep="\n")


if __name__ == "__main__":
    main()
