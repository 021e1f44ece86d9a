"""One of the two processes of a measurement; the parent runs it as a script."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import trio

from scripts.bench.figures import Task
from scripts.bench.link import Side
from scripts.bench.loads import drive, serve

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from scripts.bench.link import Peer


async def converse(peer: Peer, side: Side) -> None:
    """Open the link, then run every figure the parent names until it closes the pipe."""
    async with peer.open_link(side) as link:
        side.write("ready")
        while (task := await side.read(Task)) is not None:
            gc.collect()
            run = serve if side.role == "server" else drive
            side.write(await run(link, task))


def run_blocking(coroutine: Coroutine[object, None, None]) -> None:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("a blocking peer suspended")


def load(name: str) -> Peer:
    """Return the peer that `module` is, or that `module:attribute` names."""
    module, _, attribute = name.partition(":")
    found = importlib.import_module(module)
    return cast("Peer", getattr(found, attribute) if attribute else found)


def main() -> None:
    """Read the command line the parent wrote."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True)
    parser.add_argument("--role", required=True, choices=["server", "client"])
    parser.add_argument("--credentials", required=True, type=Path)
    parser.add_argument("--cpu", type=int)
    options = parser.parse_args()
    if options.cpu is not None:
        os.sched_setaffinity(0, {options.cpu})
    peer = load(options.peer)
    on_trio = peer.LOOP == "trio"
    side = Side(options.role, on_trio=on_trio, credentials=options.credentials)
    if on_trio:
        trio.run(converse, peer, side)
    else:
        run_blocking(converse(peer, side))


if __name__ == "__main__":
    main()
