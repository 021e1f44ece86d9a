"""Control groups as the worker sees them (EXT-22, section 6)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.worker.sandbox.inside import MEBIBYTE, asked, run

if TYPE_CHECKING:
    from collections.abc import Iterator

HIERARCHIES = (
    Path("/sys/fs/cgroup"),
    *(Path("/sys/fs/cgroup", name) for name in ("unified", "memory", "pids")),
)


@pytest.fixture
def groups() -> Iterator[list[Path]]:
    """A group in every hierarchy where this user may make one."""
    made: list[Path] = []
    for one in HIERARCHIES:
        path = one / f"web4-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            path.mkdir()
            if (path / "cgroup.procs").exists():
                made.append(path)
            else:
                path.rmdir()
    yield made
    for path in made:
        path.rmdir()


def test_what_the_groups_give_is_told(tmp_path: Path, groups: list[Path]) -> None:
    """EXT-32: version, kill, memory, number of processes; measured by what the worker is really in."""
    if not groups:
        pytest.skip("this user may make no control group here")
    expected = {"memory": "rlimit", "processes": "off"}
    for path in groups:
        for name, value in (("memory.max", 256), ("memory.limit_in_bytes", 256)):
            if (path / name).exists():
                (path / name).write_text(str(value * MEBIBYTE))
                expected["memory"] = "cgroup"
        if (path / "pids.max").exists():
            (path / "pids.max").write_text("20")
            expected["processes"] = "cgroup"
    unified = [one for one in groups if (one / "cgroup.kill").exists()]
    found = run(asked(tmp_path, processes=4, groups=tuple(map(str, groups)))).protections
    assert (found.memory, found.processes) == (expected["memory"], expected["processes"])
    assert found.cgroup == ("v2" if unified else "v1")
    assert found.tree_kill == ("cgroup" if unified else "best_effort")


def test_a_group_that_was_not_joined_is_not_told(tmp_path: Path, groups: list[Path]) -> None:
    """That it was asked for proves nothing."""
    found = run(
        asked(tmp_path, groups=("/sys/fs/cgroup/absent", *map(str, groups))), joining=False
    ).protections
    assert (found.cgroup, found.memory) == ("off", "rlimit")
