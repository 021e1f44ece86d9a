"""One of the two processes of a measurement; the parent runs it as a script."""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import importlib
import os
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

import trio

from scripts.bench.figures import Task
from scripts.bench.link import COMMON, TunedLink
from scripts.bench.loads import LOADS
from scripts.bench.side import Failure, Hello, Side

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from scripts.bench.link import Peer


async def converse(peer: Peer, side: Side) -> None:
    """Open the link, then run every figure the parent names until it closes the pipe."""
    async with peer.open_link(side) as link:
        side.write("ready")
        while (task := await side.read(Task)) is not None:
            gc.collect()
            if isinstance(link, TunedLink):
                link.prepare(task.figure)
            serve, drive = LOADS[task.figure.kind]
            side.write(await (serve if side.role == "server" else drive)(link, task, side))


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


def describe(peer: Peer) -> Hello:
    """Return what the report says of a peer."""
    packages: tuple[str, ...] = getattr(peer, "PACKAGES", ())
    versions = {package: version(package) for package in packages}
    versions |= getattr(peer, "VERSIONS", {})
    kinds = sorted(getattr(peer, "KINDS", COMMON))
    return Hello(peer.LOOP, peer.ENCRYPTED, kinds, versions, getattr(peer, "LIMITS", {}))


def reason(error: BaseException) -> str:
    """Return an error as one short line; of a group, its first member."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300]


def run(peer: Peer, side: Side) -> None:
    """Run one side on the peer's loop."""
    if peer.LOOP == "trio":
        trio.run(converse, peer, side)
    elif peer.LOOP == "asyncio":
        asyncio.run(converse(peer, side))
    elif peer.LOOP == "uvloop":
        importlib.import_module("uvloop").run(converse(peer, side))
    else:
        run_blocking(converse(peer, side))


PROFILE = "WEB4_BENCH_PROFILE"
"""Environment variable: where to write profiles, one with each role behind a full stop."""


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
    side = Side(options.role, credentials=options.credentials)
    try:
        peer = load(options.peer)
        side.loop = peer.LOOP
        side.write(describe(peer))
        where = os.environ.get(PROFILE)
        if where is None:
            run(peer, side)
        else:
            profile = cProfile.Profile()
            profile.runcall(run, peer, side)
            profile.dump_stats(f"{where}.{options.role}")
    except BaseException as error:
        with suppress(BrokenPipeError):
            side.write(Failure(reason(error)))
        if isinstance(error, ImportError | FileNotFoundError):
            sys.exit(1)  # the peer is not here: the line says all
        raise


if __name__ == "__main__":
    main()
