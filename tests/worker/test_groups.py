"""Control groups as a template makes them for its workers (EXT-22, section 6)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from web4.worker import groups
from web4.worker.request import Limits

PIDS = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


@pytest.mark.parametrize(
    ("processes", "alone", "bound"), [(1, True, groups.THREADS), (1, False, None), (4, False, 5)]
)
def test_the_tasks_of_a_group_are_bound(*, processes: int, alone: bool, bound: int | None) -> None:
    """Processes of a tree; threads of a worker that seccomp keeps alone: no other limit holds root's."""
    limits = Limits(memory=1 << 28, cpu_seconds=1, open_files=64, processes=processes, file=1)
    for hierarchy in PIDS:
        group = hierarchy / f"web4-test-{os.getpid()}"
        groups.make([str(group)], limits, extra=1, alone=alone)
        try:
            if (group / "pids.max").exists():
                said = (group / "pids.max").read_text().strip()
                assert said == ("max" if bound is None else str(bound))
                return
        finally:
            groups.remove([str(group)])
    pytest.skip("this user may make no group that counts tasks")
