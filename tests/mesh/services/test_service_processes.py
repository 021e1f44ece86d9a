"""Services between two processes: real sessions, router, outbox, journals on disk (GRAPH-4, OUT-1 to OUT-4)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.mesh.meshes import identity_of
from tests.mesh.services.service_node import keep, serving
from web4.mesh.services.errors import ServiceError

if TYPE_CHECKING:
    from pathlib import Path

SERVER = identity_of("server").fingerprint
LONG = 60.0


async def start(directory: Path) -> trio.Process:
    command = [sys.executable, "-m", "tests.mesh.services.service_node", str(directory)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = b""
    while b"\n" not in said:
        part = await process.stdout.receive_some()
        assert part, "it ended before it listened"
        said += part
    return process


def runs(directory: Path) -> list[str]:
    found = directory / "runs"
    return found.read_text().splitlines() if found.exists() else []


@pytest.mark.scenario("graph_service_end_to_end")
async def test_graph_service_end_to_end_in_two_processes(tmp_path: Path) -> None:
    """The handler runs in the other process, once per id, though that process is killed while it runs."""
    outcomes: list[Any] = []
    with trio.fail_after(LONG):
        process = await start(tmp_path)
        async with (
            serving("caller", "server", tmp_path) as (services, endpoint, cip),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(keep, endpoint, cip, tmp_path, "server")
            invoke = partial(services.invoke, SERVER, deadline_seconds=LONG)
            result = await invoke("sum", "1.0", {"a": 40, "b": 2})
            assert result["sum"] == 42
            assert result["process"] == process.pid != os.getpid()
            with pytest.raises(ServiceError) as caught:
                await invoke("sum", "2.0", {"a": 40, "b": 2})
            assert (caught.value.code, caught.value.reason) == ("refused", "version")

            async def hang() -> None:
                try:
                    outcomes.append(await invoke("hang", "1.0", {}))
                except ServiceError as error:
                    outcomes.append((error.code, error.reason))

            nursery.start_soon(hang)
            while len(runs(tmp_path)) < 2:  # noqa: ASYNC110 - another process writes it
                await trio.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            process = await start(tmp_path)
            while not outcomes:  # noqa: ASYNC110 - another process answers
                await trio.sleep(0.01)
            assert outcomes == [("failed", "crashed")]
            again = await invoke("sum", "1.0", {"a": 1, "b": 2})
            assert (again["sum"], again["process"]) == (3, process.pid)
            nursery.cancel_scope.cancel()
        process.kill()
        await process.wait()
    names = [line.split()[0] for line in runs(tmp_path)]
    assert names == ["sum", "hang", "sum"]
    assert len(set(runs(tmp_path))) == 3
