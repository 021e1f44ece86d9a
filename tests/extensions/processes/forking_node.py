"""A node in a program that forks: `python -m tests.extensions.processes.forking_node DIRECTORY KIND MECHANISM…`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

import msgspec
import trio

from tests.extensions.processes.arrange import VICTIMS, opened, spec, underway
from web4.worker.descendants import descendants
from web4.worker.request import CommandEntry, PythonEntry

if TYPE_CHECKING:
    from web4.extensions.processes.processes import Mechanism

ENTRIES = {
    "program": CommandEntry((sys.executable, "-I", "-S", str(VICTIMS / "thread_exec.py"))),
    "headless": PythonEntry("escapes", "headless"),
}


def keep(there: int) -> NoReturn:
    """What a child of the program does: it says that it is there, and lives on with every descriptor."""
    os.write(there, b".")
    time.sleep(60)
    os._exit(0)


async def main(directory: Path, kind: str, without: tuple[Mechanism, ...]) -> None:
    async with opened(directory, without=without) as processes:
        worker = await processes.start(msgspec.structs.replace(spec(), entry=ENTRIES[kind]))
        await underway(worker)
        tree = await processes.start(spec("double_forks", processes=8))
        await underway(tree)
        of_the_node = {*descendants(os.getpid()), worker.pid, tree.pid}
        hears, there = os.pipe()
        child = os.fork()
        if child == 0:
            keep(there)
        os.read(hears, 1)  # a fork that has not run yet has not let go of anything either
        print(*of_the_node, child, flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], cast("tuple[Mechanism, ...]", tuple(sys.argv[3:])))
