"""Measure the shapes of decision record 0002 beside the baselines, in one run.

    python -m scripts.bench.shapes.measure [--rounds N] [--no-pin]

Builds the prototypes into a temporary directory first; `--built DIRECTORY` reuses one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import trio

from scripts.bench.machine import machine
from scripts.bench.report import cpu_table, failures, table
from scripts.bench.rounds import Settings, run

_FACE = "scripts.bench.shapes.face"
_HERE = Path(__file__).resolve().parent
BASELINES = {
    "raw_tcp": "blocking, plain",
    "blocking_tls": "blocking, encrypted",
    "trio_tcp": "trio, plain",
    "trio_tls": "trio, encrypted",
}
SHAPES = {
    "in_loop": "GIL released in every call, read before waiting",
    "in_loop_wait_first": "always wait, then read",
    "in_loop_pump": "a pump task wakes the receiver",
    "in_loop_adaptive": "GIL kept below 16 KiB of work",
    "in_loop_coalesce": "adaptive; single sends share a write",
    "io_thread": "native thread, rings, eventfd",
    "io_thread_pump": "the same, a pump task wakes the receiver",
}
FIGURES = ["one_way_64", "one_way_1k", "one_way_64k", "one_way_64_each", "one_way_1k_each"]
FIGURES += ["ping_pong_64", "ping_pong_1k", "ping_pong_1k_hogged"]


async def trio_costs(count: int = 50_000) -> dict[str, float]:
    """Return what Trio itself takes, in microseconds: the floor of everything that awaits once a message."""
    costs = {}
    ready, other = trio.socket.socketpair()

    async def wait_ready() -> None:
        await trio.lowlevel.wait_readable(ready)

    with ready, other:
        await other.send(b"x")
        for name, call in (("checkpoint", trio.lowlevel.checkpoint), ("wait_readable, ready", wait_ready)):
            begin = time.perf_counter()
            for _ in range(count):
                await call()
            costs[name] = round((time.perf_counter() - begin) / count * 1e6, 2)
    return costs


def main() -> None:
    """Read the command line, build, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=float, default=0.3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--figures", nargs="+", default=FIGURES, metavar="FIGURE")
    parser.add_argument("--peers", nargs="+", default=[*BASELINES, *SHAPES], metavar="PEER")
    parser.add_argument("--no-pin", action="store_true", help="let the scheduler place both processes")
    parser.add_argument("--built", type=Path, help="where build.sh has put the prototypes")
    options = parser.parse_args()
    settings = Settings(
        rounds=options.rounds,
        warm_up=options.warm_up,
        seconds=options.seconds,
        samples=options.samples,
        figures=options.figures,
        pin=not options.no_pin,
        quiet=True,
    )
    kinds = {name: kind for name, kind in {**BASELINES, **SHAPES}.items() if name in options.peers}
    with tempfile.TemporaryDirectory(prefix="web4-shapes-") as directory:
        built = options.built or Path(directory)
        subprocess.run([_HERE / "build.sh", built, sys.executable], check=True)
        peers = {
            name: f"{_FACE}:{name}" if name in SHAPES else f"scripts.bench.peers.{name}" for name in kinds
        }
        where = {**machine(), "trio_us": trio.run(trio_costs)}
        found = run(peers, settings, path=[str(built)])
    results = found.results
    report = {"benchmark": "shapes", "machine": where, "settings": settings, "results": results}
    print(msgspec.json.encode(report).decode())
    print(table(results, settings.figures, kinds))
    for text in failures(found):
        print(text)
    print(cpu_table(results, settings.figures))


if __name__ == "__main__":
    main()
