"""What a killed node leaves: nothing outside its data directory, and there the next start clears up (FETCH-9)."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.cli.command import COMMAND, ENVIRONMENT
from tests.cli.nodes import PATIENCE, made, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def running(data: Path, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """A node that runs, with a directory for temporary files that nobody else uses."""
    temporary.mkdir(exist_ok=True)
    node = subprocess.Popen(
        [*COMMAND, "up", "--data", str(data), "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | {"TMPDIR": str(temporary)},
    )
    late = threading.Timer(PATIENCE, node.kill)
    late.start()
    try:
        assert node.stdout is not None
        assert '"up"' in node.stdout.readline()
        yield node
    finally:
        if node.poll() is None:
            node.send_signal(signal.SIGINT)
        node.communicate(timeout=PATIENCE)
        late.cancel()


def runs(data: Path) -> set[str]:
    """The places of runs in a data directory: those that live, and those that were killed."""
    return {one.name for one in (data / "run").iterdir() if one.name.startswith("run-")}


def test_a_killed_node_leaves_nothing_behind(tmp_path: Path) -> None:
    """FETCH-9: its readers' directory lies in its own data directory, and is removed at the next start."""
    data, beside, temporary = tmp_path / "ada", tmp_path / "bob", tmp_path / "tmp"
    made(data)
    made(beside)
    with running(beside, temporary):
        (living,) = runs(beside)
        with running(data, temporary) as node:
            (left,) = runs(data)
            os.kill(node.pid, signal.SIGKILL)
            node.wait(PATIENCE)
        assert list(temporary.iterdir()) == []
        assert runs(data) == {left}
        with running(data, temporary):
            until(lambda: left not in runs(data))
            assert len(runs(data)) == 1
            assert runs(beside) == {living}
        assert runs(data) == set()
    assert runs(beside) == set()
    assert list(temporary.iterdir()) == []
