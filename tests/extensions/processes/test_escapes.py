"""What a worker cannot do to its siblings, its template and its node (EXT-34, EXT-36; scenario 14)."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from tests.extensions.processes.arrange import Telemetry, descriptors, opened, spec, underway
from tests.extensions.processes.victims.escapes import MARK
from web4.worker.request import PythonEntry

if TYPE_CHECKING:
    from pathlib import Path

    from web4.extensions.processes import StartSpec
    from web4.worker.request import Level

LEVELS: tuple[Level, ...] = ("none", "standard", "strict")


def escape(
    victim: str, processes: int = 1, environment: dict[str, str] | None = None, **sandbox: Any
) -> StartSpec:
    found = spec(processes=processes, environment=environment, **sandbox)
    return msgspec.structs.replace(found, entry=PythonEntry("escapes", victim))


@pytest.mark.scenario("extensions#14")
@pytest.mark.parametrize("processes_limit", [1, 4])
async def test_no_memory_is_shared_with_template_and_siblings(processes_limit: int, tmp_path: Path) -> None:
    """EXT-36: not the numbers of the template either, by which the node knows whom to kill."""
    async with opened(tmp_path) as processes:
        worker = await processes.start(escape("shared", processes_limit))
        assert json.loads(await underway(worker)) == []
        worker.close()


@pytest.mark.scenario("extensions#14")
async def test_what_a_sibling_was_given_is_not_in_the_memory_of_the_template(tmp_path: Path) -> None:
    """EXT-36: a fork has all that its template ever had, so the template must never have had a secret."""
    async with opened(tmp_path) as processes:
        for limit in (1, 4):
            for number in range(3):
                given = {"KEY": f"{MARK}=secret{number}"}
                sibling = await processes.start(escape("shared", limit, given))
                await underway(sibling)
                sibling.close()
        for limit in (1, 4):
            worker = await processes.start(escape("remember", limit))
            assert await underway(worker) == b"0"
            worker.close()
        proof = await processes.start(escape("remember", environment={"KEY": f"{MARK}=secret"}))
        assert int(await underway(proof)) > 0, "it would find it"
        proof.close()


@pytest.mark.parametrize("level", LEVELS)
async def test_a_python_worker_that_is_alone_executes_nothing(level: Level, tmp_path: Path) -> None:
    """EXT-34: a program that a thread executes has no parent-death signal, and would outlive the node."""
    async with opened(tmp_path) as processes:
        worker = await processes.start(escape("replace", level=level))
        assert int(await underway(worker)) == errno.EPERM
        worker.close()


@pytest.mark.parametrize("kind", ["program", "headless"])
@pytest.mark.parametrize("without", ["", "cgroup", "pid_namespace", "cgroup pid_namespace"])
async def test_no_trick_with_threads_outlives_the_node(kind: str, without: str, tmp_path: Path) -> None:
    """EXT-34: the node is killed while it has a child of its own, which holds copies of all its descriptors."""
    command = [
        sys.executable,
        "-m",
        "tests.extensions.processes.forking_node",
        str(tmp_path),
        kind,
        *without.split(),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        line = await trio.to_thread.run_sync(node.stdout.readline)
        *pids, child = (int(word) for word in line.split())
        node.kill()
        # Its threads die one by one, and the last of them lets go of its lock.
        await trio.to_thread.run_sync(node.wait)
        try:
            with trio.fail_after(60):
                while any(alive(pid) for pid in pids):
                    await trio.sleep(0.005)
            assert alive(child)
            telemetry = Telemetry()  # which holds no lock of its parent's: what that left is found
            async with opened(tmp_path, emit=telemetry):
                while not telemetry.of("worker_leftovers_removed"):
                    await trio.sleep(0.005)
        finally:
            for pid in (*pids, child):
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)


async def test_the_node_takes_no_descriptors(tmp_path: Path) -> None:
    """A large deleted file, say: who closes the last descriptor of it waits until it is gone."""
    async with opened(tmp_path) as processes:
        worker = await processes.start(escape("hand_over"))
        before = descriptors()
        refused = int(await underway(worker))
        assert refused in {0, errno.EPERM}, "0: before Linux 6.16 it cannot be refused"
        assert descriptors() == before
        worker.close()


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False
