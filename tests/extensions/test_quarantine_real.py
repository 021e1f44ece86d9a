"""Quarantine of a real extension on a real lane: three crashes, a restart, a trial call, a human (EXT-38)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.extensions.hosting import write_extension
from web4.ext.hooks import TextInput, ToolCall
from web4.extensions.enabling.enabling import EnablingRules, open_enabling
from web4.extensions.enabling.server_lane import extensions_state
from web4.extensions.hosting.host import open_extension_host
from web4.extensions.manifests.grants import NodePaths
from web4.extensions.processes import open_processes
from web4.extensions.quarantine import FIRST_MS
from web4.foundation.clock import SystemClock
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.lane import SERVER
from web4.journal.opening import open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from web4.extensions.hooks.hook_answers import HookVerdict
    from web4.extensions.hosting.host import ExtensionHost
    from web4.extensions.outcome import CallOutcome

NAME = "acme.fragile"
SOURCE = '''
import os, signal
from web4.ext import Allow, Context, Extension, TextInput, ToolCall

ext = Extension("acme.fragile")

@ext.tool
def work(crash: bool) -> str:
    """Work, or die."""
    if crash:
        os.kill(os.getpid(), signal.SIGSEGV)
    return "done"

@ext.command
def ask() -> dict[str, int]:
    """Answer."""
    return {"n": 1}

@ext.hook("tool_call")
def guard(ctx: Context, call: ToolCall) -> Allow:
    return Allow()

@ext.hook("input")
def look(ctx: Context, asked: TextInput) -> None:
    return None
'''


class Hands(SystemClock):
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def wall_ms(self) -> int:
        return super().wall_ms() + self.ahead_ms


class Node:
    """A node on one directory, started as often as a test wants."""

    def __init__(self, base: Path) -> None:
        self.clock = Hands()
        self._base = base
        self._data = base / "data"
        self._data.mkdir()
        self._rules = EnablingRules(node=NodePaths(data=str(self._data)))

    @asynccontextmanager
    async def up(self, *enable: Path) -> AsyncIterator[ExtensionHost]:
        async with (
            open_sqlite(self._data / "journal") as store,
            open_journal(store, registry=EventRegistry(), clock=self.clock) as journal,
            open_enabling(journal, self._rules) as enabling,
            open_processes(runtime=self._base / "runtime") as processes,
        ):
            for directory in enable:
                await enabling.enable(await enabling.propose(directory))
            extensions, problems = await enabling.extensions()
            assert not problems
            async with open_extension_host(
                extensions, processes, registry=enabling, clock=self.clock
            ) as host:
                yield host

    async def events(self) -> list[str]:
        async with (
            open_sqlite(self._data / "journal") as store,
            open_journal(store, registry=EventRegistry()) as journal,
        ):
            await extensions_state(journal)
            records = await journal.read(SERVER, limit=1_000)
            return [one.type for one in records if one.type.startswith("extension.")]


async def work(host: ExtensionHost, *, crash: bool = False) -> CallOutcome:
    return await host.call("tool", f"{NAME}.work", {"crash": crash})


async def guarded(host: ExtensionHost) -> HookVerdict:
    return await host.hooks.ask("tool_call", ToolCall(tool="any", arguments={}))


@pytest.mark.scenario("extensions#9")
async def test_three_crashes_in_a_minute(tmp_path: Path) -> None:
    """EXT-38, EXT-12: quarantine, also after a restart; trial call; hooks follow their mode; human reset."""
    node = Node(tmp_path)
    with trio.fail_after(60):
        async with node.up(write_extension(tmp_path / "fragile", SOURCE, name=NAME)) as host:
            assert (await work(host)).outcome == "ok"
            assert (await guarded(host)).proceeds
            for _ in range(3):
                assert (await work(host, crash=True)).code == "extension_crashed"
            await quarantined(host)
        async with node.up() as host:  # after a restart
            await quarantined(host)
            node.clock.ahead_ms += FIRST_MS
            assert (await work(host, crash=True)).code == "extension_crashed", "the trial call"
            await quarantined(host)
        async with node.up() as host:
            node.clock.ahead_ms += FIRST_MS
            await quarantined(host)  # the second time it waits for twice as long
            node.clock.ahead_ms += FIRST_MS
            assert (await work(host)).outcome == "ok"
            assert (await work(host)).outcome == "ok"
            assert host.health().extensions[0].quarantine == "closed"
            assert (await guarded(host)).proceeds
            for _ in range(3):
                await work(host, crash=True)
            await quarantined(host)
            await host.reset(NAME)
            assert (await work(host)).outcome == "ok"
        async with node.up() as host:
            assert (await work(host)).outcome == "ok"
    assert await node.events() == [
        "extension.enabled",
        "extension.quarantined",
        "extension.quarantined",
        "extension.restored",
        "extension.quarantined",
        "extension.restored",
    ]


async def quarantined(host: ExtensionHost) -> None:
    """Tools and commands answer at once, hooks follow their fail mode."""
    refused = [await work(host), await host.call("command", f"{NAME}.ask", {})]
    for one in refused:
        assert (one.outcome, one.code, one.worker_id) == ("refused", "extension_quarantined", None)
        assert one.retryable
    verdict = await guarded(host)
    assert verdict.error == "tool_error: tool_blocked: hook_failed"
    assert verdict.failures[0].code == "extension_quarantined"
    said = await host.hooks.ask("input", TextInput(text="hello"))
    assert said.proceeds
    assert [one.warning for one in said.warnings] == ["extension_hook_error"]
