"""A node that is going to be killed: `python -m tests.extensions.host_node EXTENSION RUNTIME CALLS`."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from tests.extensions.hosting import busy, running


async def main(directory: Path, runtime: Path, calls: int) -> None:
    async with running(directory, runtime=runtime) as host, trio.open_nursery() as nursery:
        for number in range(calls):
            name = ("spin", "sleep")[number % 2]
            nursery.start_soon(host.call, "tool", name, {"seconds": 1_000})
        await busy(host, calls)
        print("busy", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
