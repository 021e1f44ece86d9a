"""Nodes as a user has them: made by `web4 init`, run by `web4 up`, in processes of their own."""

from __future__ import annotations

import json
import re
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.cli.command import Done, process, start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 60


class UpNode(NamedTuple):
    """A node that runs.

    Args:
        data: Its data directory.
        fingerprint: Who it is.
        address: Where it listens.
        process: What runs it.
    """

    data: Path
    fingerprint: str
    address: str
    process: subprocess.Popen[str]


def made(data: Path) -> str:
    """Make a node that listens where the system chooses; its fingerprint."""
    done = process("init", "--data", data, "--name", data.name, "--json")
    assert done.exit == 0, done
    config = data / "web4.toml"
    # A machine that has much else to do would put off every handshake.
    text = re.sub(r":744\d\b", ":0", config.read_text())
    config.write_text(f"{text}\n[limits]\npace = false\n")
    return str(done.data["fingerprint"])


@contextmanager
def up(data: Path) -> Iterator[UpNode]:
    """Make a node and run it; it may have ended when the block does."""
    fingerprint = made(data)
    with start_again(data) as node:
        assert node.fingerprint == fingerprint
        yield node


@contextmanager
def start_again(data: Path) -> Iterator[UpNode]:
    """Run a node that was made before."""
    running = start("up", "--data", data, "--json")
    try:
        assert running.stdout is not None
        greeting = json.loads(running.stdout.readline())
        assert greeting["type"] == "up"
        yield UpNode(data, greeting["fingerprint"], greeting["addresses"][0], running)
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGINT)
        running.communicate(timeout=PATIENCE)


def until(holds: Callable[[], Any]) -> Any:
    """Ask until something holds, and give that; it fails when it takes far too long."""
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def connected_to(one: UpNode, other: UpNode) -> None:
    """Wait until a node has a session with another."""

    def so() -> bool:
        row = process("peer", "show", other.fingerprint, "--data", one.data, "--json").data
        return bool(row["connected"] and row["live"] and row["trust"] != "unknown")

    until(so)


def fine(done: Done) -> Done:
    """A call that did what it should."""
    assert done.exit == 0, done
    assert not done.err, done
    return done
