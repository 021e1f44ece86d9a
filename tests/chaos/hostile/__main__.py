"""A hostile node against an honest mesh: `python -m tests.chaos.hostile --seconds 600`, or `make hostile`.

Prints one JSON object for each window, then the numbers and a verdict; ends not with 0 when anything was harmed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import trio

from tests.chaos.hostile.attacks import EVERYTHING
from tests.chaos.hostile.campaign import campaign, show
from tests.chaos.hostile.judgement import judge, summary


async def hostile(seconds: float, seed: int, scale: float, only: list[str]) -> bool:
    """Run a campaign; whether nothing was harmed."""
    show({"seed": seed})
    plan = tuple(one for one in EVERYTHING if not only or one.name in only)
    with tempfile.TemporaryDirectory() as directory:
        async with campaign(Path(directory), seed, show) as running:
            found = await running.run(seconds, scale, plan)
    wrong = judge(found)
    show(summary(found))
    show({"seed": seed, "wrong": wrong})
    return not wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each attack")
    parser.add_argument("--only", nargs="*", default=[], help="names of attacks; all when left out")
    arguments = parser.parse_args()
    sys.exit(not trio.run(hostile, arguments.seconds, arguments.seed, arguments.scale, arguments.only))


if __name__ == "__main__":
    main()
