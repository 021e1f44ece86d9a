"""A node that is going to be killed.

`python -m tests.extensions.processes.node DIRECTORY EXTENSION WORKERS MECHANISM…`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import trio

from tests.extensions.processes.arrange import Telemetry, opened, spec, underway

if TYPE_CHECKING:
    from web4.extensions.processes.processes import Mechanism

BUSY = ("spin", "stubborn", "stopped", "grandchildren", "double_forks", "chains", "bomb", "stopped_tree")
ALONE = 3


async def main(directory: Path, extension: str, workers: int, without: tuple[Mechanism, ...]) -> None:
    telemetry = Telemetry()
    async with opened(directory, without=without, emit=telemetry) as processes:
        for number in range(workers):
            victim = BUSY[number % len(BUSY)]
            limit = 1 if number % len(BUSY) < ALONE else 10
            worker = await processes.start(spec(victim, processes=limit, extension=extension))
            await underway(worker)
        print("busy", processes.kernel().tree_kill_many, telemetry.of("worker_leftovers_removed"), flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(
        main,
        Path(sys.argv[1]),
        sys.argv[2],
        int(sys.argv[3]),
        cast("tuple[Mechanism, ...]", tuple(sys.argv[4:])),
    )
