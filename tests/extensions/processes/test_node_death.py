"""A node that is killed takes its workers with it, and the next one cleans up (EXT-34, EXT-41)."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from tests.extensions.processes.arrange import ROUNDS, Telemetry, groups, named, opened
from tests.extensions.processes.test_tree_kill import MECHANISMS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.scenario("extensions#12")
@pytest.mark.parametrize(
    ("mechanism", "workers"),
    [(one, 20) for one in MECHANISMS] if ROUNDS > 1 else [("cgroup and namespace", 20), ("subreaper", 8)],
)
async def test_a_node_that_is_killed_leaves_nothing(mechanism: str, workers: int, tmp_path: Path) -> None:
    """Scenario 12: twenty busy workers, trees among them; eight are one of each sort."""
    extension = f"k{secrets.token_hex(4)}"
    node = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.extensions.processes.node",
            str(tmp_path),
            extension,
            str(workers),
            *MECHANISMS[mechanism],
        ],
        stdout=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
    )
    with node, trio.fail_after(90):
        assert node.stdout is not None
        said = await trio.to_thread.run_sync(node.stdout.readline)
        assert said.startswith(b"busy"), said
        assert len(named(extension)) > workers // 2  # a bare warden ends what outgrows its limit
        node.send_signal(signal.SIGKILL)
        node.wait()
        while named(extension):
            await trio.sleep(0.01)
    (run,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    left = len(list((run / "tmp").iterdir()))
    assert workers // 2 < left <= workers
    telemetry = Telemetry()
    async with opened(tmp_path, emit=telemetry):
        while not telemetry.of("worker_leftovers_removed"):
            await trio.sleep(0.005)
        assert not run.exists()
        assert not [one for one in groups() if run.name in one]
    (removed,) = telemetry.of("worker_leftovers_removed")
    assert removed["runs"] == 1
    assert removed["directories"] == left


async def test_a_node_beside_it_is_left_alone(tmp_path: Path) -> None:
    """EXT-41: only what a dead run left is removed."""
    telemetry = Telemetry()
    async with opened(tmp_path), opened(tmp_path, emit=telemetry):
        await trio.sleep(0.05)
        assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
    assert not telemetry.of("worker_leftovers_removed")
    assert [one.name for one in tmp_path.iterdir()] == ["lock"]
