"""New generations of an extension under load, broken ones, pinned runs, development mode (EXT-39)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.extensions.hosting import busy, code, running, until, write_extension
from web4.extensions.errors import EnablingError, ExtensionError, ManifestError, WorkerStartError
from web4.extensions.hosting.options import HostOptions
from web4.extensions.hosting.provisional import Provisional, read_provisional

if TYPE_CHECKING:
    from pathlib import Path

    from web4.extensions.enabling.standing import EnabledExtension
    from web4.extensions.hosting.host import ExtensionHost
    from web4.extensions.outcome import CallOutcome

NAME = "acme.bench"


async def version(host: ExtensionHost, **given: Any) -> str:
    """Which version answers."""
    outcome: CallOutcome = await host.call("tool", "again", {"value": ""}, **given)
    assert outcome.code is None, outcome
    assert str(outcome.value).strip() == outcome.version
    return outcome.version


@pytest.mark.scenario("extensions#11")
async def test_a_reload_under_load_fails_no_call(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext", resources={"workers": 2})
    outcomes: list[CallOutcome] = []
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host, trio.open_nursery() as nursery:
        over = False

        async def caller() -> None:
            while not over:
                outcomes.append(await host.call("tool", "again", {"value": ""}))

        for _ in range(8):
            nursery.start_soon(caller)
        await until(lambda: len(outcomes) > 20)
        for number in range(1, 4):
            write_extension(tmp_path / "ext", version=f"1.{number}.0", resources={"workers": 2})
            assert await host.reload(NAME) == number + 1
            seen = len(outcomes)
            await until(lambda seen=seen: len(outcomes) > seen + 20)  # type: ignore[misc]
        over = True
    assert {one.code for one in outcomes} == {None}
    assert {one.version for one in outcomes} == {"1.0.0", "1.1.0", "1.2.0", "1.3.0"}
    assert all(str(one.value).strip() == one.version for one in outcomes), (
        "code of another generation answered"
    )
    versions = [one.version for one in outcomes]
    assert versions[-1] == "1.3.0"


async def test_calls_that_are_open_finish_on_the_old_generation_which_is_drained(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext")
    outcomes: list[CallOutcome] = []
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                outcomes.append(await host.call("tool", "sleep", {"seconds": 4.0}))

            nursery.start_soon(call)
            await busy(host)
            write_extension(tmp_path / "ext", version="2.0.0")
            await host.reload(NAME)
            assert outcomes == []
            assert host.health().extensions[0].older == 1
            assert await version(host) == "2.0.0"
        assert (outcomes[0].code, outcomes[0].version) == (None, "1.0.0")
        await until(lambda: host.health().extensions[0].older == 0)
        await until(lambda: host.health().workers == host.health().extensions[0].pool.free)


BROKEN = {
    "syntax": ("VERSION = = 2", WorkerStartError),
    "import": ("raise RuntimeError('broken')\n", WorkerStartError),
    "leaves": ("import os\nos._exit(3)\n", WorkerStartError),
    "hangs": ("import time\ntime.sleep(1000)\n", WorkerStartError),
    "other_tools": (code("2.0.0") + "\ndel ext._operations[('tool', 'echo')]\n", WorkerStartError),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.scenario("extensions#11")
async def test_a_broken_version_leaves_the_old_one_serving(tmp_path: Path, how: str) -> None:
    source, error = BROKEN[how]
    write_extension(tmp_path / "ext", timeouts={"startup_ms": 3_000})
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        assert await version(host) == "1.0.0"
        (tmp_path / "ext" / "bench.py").write_text(source)
        with pytest.raises(error):
            await host.reload(NAME)
        for _ in range(5):
            assert await version(host) == "1.0.0"
        health = host.health().extensions[0]
        assert health.generation == 1
        assert health.failure is not None
        await until(lambda: host.health().extensions[0].older == 0)
        write_extension(tmp_path / "ext", version="3.0.0")
        await host.reload(NAME)
        assert await version(host) == "3.0.0"
        assert host.health().extensions[0].failure is None


async def test_a_manifest_that_is_none_leaves_the_old_one_serving(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext")
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        assert await version(host) == "1.0.0"
        (tmp_path / "ext" / "web4-extension.json").write_text("{")
        with pytest.raises(ManifestError):
            await host.reload(NAME)
        assert await version(host) == "1.0.0"


async def test_what_the_registry_does_not_take_leaves_the_old_one_serving(tmp_path: Path) -> None:
    """EXT-40: the old one serves until the lane has it that it does no more."""
    directory = write_extension(tmp_path / "ext")

    class Refusing(Provisional):
        async def reloaded(self, extension: EnabledExtension, generation: int) -> None:
            assert generation == 2
            raise EnablingError("a name is taken", code="name_clash")

    registry = Refusing([read_provisional(directory)])
    async with running(directory, runtime=tmp_path / "run", registry=registry) as host:
        write_extension(directory, version="2.0.0")
        assert host.health().extensions[0].version == "1.0.0"
        with pytest.raises(ExtensionError, match="name_clash"):
            await host.reload(NAME)
        health = host.health().extensions[0]
        assert (health.version, health.generation) == ("1.0.0", 1)
        await until(lambda: host.health().extensions[0].older == 0)


async def test_a_reload_that_is_cancelled_is_none(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext", timeouts={"startup_ms": 20_000})
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        assert await version(host) == "1.0.0"
        (tmp_path / "ext" / "bench.py").write_text("import time\ntime.sleep(1000)\n")
        with trio.move_on_after(0.3) as scope:
            await host.reload(NAME)
        assert scope.cancelled_caught
        assert await version(host) == "1.0.0"
        await until(lambda: host.health().extensions[0].older == 0)


async def test_a_run_sees_one_generation_per_turn(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext")
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        assert await version(host) == "1.0.0"
        with host.pin() as turn:
            write_extension(tmp_path / "ext", version="2.0.0")
            await host.reload(NAME)
            assert await version(host) == "2.0.0"
            for _ in range(5):
                assert (await turn.call("tool", "again", {"value": ""})).version == "1.0.0"
            assert {one.version for one in turn.operations()} == {"1.0.0"}
        with host.pin() as turn:
            assert (await turn.call("tool", "again", {"value": ""})).version == "2.0.0"
        await until(lambda: host.health().extensions[0].older == 0)


async def test_calls_that_wait_go_to_the_new_generation(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext", resources={"workers": 1, "spares": 0})
    outcomes: list[CallOutcome] = []
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host, trio.open_nursery() as nursery:

        async def call(name: str, arguments: dict[str, Any]) -> None:
            outcomes.append(await host.call("tool", name, arguments))

        nursery.start_soon(call, "sleep", {"seconds": 4.0})
        await busy(host)
        nursery.start_soon(call, "again", {"value": ""})
        await until(lambda: host.health().extensions[0].pool.waiting == 1)
        write_extension(tmp_path / "ext", version="2.0.0")
        await host.reload(NAME)
        await until(lambda: len(outcomes) == 1)
        assert (outcomes[0].code, outcomes[0].version) == (None, "2.0.0")
    assert (outcomes[1].code, outcomes[1].version) == (None, "1.0.0")


async def test_in_development_files_that_change_are_loaded_by_themselves(tmp_path: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []

    def emit(kind: str, /, **fields: Any) -> None:
        events.append((kind, fields))

    directory = write_extension(tmp_path / "ext")
    async with running(
        directory, runtime=tmp_path / "run", development=True, emit=emit, options=HostOptions(watch_ms=20)
    ) as host:
        assert await version(host) == "1.0.0"
        write_extension(directory, version="2.0.0")
        await until(lambda: host.health().extensions[0].version == "2.0.0")
        assert await version(host) == "2.0.0"
        (directory / "bench.py").write_text("VERSION = = 3")
        await until(lambda: any(kind == "extension_reload_failed" for kind, _ in events))
        await trio.sleep(0.2)
        assert sum(kind == "extension_reload_failed" for kind, _ in events) == 1, "told once for each change"
        assert await version(host) == "2.0.0"
        write_extension(directory, version="4.0.0")
        await until(lambda: host.health().extensions[0].version == "4.0.0")
        assert await version(host) == "4.0.0"


async def test_what_was_not_run_before_is_run_by_a_reload(tmp_path: Path) -> None:
    directory = write_extension(tmp_path / "ext")
    registry = Provisional([read_provisional(directory)])
    async with running(runtime=tmp_path / "run", registry=registry) as host:
        with pytest.raises(EnablingError, match="not_enabled"):
            await host.ready(NAME)
        assert await host.reload(NAME) == 1
        assert await version(host) == "1.0.0"
        with pytest.raises(EnablingError, match="not_enabled"):
            await host.reload("acme.unknown")
        host.unload(NAME)
        await until(lambda: host.health().workers == 0)
