"""Starting a worker: what it gets, what it does not, and how it fails (EXT-14, EXT-35, EXT-36)."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from tests.extensions.processes.arrange import (
    Telemetry,
    children,
    complaint,
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
from web4.extensions.errors import WorkerStartError
from web4.extensions.processes import WorkerProcess
from web4.worker.sandbox import libc
from web4.worker.starting import OOM_SCORE


@pytest.mark.scenario("extensions#14")
@pytest.mark.parametrize("processes_limit", [1, 4])
async def test_what_a_worker_sees_is_its_own(processes_limit: int, tmp_path: Path) -> None:
    """Scenario 14, EXT-36: descriptors, environment, random state, directory; nothing of a sibling."""
    os.environ["WEB4_SECRET_OF_THE_NODE"] = "hidden"
    try:
        async with opened(tmp_path) as processes:
            seen = []
            workers = []
            for number in range(3):
                worker = await processes.start(
                    spec("report", processes=processes_limit, environment={"GIVEN": str(number)})
                )
                seen.append(json.loads(await read(worker)))
                workers.append(worker)
            for number, (worker, one) in enumerate(zip(workers, seen, strict=True)):
                assert one["descriptors"][:4] == [0, 1, 2, 3]
                assert len(one["descriptors"]) == 5  # and the one that lists them
                assert one["environment"] == {
                    "GIVEN": str(number),
                    "HOME": worker.tmp,
                    "LANG": "C.UTF-8",
                    "PATH": "/usr/local/bin:/usr/bin:/bin",
                    "PYTHONPYCACHEPREFIX": f"{worker.tmp}/pycache",
                    "TMPDIR": worker.tmp,
                    "WEB4_WORKER_FD": "3",
                }
                assert one["tmp"] == worker.tmp
                assert one["tmp_entries"] == []
                assert one["stdin"] == ""
                assert one["session"]
                assert one["threads"] == 1
                assert one["affinity"]
                environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
                assert b"WEB4_SECRET" not in environment
            assert len({one["random"] for one in seen}) == 3
            assert len({worker.tmp for worker in workers}) == 3
    finally:
        del os.environ["WEB4_SECRET_OF_THE_NODE"]


@pytest.mark.parametrize("processes_limit", [1, 4])
async def test_workers_go_before_the_node(processes_limit: int, tmp_path: Path) -> None:
    """When the machine's memory is out; the sandbox keeps them from taking that back."""
    async with opened(tmp_path) as processes:
        worker = await processes.start(spec(processes=processes_limit))
        assert int(Path(f"/proc/{worker.pid}/oom_score_adj").read_text()) >= OOM_SCORE
        worker.close()


async def test_a_program_gets_the_socket_and_nothing_else(tmp_path: Path) -> None:
    """EXT-14: the number of the descriptor is in the environment, standard input is empty."""
    script = """
        echo $WEB4_WORKER_FD >&3
        for n in 0 1 2 3 4 5 6 7 8 9; do
            if eval "true <&$n" 2>/dev/null; then echo $n >&3; fi
        done
        read line || echo done >&3
        exit 5
    """
    async with opened(tmp_path) as processes:
        worker = await processes.start(spec(command=("/bin/sh", "-c", script)))
        said = b""
        while part := await read(worker):
            said += part
        assert said.split() == [b"3", b"0", b"1", b"2", b"3", b"done"], complaint(worker)
        ended = await worker.wait()
        assert (ended.status, ended.signal, ended.reason) == (5, None, "exited")


@pytest.mark.parametrize("processes_limit", [1, 4])
async def test_a_program_that_does_not_execute(processes_limit: int, tmp_path: Path) -> None:
    """EXT-36: an execution that fails is told, with why, though the sandbox was complete before."""
    script = tmp_path / "broken"
    script.write_bytes(b"\x7fELF and no more")
    script.chmod(0o755)
    async with opened(tmp_path / "run") as processes:
        before = descriptors()
        wanted = spec(command=("broken",), processes=processes_limit, directory=tmp_path)
        with pytest.raises(WorkerStartError, match=r"broken: OSError: .*format") as raised:
            await processes.start(wanted)
        assert raised.value.code == "extension_start_failed"
        await settled(processes)
        assert descriptors() == before
        assert not zombies()


async def test_a_protection_that_is_missing(tmp_path: Path) -> None:
    """EXT-32: the code says which kind of failure it is."""
    async with opened(tmp_path) as processes:
        with pytest.raises(WorkerStartError) as raised:
            await processes.start(spec(required=("landlock",), without=("landlock",)))
        assert raised.value.code == "extension_unprotected"
        await settled(processes)


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as processes:
        with pytest.raises(WorkerStartError, match="FileNotFoundError"):
            await processes.start(spec(directory=tmp_path / "missing"))


async def test_an_environment_that_is_too_large(tmp_path: Path) -> None:
    async with opened(tmp_path) as processes:
        before = descriptors()
        with pytest.raises(WorkerStartError, match="bytes of environment"):
            await processes.start(spec(environment={"LARGE": "x" * 200_000}))
        assert descriptors() == before
        assert not list(tmp_path.glob("*/tmp/*"))


@pytest.mark.parametrize(
    ("victim", "status", "number"), [("leave", 7, None), ("fault", None, signal.SIGSEGV)]
)
@pytest.mark.parametrize("processes_limit", [1, 4])
async def test_how_a_worker_ended_by_itself(
    victim: str, status: int | None, number: int | None, processes_limit: int, tmp_path: Path
) -> None:
    """EXT-28: exit status and signal come through a warden too, and what it used."""
    telemetry = Telemetry()
    async with opened(tmp_path, emit=telemetry) as processes:
        worker = await processes.start(spec(victim, processes=processes_limit))
        ended = await worker.wait()
        assert (ended.status, ended.signal) == (status, number)
        assert ended.reason == ("exited" if number is None else "signalled")
        assert ended.cpu_ms is not None
        assert ended.cpu_ms > 0
        assert ended.peak_memory_bytes is not None
        assert ended.peak_memory_bytes > 100_000
        assert worker.usage() == (None, None, None, None)
        worker.kill("late")
        assert worker.exit == ended
    (started,) = telemetry.of("worker_started")
    (exited,) = telemetry.of("worker_exited")
    assert started["worker_id"] == exited["worker_id"] == worker.worker_id
    assert started["pid"] == worker.pid
    assert started["warm"]
    assert started["protections"]["level"] == "standard"
    assert (exited["exit_status"], exited["signal"]) == (status, number)


@pytest.mark.parametrize("command", [None, ("/bin/true",)])
async def test_a_worker_that_ends_before_its_report_is_read(
    command: tuple[str, ...] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EXT-40: that it started is told, and then that it ended."""
    read_report = WorkerProcess.next_report

    async def late(worker: WorkerProcess) -> Any:
        await worker.wait()
        return await read_report(worker)

    monkeypatch.setattr(WorkerProcess, "next_report", late)
    telemetry = Telemetry()
    async with opened(tmp_path, emit=telemetry) as processes:
        worker = await processes.start(spec("leave", command=command))
        assert (await worker.wait()).reason == "exited"
    told = [kind for kind, fields in telemetry.events if fields.get("worker_id") == worker.worker_id]
    assert told == ["worker_started", "worker_exited"]


async def test_a_hundred_starts_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as processes:
        before = descriptors()
        workers = []

        async def one() -> None:
            worker = await processes.start(spec("echo"))
            workers.append(worker)
            worker.socket.send(worker.worker_id.encode())
            assert await read(worker) == worker.worker_id.encode()

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(one)
        assert len({worker.pid for worker in workers}) == 100
        for worker in workers:
            worker.kill("enough")
        for worker in workers:
            assert (await worker.wait()).signal == 9
            assert not survivors(worker)
            worker.close()
        await settled(processes)
        assert (
            not descriptors().items() - before.items()
        )  # of what opened all this, something may have been closed
        assert not zombies()


@pytest.mark.parametrize("processes_limit", [1, 4])
async def test_a_start_that_is_cancelled_leaves_nothing(processes_limit: int, tmp_path: Path) -> None:
    """A half-started worker is killed, wherever its start was."""
    async with opened(tmp_path) as processes:
        before, children_before = descriptors(), children()
        cancelled = 0
        for step in range(40):
            with trio.move_on_after(step * 0.0005) as scope:
                worker = await processes.start(spec(processes=processes_limit))
                worker.close()
            cancelled += scope.cancelled_caught
        await settled(processes)
        assert cancelled
        assert descriptors() == before
        assert children() == children_before
        assert not list(tmp_path.glob("*/tmp/*"))


async def test_a_worker_that_is_killed_while_it_starts(tmp_path: Path) -> None:
    """It is a start that failed, not a hang."""
    async with opened(tmp_path) as processes:
        template = processes.template_pid
        assert template is not None
        failures = 0

        async def kill_all() -> None:
            while True:
                for pid in children() - {template}:
                    os.kill(pid, signal.SIGKILL)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_all)
            for _ in range(5):
                try:
                    worker = await processes.start(spec())
                except WorkerStartError as error:
                    failures += "signal 9" in str(error)
                else:
                    await worker.wait()
                    worker.close()
            nursery.cancel_scope.cancel()
        assert failures
        await settled(processes)
        assert not zombies()


async def test_nothing_is_started_behind_the_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as processes:
        worker = await processes.start(spec("spin"))
        await underway(worker)
    assert worker.exit is not None
    assert worker.exit.reason == "closed"
    with pytest.raises(WorkerStartError, match="leaving"):
        await processes.start(spec())
    assert [one.name for one in tmp_path.iterdir()] == ["lock"]


async def test_the_block_raises_what_its_body_raised(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="own"):  # noqa: PT012 - the block is what is tested
        async with opened(tmp_path) as processes:
            await processes.start(spec("spin"))
            raise KeyError("own")
    assert not zombies()
    with trio.move_on_after(0.3) as scope:
        async with opened(tmp_path) as processes:
            await processes.start(spec("spin"))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [one.name for one in tmp_path.iterdir()] == ["lock"]


async def test_a_machine_that_starts_no_workers_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EXT-32: it opens, for the rest of the node, and every start tells why not."""
    monkeypatch.setattr(libc, "MACHINE", "")
    telemetry = Telemetry()
    before = children()
    async with opened(tmp_path, emit=telemetry) as processes:
        with pytest.raises(WorkerStartError, match="x86_64 and aarch64"):
            await processes.start(spec())
        assert "x86_64" in (processes.kernel().refusal or "")
        assert children() == before
    assert telemetry.of("worker_template_exited")
