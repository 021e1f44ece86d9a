"""The parent of a worker that may fork (EXT-22; `processes` in section 6)."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
import trio

from tests.extensions.processes.arrange import (
    descriptors,
    opened,
    read,
    settled,
    spec,
    survivors,
    underway,
    zombies,
)
from tests.extensions.processes.sharing import shared_templates  # noqa: F401 - a fixture
from tests.extensions.processes.test_tree_kill import MECHANISMS
from web4.worker.descendants import descendants

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 12


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_bomb_is_bound(mechanism: str, tmp_path: Path) -> None:
    """By the kernel, or by a warden that counts and ends it. The node answers others meanwhile."""
    async with opened(tmp_path, without=MECHANISMS[mechanism]) as processes:
        other = await processes.start(spec())
        worker = await processes.start(spec("bomb", processes=LIMIT))
        await underway(worker)
        if worker.protections.processes == "cgroup":
            for _ in range(200):
                found = worker.usage().processes
                assert found is not None
                assert found <= LIMIT
                other.socket.send(b"and you?")
                assert await read(other) == b"and you?"
            worker.kill("enough")
            assert (await worker.wait()).reason == "enough"
        else:
            ended = await worker.wait()
            assert ended.reason == "processes"
        assert not survivors(worker)
        worker.close()
        other.close()
        await settled(processes)
        assert not zombies()


async def test_a_tree_may_have_as_many_as_it_may(tmp_path: Path) -> None:
    """Ten processes under a limit of ten are left alone, wherever they are counted."""
    for mechanism in MECHANISMS.values():
        async with opened(tmp_path, without=mechanism) as processes:
            worker = await processes.start(spec("grandchildren", processes=10))
            await underway(worker)
            with trio.fail_after(60):
                while worker.usage().processes != 10:
                    await trio.sleep(0.005)
            await trio.sleep(0.15)
            assert worker.exit is None
            worker.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_warden_that_was_stopped(mechanism: str, tmp_path: Path) -> None:
    """As a worker in level none could do to it."""
    async with opened(tmp_path, without=MECHANISMS[mechanism]) as processes:
        worker = await processes.start(spec("double_forks", processes=LIMIT))
        await underway(worker)
        (warden,) = [pid for pid in descendants(os.getpid()) if worker.pid in descendants(pid)]
        os.kill(warden, signal.SIGSTOP)
        worker.kill("enough")
        assert (await worker.wait()).reason == "enough"
        assert not survivors(worker)
        worker.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_a_warden_that_was_killed(mechanism: str, tmp_path: Path) -> None:
    """The worker goes with it. What it forked goes too, but where a bare subreaper is all there is (`best_effort`)."""
    async with opened(tmp_path, without=MECHANISMS[mechanism]) as processes:
        before = descriptors()
        worker = await processes.start(
            spec("spin" if mechanism == "subreaper" else "double_forks", processes=LIMIT)
        )
        await underway(worker)
        (warden,) = [pid for pid in descendants(os.getpid()) if worker.pid in descendants(pid)]
        os.kill(warden, signal.SIGKILL)
        ended = await worker.wait()
        assert (ended.signal, ended.reason) == (9, "signalled")
        with trio.fail_after(60):  # the kernel kills the worker as its parent dies, but does not wait for it
            while survivors(worker):
                await trio.sleep(0.001)
        worker.close()
        await settled(processes)
        assert descriptors() == before


async def test_without_seccomp_there_is_a_warden_though_it_may_not_fork(tmp_path: Path) -> None:
    """EXT-22: what is not enforced is not relied upon."""
    async with opened(tmp_path) as processes:
        worker = await processes.start(spec("grandchildren", without=("seccomp",), processes=12))
        assert worker.protections.seccomp == "off"
        await underway(worker)
        worker.kill("enough")
        await worker.wait()
        assert not survivors(worker)
        single = await processes.start(spec("spin", without=("seccomp",)))
        assert single.protections.tree_kill in {"cgroup", "pid_namespace", "best_effort"}
        single.close()
