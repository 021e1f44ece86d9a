"""The template dies, its workers live, and the node does without it meanwhile (EXT-35, EXT-36)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.extensions.processes.arrange import (
    ROUNDS,
    Telemetry,
    children,
    descriptors,
    opened,
    read,
    settled,
    spec,
    survivors,
    underway,
    zombies,
)

if TYPE_CHECKING:
    from web4.extensions.processes import Processes, WorkerProcess


STARTS = 3 + ROUNDS


async def answers(worker: WorkerProcess) -> bool:
    worker.socket.send(b"there?")
    return await read(worker) == b"there?"


async def restarted(processes: Processes, dead: int) -> int:
    while (current := processes.template_pid) in (None, dead):
        await trio.sleep(0.002)
    assert current is not None
    return current


async def test_workers_outlive_their_template(tmp_path: Path) -> None:
    telemetry = Telemetry()
    async with opened(tmp_path, emit=telemetry) as processes:
        before = descriptors()
        first = processes.template_pid
        assert first is not None
        old = [await processes.start(spec(processes=limit)) for limit in (1, 4)]
        os.kill(first, signal.SIGKILL)
        while processes.template_pid == first:
            await trio.sleep(0.001)
        cold = await processes.start(spec())
        await restarted(processes, first)
        warm = await processes.start(spec())
        for worker in (*old, cold, warm):
            assert await answers(worker)
            worker.kill("done")
            assert (await worker.wait()).signal == 9
            assert not survivors(worker)
            worker.close()
        await settled(processes)
        assert len(before) == len(descriptors())
        assert not zombies()
    started = telemetry.of("worker_started")
    assert [one["warm"] for one in started] == [True, True, False, True]
    (exited, *_) = telemetry.of("worker_template_exited")
    assert exited["reason"] == "signal 9"


async def test_a_template_that_dies_over_and_over_is_restarted_with_back_off(tmp_path: Path) -> None:
    telemetry = Telemetry()
    async with opened(tmp_path, emit=telemetry) as processes:
        pid = processes.template_pid
        assert pid is not None
        for _ in range(min(3, 1 + ROUNDS)):
            os.kill(pid, signal.SIGKILL)
            pid = await restarted(processes, pid)
    pauses = [one["pause_ms"] for one in telemetry.of("worker_template_exited")]
    assert pauses == [100, 200, 400][: 1 + ROUNDS]


async def test_starts_while_the_template_is_being_killed(tmp_path: Path) -> None:
    """Whether it dies before, in or after the fork: a worker starts, or none is left over."""
    async with opened(tmp_path) as processes:
        workers: list[WorkerProcess] = []

        async def kill() -> None:
            while True:
                if (pid := processes.template_pid) is not None:
                    os.kill(pid, signal.SIGKILL)
                await trio.sleep(0.03)

        async def start() -> None:
            workers.append(await processes.start(spec()))

        async with trio.open_nursery() as killing:
            killing.start_soon(kill)
            async with trio.open_nursery() as nursery:
                for _ in range(STARTS):
                    nursery.start_soon(start)
                    await trio.sleep(0.007)
            killing.cancel_scope.cancel()
        assert len(workers) == STARTS
        for worker in workers:
            assert await answers(worker)
            worker.close()
            await worker.wait()
        await settled(processes)
        last = await restarted(processes, 0)
        assert children() == {last}
        assert not zombies()


async def test_a_template_that_is_stopped_is_replaced(tmp_path: Path, monkeypatch: object) -> None:
    """It neither answers nor ends: after a while it is ended."""
    from web4.extensions.processes import template

    before, template.ANSWER_SECONDS = template.ANSWER_SECONDS, 1  # type: ignore[misc]
    try:
        async with opened(tmp_path) as processes:
            first = processes.template_pid
            assert first is not None
            os.kill(first, signal.SIGSTOP)
            worker = await processes.start(spec())
            assert await answers(worker)
            assert await restarted(processes, first)
    finally:
        template.ANSWER_SECONDS = before  # type: ignore[misc]


async def test_a_worker_cannot_kill_its_template(tmp_path: Path) -> None:
    """Standard keeps signals in; in level none the template is restarted, and the worker dies like any other."""
    async with opened(tmp_path) as processes:
        targets = {"TARGETS": str(processes.template_pid)}
        for limit in (1, 4):
            worker = await processes.start(spec("assassin", environment=targets, processes=limit))
            assert await underway(worker) == b"0"
            worker.close()
    async with opened(tmp_path, without=["pid_namespace"]) as processes:
        first = processes.template_pid
        targets = {"TARGETS": str(first)}
        assert first is not None
        worker = await processes.start(
            spec("killer", environment=targets, level="none", without=("seccomp", "processes"), processes=4)
        )
        await underway(worker)
        await restarted(processes, first)
        again = await processes.start(spec())
        assert await answers(again)
        for one in (worker, again):
            one.kill("done")
            await one.wait()
            assert not survivors(one)
            one.close()


async def test_modules_that_cannot_be_imported_are_told(tmp_path: Path) -> None:
    """EXT-32: a template without its SDK is no secret."""
    telemetry = Telemetry()
    async with opened(tmp_path, emit=telemetry, preload=("no_such_module",)) as processes:
        assert processes.kernel().template_failed == (
            "no_such_module: ModuleNotFoundError: No module named 'no_such_module'",
        )
        assert telemetry.of("worker_template_started")[0]["severity"] == "warning"


async def test_the_template_knows_nothing_of_the_node(tmp_path: Path) -> None:
    """EXT-36: its environment is its own, and its descriptors are five."""
    os.environ["WEB4_SECRET_OF_THE_NODE"] = "hidden"
    try:
        async with opened(tmp_path) as processes:
            pid = processes.template_pid
            assert set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")) == {
                b"PATH=/bin:/usr/bin",
                b"LANG=C.UTF-8",
                b"",
            }
            assert len(os.listdir(f"/proc/{pid}/task")) == 1
            links = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
            assert len([one for one in links if one.startswith("socket:")]) == 1
            assert {one for one in links if not one.startswith("socket:")} <= {
                "/dev/null",
                "/memfd:web4-slots (deleted)",
            }
    finally:
        del os.environ["WEB4_SECRET_OF_THE_NODE"]
