"""All of it without privileges: what an ordinary user's node can do, and what it says it cannot (EXT-22, EXT-32)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.extensions.processes.arrange import ROUNDS, VICTIMS
from tests.extensions.processes.ordinary import ALONE

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
# The interpreter may lie in root's home: to find it is the one privilege that is kept, and workers lose that too.
BECOME = [
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
    "--bounding-set=-all,+dac_read_search",
]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Of that user: nobody else enters those that pytest makes."""
    with tempfile.TemporaryDirectory() as made:
        # Of all that lies elsewhere, workers need nothing: the checkout may be closed to that user.
        shutil.copytree(VICTIMS, Path(made, "victims"), ignore=shutil.ignore_patterns("__pycache__"))
        Path(made, "runtime").mkdir()
        if os.getuid() == 0:
            for path in (Path(made), *Path(made).rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        yield Path(made)


@pytest.mark.parametrize("without", [(), ("pid_namespace", "cgroup")], ids=["all there is", "subreaper"])
def test_trees_of_an_ordinary_user_die(without: tuple[str, ...], directory: Path) -> None:
    become = BECOME if os.getuid() == 0 else []
    for _ in range(max(1, ROUNDS // 2)):
        done = subprocess.run(
            [*become, sys.executable, "-m", "tests.extensions.processes.ordinary", str(directory), *without],
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["user"] != 0
        for victim, (tree_kill, status, number, reason, survived, of_user) in told["victims"].items():
            assert not survived, victim
            assert of_user == str(told["user"])
            assert tree_kill == ("single_process" if victim in ALONE else told["kernel"]["tree_kill_many"])
            if victim == "leave":
                assert (status, number, reason) == (7, None, "exited")
            elif victim == "daemon":
                assert (status, number, reason) == (3, None, "exited")
            else:
                assert reason in {"done", "processes"}
        assert told["descriptors"] == 0
        assert not told["zombies"]
        assert told["left"] == ["lock"]
        if without:
            assert told["kernel"]["tree_kill_many"] == "best_effort"
            assert told["kernel"]["processes_by"] == "warden"
