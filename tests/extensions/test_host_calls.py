"""What a caller may do to a call on its way, and what its envelope says then (EXT-3, EXT-20, EXT-26)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.extensions.hosting import busy, running, until, write_extension
from web4.extensions.errors import CallError

if TYPE_CHECKING:
    from pathlib import Path

    from web4.extensions.hosting.host import ExtensionHost
    from web4.extensions.outcome import CallOutcome


async def _keep(
    into: list[CallOutcome], host: ExtensionHost, name: str, arguments: Any, **given: Any
) -> None:
    into.append(await host.call("tool", name, arguments, **given))


def _waiting(host: ExtensionHost, number: int = 1) -> bool:
    return host.health().extensions[0].pool.waiting == number


async def test_arguments_that_change_while_a_call_waits_are_sent_as_they_were_checked(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext", resources={"workers": 1})
    arguments: dict[str, Any] = {"value": "as checked"}
    outcomes: list[CallOutcome] = []
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host, trio.open_nursery() as nursery:
        nursery.start_soon(_keep, [], host, "sleep", {"seconds": 1.0})
        await busy(host)
        nursery.start_soon(_keep, outcomes, host, "echo", arguments)
        await until(lambda: _waiting(host))
        arguments["value"] = ["not", "a", "text"]
        await until(lambda: bool(outcomes))
    assert outcomes[0].value == "as checked"
    assert outcomes[0].queue_ms


async def test_what_is_no_json_is_no_argument(tmp_path: Path) -> None:
    """EXT-14: no worker is sent a timestamp, nor what its own language could take for something else."""
    source = '''
from typing import Any
from web4.ext import Extension

ext = Extension("acme.bench")

@ext.command()
def show(value: Any) -> dict[str, str]:
    """Do show."""
    return {"shown": repr(value)}
'''
    shown = {"name": "show", "description": "Do show."}  # without a schema, nothing else stands in the way
    write_extension(tmp_path / "ext", source, tools={}, commands=[shown])
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    odd = (datetime(2030, 1, 1, tzinfo=UTC), float("nan"), float("inf"), {1: 2}, {1, 2}, [[object()]], deep)
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        for argument in odd:
            with pytest.raises(CallError, match="cannot be an argument") as caught:
                await host.call("command", "show", {"value": argument})
            assert caught.value.code == "arguments"
        for fine in (2**64 - 1, -(2**63), 0.5, b"bytes", (1, None), "\U0001f9e1", {"a": [True]}):
            assert (await host.call("command", "show", {"value": fine})).outcome == "ok"
        for much in (2**64, "\ud800", "x" * (4 << 20)):
            outcome = await host.call("command", "show", {"value": much})
            assert (outcome.outcome, outcome.side_effects) == ("refused", False)
        assert host.health().extensions[0].quarantine == "closed"


async def test_an_id_that_was_given_before_is_given_again(tmp_path: Path) -> None:
    write_extension(tmp_path / "ext", resources={"workers": 1})
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        outcomes = [await host.call("tool", "echo", {"value": str(n)}, call_id="one") for n in range(3)]
    assert [(one.call_id, one.value) for one in outcomes] == [("one", "0"), ("one", "1"), ("one", "2")]
    assert len({one.worker_id for one in outcomes}) == 1


SAID_TWICE = '''
import os
from web4.ext import Context, Extension
from web4.worker.frames import Result, encode

ext = Extension("acme.bench")

@ext.tool()
def twice(ctx: Context) -> int:
    """Answer, and answer again."""
    os.write(int(os.environ["WEB4_WORKER_FD"]), bytes(encode(Result(id=ctx.call_id, value=1))))
    return 2
'''


async def test_what_is_said_after_the_answer_is_counted(tmp_path: Path) -> None:
    """EXT-3, EXT-40: the first answer holds; the frame behind it is discarded, its worker not used again."""
    write_extension(tmp_path / "ext", SAID_TWICE, resources={"workers": 1})
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        outcomes = [await host.call("tool", "twice", {}) for _ in range(3)]
        counted = host.metrics.of("acme.bench")
    assert [one.value for one in outcomes] == [1, 1, 1]
    assert len({one.worker_id for one in outcomes}) > 1
    assert counted.discarded_frames >= 2


async def test_the_wait_before_a_reload_counts(tmp_path: Path) -> None:
    """EXT-20, EXT-39: a call that moves to another generation has waited, and has less of its run left."""
    write_extension(tmp_path / "ext", resources={"workers": 1})
    outcomes: list[CallOutcome] = []
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host, trio.open_nursery() as nursery:
        await host.ready("acme.bench")
        nursery.start_soon(_keep, [], host, "sleep", {"seconds": 30})
        await busy(host)
        began = trio.current_time()
        nursery.start_soon(_keep, outcomes, host, "echo", {"value": "x"})
        await until(lambda: _waiting(host))
        await host.reload("acme.bench")
        moved = trio.current_time()
        await until(lambda: bool(outcomes))
        nursery.cancel_scope.cancel()
    assert outcomes[0].value == "x"
    assert (outcomes[0].queue_ms or 0) >= (moved - began) * 1000 * 0.9


async def test_a_call_whose_turn_comes_as_its_extension_goes_is_not_made(tmp_path: Path) -> None:
    """EXT-7: what is disabled runs no call that had not begun."""
    write_extension(tmp_path / "ext", resources={"workers": 1, "spares": 0})
    outcomes: list[CallOutcome] = []
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host, trio.open_nursery() as nursery:
        await host.ready("acme.bench")
        nursery.start_soon(_keep, [], host, "sleep", {"seconds": 1.0})
        await busy(host)
        nursery.start_soon(_keep, outcomes, host, "sleep", {"seconds": 30})
        await until(lambda: _waiting(host))
        pool = host._seats.seat("acme.bench").current.pool
        given = pool._give_back

        def give_back(*args: Any) -> None:
            given(*args)  # hands the worker to the one that waits
            if not outcomes:
                host.unload("acme.bench")

        pool._give_back = give_back  # type: ignore[assignment,method-assign]
        await until(lambda: bool(outcomes))
    assert outcomes[0].code == "extension_cancelled"
    assert outcomes[0].worker_id is None
    assert outcomes[0].side_effects is False
