"""A node of an ordinary user: `python -m tests.extensions.processes.ordinary DIRECTORY MECHANISM…`; tells as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import trio

from tests.extensions.processes.arrange import (
    descriptors,
    opened,
    settled,
    spec,
    survivors,
    underway,
    zombies,
)

if TYPE_CHECKING:
    from web4.extensions.processes.processes import Mechanism

VICTIMS = (
    "spin",
    "stubborn",
    "grandchildren",
    "double_forks",
    "chains",
    "bomb",
    "stopped_tree",
    "leave",
    "daemon",
)
PRELOAD = ("resource",)
"""What the victims import, and may have no right to find any more."""
ALONE = ("spin", "stubborn", "leave")


async def main(place: Path, without: tuple[Mechanism, ...]) -> None:
    directory, victims = place / "runtime", place / "victims"
    told: dict[str, Any] = {"user": os.getuid(), "victims": {}}
    async with opened(directory, without=without, preload=PRELOAD) as processes:
        told["kernel"] = msgspec.to_builtins(processes.kernel())
        before = descriptors()
        for victim in VICTIMS:
            worker = await processes.start(
                spec(victim, processes=1 if victim in ALONE else 12, directory=victims)
            )
            if victim not in ("leave", "daemon"):
                await underway(worker)
                worker.kill("done")
            ended = await worker.wait()
            told["victims"][victim] = [
                worker.protections.tree_kill,
                ended.status,
                ended.signal,
                ended.reason,
                survivors(worker),
                worker.protections.user,
            ]
            worker.close()
        litter = await processes.start(spec("litter", level="none", directory=victims))
        await underway(litter)
        litter.close()
        await settled(processes)
        told["descriptors"] = len(descriptors()) - len(before)
        told["zombies"] = zombies()
    told["left"] = [one.name for one in directory.iterdir()]
    print(json.dumps(told))


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), cast("tuple[Mechanism, ...]", tuple(sys.argv[2:])))
