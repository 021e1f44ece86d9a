"""Whatever a tree does, nothing of it is left when `wait` returns (EXT-21, EXT-22, EXT-41)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.extensions.processes.arrange import (
    ROUNDS,
    children,
    descriptors,
    groups,
    opened,
    settled,
    spec,
    survivors,
    underway,
    zombies,
)
from tests.extensions.processes.sharing import shared_templates  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from web4.extensions.processes.processes import Mechanism

ALONE = ["spin", "stubborn", "stopped", "hoard", "litter"]
TREES = ["grandchildren", "double_forks", "chains", "bomb", "stopped_tree"]
MECHANISMS: dict[str, tuple[Mechanism, ...]] = {
    "cgroup and namespace": (),
    "cgroup": ("pid_namespace",),
    "pid_namespace": ("cgroup",),
    "subreaper": ("cgroup", "pid_namespace"),
}
REPORTED = {
    "cgroup and namespace": "cgroup",
    "cgroup": "cgroup",
    "pid_namespace": "pid_namespace",
    "subreaper": "best_effort",
}


async def test_a_single_process_dies_whatever_it_does(tmp_path: Path) -> None:
    """EXT-21, EXT-36: and its descriptors, its directory and its zombie go with it."""
    async with opened(tmp_path) as processes:
        before, children_before = descriptors(), children()
        for victim in ALONE * ROUNDS:
            worker = await processes.start(spec(victim, level="none"))  # which may chmod
            assert worker.protections.tree_kill == "single_process"
            await underway(worker)
            worker.kill("timeout")
            ended = await worker.wait()
            assert (ended.signal, ended.status, ended.reason) == (9, None, "timeout"), victim
            assert not survivors(worker), victim
            worker.close()
            await settled(processes)
            assert not Path(worker.tmp).exists(), victim
            assert descriptors() == before, victim
        assert not zombies()
        assert children() == children_before
    assert [one.name for one in tmp_path.iterdir()] == ["lock"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_tree_dies_under_each_mechanism(mechanism: str, tmp_path: Path) -> None:
    """EXT-22: membership is not inferred from session or group, which every one of these leaves."""
    async with opened(tmp_path, without=MECHANISMS[mechanism]) as processes:
        before, children_before = descriptors(), children()
        (run,) = [path.name for path in tmp_path.iterdir() if path.is_dir()]
        for victim in TREES * ROUNDS:
            worker = await processes.start(spec(victim, processes=16))
            if processes.kernel().tree_kill_many == REPORTED[mechanism]:
                assert worker.protections.tree_kill == REPORTED[mechanism]
            await underway(worker)
            worker.kill("timeout")
            ended = await worker.wait()
            assert ended.reason in {"timeout", "processes"}, victim
            assert not survivors(worker), victim
            worker.close()
            await settled(processes)
            assert descriptors() == before, victim
        assert not zombies()
        assert children() == children_before
    assert [one.name for one in tmp_path.iterdir()] == ["lock"]
    assert not [one for one in groups() if run in one]


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_what_a_worker_leaves_when_it_ends_by_itself_dies_too(mechanism: str, tmp_path: Path) -> None:
    """EXT-22: nobody asked for a kill, and still no daemon stays."""
    async with opened(tmp_path, without=MECHANISMS[mechanism]) as processes:
        for _ in range(ROUNDS):
            worker = await processes.start(spec("daemon", processes=16))
            await underway(worker)
            ended = await worker.wait()
            assert (ended.status, ended.signal, ended.reason) == (3, None, "exited")
            assert not survivors(worker)
            worker.close()
        await settled(processes)
        assert not zombies()
