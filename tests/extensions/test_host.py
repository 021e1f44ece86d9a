"""The path of a call through the host, with real workers of a real extension."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.extensions.hosting import busy, hosted, running, until, write_extension
from tests.extensions.processes.arrange import settled
from web4.extensions.errors import CallError, EnablingError, ManifestError
from web4.extensions.hosting.options import HostOptions
from web4.extensions.processes import open_processes
from web4.testing import ManualClock
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from pathlib import Path

    from web4.extensions.conversation.call import ProgressUpdate
    from web4.extensions.hosting.host import ExtensionHost
    from web4.extensions.outcome import CallOutcome

HANGING = ["sleep", "spin", "stubborn", "block"]
ARGUMENTS: dict[str, dict[str, Any]] = {"sleep": {"seconds": 60}, "spin": {"seconds": 60}}


async def echo(host: ExtensionHost, **given: Any) -> CallOutcome:
    return await host.call("tool", "echo", {"value": "here"}, **given)


# --- names and arguments ------------------------------------------------------------------------------------


async def test_a_tool_goes_by_its_full_name_and_by_a_short_one_while_that_is_unambiguous(
    tmp_path: Path,
) -> None:
    """EXT-8."""
    write_extension(tmp_path / "one")
    write_extension(tmp_path / "other", HOOKED, name="acme.other", entry={"python": "bench:other"})
    async with running(tmp_path / "one", tmp_path / "other", runtime=tmp_path / "run") as host:
        for name in ("acme.bench.echo", "acme.other.echo", "again"):
            assert host.operation("tool", name).full_name.endswith(name)
        with pytest.raises(CallError, match=r"acme\.bench\.echo, acme\.other\.echo") as caught:
            await echo(host)
        assert caught.value.code == "unknown_operation"
        outcome = await host.call("tool", "acme.other.echo", {"value": "x"})
        assert (outcome.value, outcome.extension) == ("other x", "acme.other")
        host.unload("acme.other")
        assert (await echo(host)).value == "here", "unambiguous again"


HOOKED = '''
from web4.ext import Extension

other = ext = Extension("acme.other")


@other.tool()
def echo(value: str) -> str:
    """Do echo."""
    return f"other {value}"
'''


async def test_what_there_is_not_is_not_called(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext")
    unknown: list[tuple[Any, str]] = [
        ("tool", "nothing"),
        ("command", "echo"),
        ("tool", "acme.bench."),
        ("tool", "\n" * 999),
        ("nothing", "echo"),
    ]
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        for kind, name in unknown:
            with pytest.raises(CallError) as caught:
                await host.call(kind, name, {})
            assert caught.value.code == "unknown_operation"
            assert len(str(caught.value)) < 1_000


MISFITS: list[tuple[Any, str, str, str]] = [
    ({"value": 5}, "/value", "string", "5"),
    ({"value": ["secret"]}, "/value", "string", "an array of 1 items"),
    ({}, "/", "the property value", "an object of 0 properties"),
    ({"value": "x", "more": "secret"}, "/", "no other properties", "more"),
    ([], "/", "object", "an array of 0 items"),
    ({"value": b"secret"}, "/", "JSON values", "what is none"),
    (None, "/", "object", "null"),
]


async def test_arguments_that_do_not_fit_reach_no_worker(tmp_path: Path) -> None:
    """The error names the JSON pointer, what was expected and what came, and repeats no contents."""
    write_extension(tmp_path / "ext")
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        for arguments, pointer, expected, found in MISFITS:
            with pytest.raises(CallError) as caught:
                await host.call("tool", "echo", arguments)
            assert (caught.value.code, caught.value.field) == ("arguments", pointer)
            assert f"expected {expected}, got {found}" in str(caught.value)
            assert "secret" not in str(caught.value)
        assert host.metrics.of("acme.bench").outcomes == {}


async def test_what_can_be_called_is_listed(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext", tools={"echo": {"idempotent": True, "timeout_ms": 123}})
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        operations = {one.full_name: one for one in host.operations()}
        assert operations["acme.bench.echo"].idempotent
        assert operations["acme.bench.echo"].timeout_ms == 123
        assert operations["acme.bench.add"].kind == "command"


# --- calls --------------------------------------------------------------------------------------------------


async def test_a_call_is_answered_with_all_that_was_observed(tmp_path: Path) -> None:
    """EXT-26."""
    write_extension(tmp_path / "ext")
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        outcome = await host.call("tool", "echo", {"value": "x" * 1024}, call_id="mine")
        assert (outcome.outcome, outcome.code, outcome.value) == ("ok", None, "x" * 1024)
        assert (outcome.call_id, outcome.operation, outcome.sandbox) == ("mine", "tool:echo", "standard")
        assert outcome.worker_id is not None
        assert outcome.elapsed_ms is not None
        assert outcome.queue_ms is not None
        assert (await host.call("command", "add", {"one": 1, "other": 2})).value == {"sum": 3}
        figures = host.health().extensions[0].metrics
        assert figures["outcomes"] == {"ok": 2}


@pytest.mark.parametrize("name", HANGING)
@pytest.mark.scenario("extensions#2")
async def test_what_hangs_is_killed_at_its_limit_and_the_next_call_is_served(
    tmp_path: Path, name: str
) -> None:
    write_extension(tmp_path / "ext", resources={"workers": 1})
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        first = await host.call("tool", "who", {})
        outcome = await host.call("tool", name, ARGUMENTS.get(name, {}), timeout_ms=100)
        assert (outcome.outcome, outcome.code, outcome.signal) == (
            "timeout",
            "extension_timeout",
            signal.SIGKILL,
        )
        assert outcome.timeout_ms == 100
        assert outcome.elapsed_ms is not None
        assert outcome.elapsed_ms >= 100
        assert outcome.peak_memory_bytes is not None
        assert outcome.cpu_ms is not None
        assert outcome.worker_id == first.worker_id
        assert (await echo(host)).value == "here"
        assert host.health().extensions[0].metrics["kills"] == {"extension_timeout": 1}


async def test_a_limit_may_be_shorter_than_the_manifest_s_and_not_longer(tmp_path: Path) -> None:
    """EXT-20."""
    write_extension(tmp_path / "ext", tools={"sleep": {"timeout_ms": 100}})
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        outcome = await host.call("tool", "sleep", {"seconds": 60}, timeout_ms=50_000)
        assert (outcome.code, outcome.timeout_ms) == ("extension_timeout", 100)
        for times in ({"timeout_ms": 0}, {"timeout_ms": -1}, {"remaining_ms": 0}):
            with pytest.raises(ValueError, match="positive"):
                await echo(host, **times)


async def test_what_is_left_of_a_run_ends_a_call_that_may_last_longer(tmp_path: Path) -> None:
    """EXT-20."""
    write_extension(tmp_path / "ext")
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        await host.ready("acme.bench")
        outcome = await host.call("tool", "sleep", {"seconds": 60}, remaining_ms=100)
        assert outcome.code == "extension_timeout"


async def cancelled_at_work(host: ExtensionHost, name: str) -> None:
    """Call a tool, and give the call up once a worker has it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(host.call, "tool", name, {}))
        await busy(host)
        nursery.cancel_scope.cancel()


async def test_a_cancelled_caller_is_cancelled_and_its_worker_serves_on_if_it_obeyed(tmp_path: Path) -> None:
    """EXT-19."""
    write_extension(tmp_path / "ext", resources={"workers": 1, "spares": 0}, timeouts={"cancel_ms": 2_000})
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        before = (await host.call("tool", "who", {})).value
        await cancelled_at_work(host, "obey")
        assert (await host.call("tool", "who", {})).value == before
        await cancelled_at_work(host, "stubborn")
        assert (await host.call("tool", "who", {})).value != before
        counted = host.metrics.of("acme.bench").summary()
        assert counted["cancelled_running"] == 2, "EXT-40: they have no outcome that anybody got"


async def test_what_a_callback_raises_comes_out_and_its_worker_is_not_used_again(tmp_path: Path) -> None:
    source = (
        HOOKED.replace("acme.other", "acme.bench")
        .replace("def echo(value: str) -> str:", "def echo(ctx: Context, value: str) -> str:")
        .replace("import Extension", "import Context, Extension")
        .replace("    return f", "    ctx.progress('half', fraction=0.5)\n    return f")
    )
    write_extension(tmp_path / "ext", source)

    def refuse(_update: ProgressUpdate) -> None:
        raise ZeroDivisionError

    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        with pytest.raises(ZeroDivisionError):
            await echo(host, on_progress=refuse)
        seen: list[ProgressUpdate] = []
        assert (await echo(host, on_progress=seen.append)).value == "other here"
        assert [one.message for one in seen] == ["half"]


async def test_sessions_do_not_share_a_worker(tmp_path: Path) -> None:
    """EXT-37."""
    write_extension(tmp_path / "ext", reuse="session")
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        seen: dict[str, set[int]] = {}
        for _ in range(3):
            for session in ("a", "b", "c"):
                outcome = await host.call("tool", "who", {}, context=CallContext(session=session))
                seen.setdefault(session, set()).add(outcome.value)
        assert {session: len(workers) for session, workers in seen.items()} == {"a": 1, "b": 1, "c": 1}
        assert len(set.union(*seen.values())) == 3


@pytest.mark.parametrize(("tool", "number"), [("hoard", 40), ("leak", 12)])
async def test_a_worker_that_has_grown_serves_no_other_call(tmp_path: Path, tool: str, number: int) -> None:
    """EXT-25."""
    write_extension(tmp_path / "ext", resources={"workers": 1, "memory_mb": 64})
    argument = {"mebibytes": number} if tool == "hoard" else {"number": number}
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        before = await host.call("tool", tool, argument)
        assert before.code is None
        assert (await echo(host)).worker_id != before.worker_id
        kills = host.health().extensions[0].metrics["kills"]
        assert set(kills) <= {"memory_grown", "descriptors_grown"}


async def test_a_lost_call_is_made_again_only_if_that_is_harmless(tmp_path: Path) -> None:
    """EXT-23: killed under its caller by the node itself, which is what `worker_lost` is."""
    write_extension(tmp_path / "ext", tools={"sleep": {"idempotent": True}})
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        for key, tries in (("key", 2), (None, 1)):
            outcomes: list[CallOutcome] = []

            async def call(outcomes: list[CallOutcome] = outcomes, key: str | None = key) -> None:
                outcomes.append(await host.call("tool", "sleep", {"seconds": 1.0}, idempotency_key=key))

            await host.ready("acme.bench")
            before = host.metrics.of("acme.bench").retries
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await busy(host)
                members = host._seats.seat("acme.bench").current.pool._staff.members
                next(one for one in members if one.busy).worker.kill("memory")
            assert outcomes[0].code == (None if tries == 2 else "worker_lost")
            assert host.metrics.of("acme.bench").retries - before == tries - 1


# --- quarantine ---------------------------------------------------------------------------------------------


async def test_three_crashes_open_the_quarantine_and_two_good_trials_close_it(tmp_path: Path) -> None:
    """EXT-38."""
    write_extension(tmp_path / "ext")
    clock = ManualClock()
    async with running(tmp_path / "ext", runtime=tmp_path / "run", clock=clock) as host:
        for _ in range(3):
            assert (await host.call("tool", "leave", {"status": 3})).code == "extension_crashed"
        outcome = await echo(host)
        assert (outcome.outcome, outcome.code, outcome.worker_id) == (
            "refused",
            "extension_quarantined",
            None,
        )
        health = host.health().extensions[0]
        assert (health.quarantine, health.retry_after_ms) == ("open", 30_000)
        clock.advance(30_000)
        outcomes: list[CallOutcome] = []

        async def call(name: str) -> None:
            outcomes.append(await host.call("tool", name, {}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "who")
            nursery.start_soon(call, "who")
        assert sorted(str(one.code) for one in outcomes) == ["None", "extension_quarantined"], "one at a time"
        assert (await echo(host)).code is None
        assert host.health().extensions[0].quarantine == "closed"


async def test_a_cancelled_trial_call_does_not_keep_the_next_one_out(tmp_path: Path) -> None:
    """EXT-38."""
    write_extension(tmp_path / "ext")
    clock = ManualClock()
    async with running(tmp_path / "ext", runtime=tmp_path / "run", clock=clock) as host:
        for _ in range(3):
            await host.call("tool", "leave", {"status": 3})
        clock.advance(30_000)
        await cancelled_at_work(host, "obey")
        assert (await echo(host)).code is None


async def test_those_that_wait_when_it_opens_are_refused_at_once(tmp_path: Path) -> None:
    """EXT-38."""
    write_extension(tmp_path / "ext", resources={"workers": 1, "spares": 0}, timeouts={"queue_ms": 50_000})
    outcomes: list[CallOutcome] = []
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:

        async def call() -> None:
            outcomes.append(await host.call("tool", "leave", {"status": 3}))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(call)
    codes = [one.code for one in outcomes]
    assert codes.count("extension_crashed") == 3
    assert codes.count("extension_quarantined") == 7


# --- what was enabled is what runs --------------------------------------------------------------------------


async def test_changed_code_is_never_started(tmp_path: Path) -> None:
    """EXT-7: those that run are what was enabled; no other worker is started, and the file is named."""
    directory = write_extension(tmp_path / "ext", resources={"workers": 1, "spares": 0})
    async with running(directory, runtime=tmp_path / "run") as host:
        assert (await echo(host)).code is None
        (directory / "bench.py").write_text((directory / "bench.py").read_text() + "\n# one byte more\n")
        assert (await echo(host)).code is None, "the worker that runs is what was enabled"
        assert (await host.call("tool", "leave", {"status": 1})).code == "extension_crashed"
        outcome = await echo(host)
        assert (outcome.outcome, outcome.code) == ("refused", "extension_changed")
        assert "bench.py" in str(outcome.reason)


async def test_code_that_changes_while_it_is_imported_serves_no_call(tmp_path: Path) -> None:
    """EXT-7."""
    slow = HOOKED.replace("acme.other", "acme.bench") + "\nimport time, os\ntime.sleep(0.5)\n"
    directory = write_extension(tmp_path / "ext", slow, resources={"spares": 0})
    async with running(directory, runtime=tmp_path / "run") as host, trio.open_nursery() as nursery:

        async def change() -> None:
            await until(lambda: host.health().workers > 0)
            (directory / "more.py").write_text("")

        nursery.start_soon(change)
        outcome = await echo(host)
        assert outcome.code == "extension_changed"
        assert "more.py" in str(outcome.reason)


# --- ends ---------------------------------------------------------------------------------------------------


async def test_a_host_that_closes_cancels_what_is_open_and_leaves_no_worker(tmp_path: Path) -> None:
    """EXT-19."""
    write_extension(tmp_path / "ext", timeouts={"cancel_ms": 100})
    outcomes: list[CallOutcome] = []
    async with open_processes(runtime=tmp_path / "run") as processes, trio.open_nursery() as nursery:
        async with hosted(processes, tmp_path / "ext") as host:

            async def call(name: str) -> None:
                outcomes.append(await host.call("tool", name, {}))

            for name in ("obey", "stubborn"):
                nursery.start_soon(call, name)
            await busy(host, 2)
        await settled(processes)
        with pytest.raises(CallError) as caught:
            await echo(host)
        assert caught.value.code == "host_closed"
    assert [one.code for one in outcomes] == ["extension_cancelled"] * 2


async def test_a_cancelled_host_leaves_no_worker(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext")
    async with open_processes(runtime=tmp_path / "run") as processes:
        with trio.CancelScope() as scope:
            async with hosted(processes, tmp_path / "ext") as host:
                await host.ready("acme.bench")
                scope.cancel()
                await trio.sleep_forever()
        await settled(processes)


async def test_what_the_block_raises_comes_out_as_it_was(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext")
    with pytest.raises(KeyError, match="own"):  # noqa: PT012
        async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
            await host.ready("acme.bench")
            raise KeyError("own")


async def test_two_extensions_of_one_name_are_not_run(tmp_path: Path) -> None:
    write_extension(tmp_path / "one")
    write_extension(tmp_path / "two")
    with pytest.raises(EnablingError, match="name_twice"):
        async with running(tmp_path / "one", tmp_path / "two", runtime=tmp_path / "run"):
            pass


async def test_a_schema_that_is_none_is_told_before_anything_runs(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext", tools={"echo": {"input_schema": {"type": "object", "properties": 5}}})
    with pytest.raises(ManifestError, match="input_schema"):
        async with running(tmp_path / "ext", runtime=tmp_path / "run"):
            pass


async def test_a_mistake_of_ours_in_one_pool_costs_the_host_nothing(tmp_path: Path) -> None:
    """The pool is set up anew; it is told, and the others never notice."""
    write_extension(tmp_path / "one")
    write_extension(tmp_path / "other", HOOKED, name="acme.other", entry={"python": "bench:other"})
    events: list[tuple[str, dict[str, Any]]] = []

    def emit(kind: str, /, **fields: Any) -> None:
        events.append((kind, fields))

    async with running(
        tmp_path / "one", tmp_path / "other", runtime=tmp_path / "run", emit=emit, options=HostOptions()
    ) as host:
        await host.ready("acme.bench")

        def mistake(*_: Any) -> None:
            raise ZeroDivisionError

        pool = host._seats.seat("acme.bench").current.pool
        pool._match = mistake  # type: ignore[method-assign]
        pool._wake_at(0)
        await until(lambda: host._seats.seat("acme.bench").current.pool is not pool)
        assert (await host.call("tool", "acme.other.echo", {"value": "x"})).code is None
        assert (await host.call("tool", "acme.bench.echo", {"value": "x"})).code is None
    told = [fields for kind, fields in events if kind == "extension_pool_failed"]
    assert [(one["extension"], one["error"]) for one in told] == [("acme.bench", "ExceptionGroup")]


async def test_a_host_closes_though_a_pool_has_just_failed_or_a_start_is_failing(tmp_path: Path) -> None:
    options = HostOptions(close_ms=10**9)  # were it to hang, the test would
    for number in range(4):
        directory = write_extension(tmp_path / f"ext{number}")
        async with running(directory, runtime=tmp_path / "run", options=options) as host:
            assert (await echo(host)).code is None
            if number % 2:
                (directory / "more.py").write_text("")  # the spare that is starting must not
                continue

            def mistake(*_: Any) -> None:
                raise ZeroDivisionError

            pool = host._seats.seat("acme.bench").current.pool
            pool._match = mistake  # type: ignore[method-assign]
            pool._wake_at(0)
            await trio.testing.wait_all_tasks_blocked()
