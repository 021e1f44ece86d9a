"""What is told of a worker while it lives and when it ends: measured, not guessed (EXT-25, EXT-28, EXT-32)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.extensions.processes.arrange import opened, read, settled, spec, survivors, underway, zombies
from tests.extensions.processes.sharing import shared_templates  # noqa: F401 - a fixture

MIB = 1 << 20


@pytest.mark.parametrize("processes_limit", [1, 4])
async def test_usage_of_a_living_worker(processes_limit: int, tmp_path: Path) -> None:
    async with opened(tmp_path) as processes:
        worker = await processes.start(spec("eater", processes=processes_limit, environment={"MIB": "40"}))
        await underway(worker)
        idle = worker.usage()
        assert idle.resident is not None
        assert idle.cpu_ns is not None
        assert idle.descriptors == 4
        assert idle.processes == 1
        worker.socket.send(b"eat")
        assert await read(worker) == b"up"
        eaten = worker.usage()
        assert eaten.resident is not None
        assert eaten.resident - idle.resident > 39 * MIB
        assert eaten.cpu_ns is not None
        assert eaten.cpu_ns > idle.cpu_ns
        assert eaten.descriptors == 14
        worker.close()


async def test_usage_of_a_tree(tmp_path: Path) -> None:
    """EXT-25: leftover processes show."""
    for without in ((), ("cgroup",)):
        async with opened(tmp_path, without=without) as processes:  # type: ignore[arg-type]
            worker = await processes.start(spec("grandchildren", processes=16))
            await underway(worker)
            with trio.fail_after(60):
                while worker.usage().processes != 10:
                    await trio.sleep(0.005)
            assert (worker.usage().resident or 0) > 10 * MIB
            worker.close()


@pytest.mark.parametrize("processes_limit", [1, 4])
async def test_a_worker_that_runs_out_of_memory(processes_limit: int, tmp_path: Path) -> None:
    """EXT-28: an OOM kill is told from the control group's own count."""
    async with opened(tmp_path) as processes:
        worker = await processes.start(
            spec("eater", processes=processes_limit, memory=32 * MIB, environment={"MIB": "200"})
        )
        worker.socket.send(b"eat")
        ended = await worker.wait()
        if worker.protections.memory == "cgroup":
            assert ended.oom
            assert ended.signal == signal.SIGKILL
            assert ended.peak_memory_bytes is not None
            assert 20 * MIB < ended.peak_memory_bytes <= 40 * MIB
        else:
            assert not ended.oom
            assert ended.status == 1
        worker.close()
        other = await processes.start(spec())
        other.kill("done")
        assert not (await other.wait()).oom


async def test_memory_without_control_groups(tmp_path: Path) -> None:
    """Section 6: an address space has a limit, where nobody counts the tree's memory."""
    async with opened(tmp_path, without=["cgroup"]) as processes:
        worker = await processes.start(spec("eater", memory=64 * MIB, environment={"MIB": "400"}))
        assert worker.protections.memory == "rlimit"
        worker.socket.send(b"eat")
        ended = await worker.wait()
        assert (ended.status, ended.oom) == (1, False)
        worker.close()


HOSTS = {
    "ignores its children": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "reaps whatever ends": """
def reap():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.001)
threading.Thread(target=reap, daemon=True).start()
""",
    "blocks every signal": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "runs trio in a thread": "",
}
HOST = """
import os, pathlib, signal, sys, threading, time, trio
from tests.extensions.processes.arrange import opened, spec, underway, survivors
{setup}
async def main():
    async with opened(pathlib.Path(sys.argv[1])) as processes:
        for limit in (1, 4):
            for victim in ("stubborn", "leave"):
                worker = await processes.start(spec(victim, processes=limit))
                if victim == "stubborn":
                    await underway(worker)
                    worker.kill("done")
                ended = await worker.wait()
                assert not survivors(worker)
                worker.close()
                print(victim, ended.status, ended.signal, ended.reason)
if {threaded}:
    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    thread.join()
else:
    trio.run(main)
print("end")
"""


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_with_ways_of_its_own(host: str, tmp_path: Path) -> None:
    """Nothing of the embedding program is relied upon: not its signals, nor that it leaves the reaping to us."""
    done = subprocess.run(
        [sys.executable, "-c", HOST.format(setup=HOSTS[host], threaded="thread" in host), str(tmp_path)],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "end"
    assert len(lines) == 5
    if "children" not in host and "reaps" not in host:
        assert lines[0] == "stubborn None 9 done"
        assert lines[1] == "leave 7 None exited"
    assert lines[3] == "leave 7 None exited"  # a warden tells, whoever reaps it


async def test_many_may_wait_and_all_can_be_cancelled(tmp_path: Path) -> None:
    async with opened(tmp_path) as processes:
        worker = await processes.start(spec("spin"))
        with trio.move_on_after(0.01) as scope:
            await worker.wait()
        assert scope.cancelled_caught
        ends = []

        async def wait() -> None:
            ends.append(await worker.wait())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            worker.kill("first")
            worker.kill("second")
        assert [one.reason for one in ends] == ["first"] * 3
        assert not survivors(worker)
        await settled(processes)
        assert not zombies()


async def test_a_worker_shares_what_its_template_has(tmp_path: Path) -> None:
    """EXT-35: a page that no worker writes to exists once. A fresh interpreter has 14 MiB of its own."""
    async with opened(tmp_path, preload=("trio",)) as processes:
        worker = await processes.start(spec())
        worker.socket.send(b"warm?")
        assert await read(worker) == b"warm?"
        private = 0
        for line in Path(f"/proc/{worker.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_"):
                private += int(line.split()[1])
        assert 0 < private < 6 * 1024
        worker.close()
