"""The host and lane `server`: what is quarantined stays so over a restart, what is reloaded is on the lane."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.extensions.hosting import LONG, until, write_extension
from web4.extensions.enabling.enabling import Enabling, EnablingRules, open_enabling
from web4.extensions.enabling.enabling_events import (
    ExtensionChanged,
    ExtensionQuarantined,
    ExtensionReloaded,
    ExtensionRestored,
)
from web4.extensions.enabling.server_lane import extensions_state
from web4.extensions.errors import EnablingError
from web4.extensions.hosting.host import ExtensionHost, open_extension_host
from web4.extensions.hosting.options import HostOptions
from web4.extensions.manifests.grants import NodePaths
from web4.extensions.processes import open_processes
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.lane import SERVER
from web4.journal.opening import open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAME = "acme.bench"


class Node:
    """A node that is started as often as a test wants."""

    def __init__(self, base: Path) -> None:
        self.base = base.resolve()
        self.data = self.base / "data"
        self.data.mkdir()
        self.directory = write_extension(self.base / "ext")

    @asynccontextmanager
    async def enabling(self) -> AsyncIterator[Enabling]:
        rules = EnablingRules(node=NodePaths(data=str(self.data)))
        async with (
            open_sqlite(self.data / "journal") as store,
            open_journal(store, registry=EventRegistry()) as journal,
            open_enabling(journal, rules) as enabling,
        ):
            yield enabling

    @asynccontextmanager
    async def up(self) -> AsyncIterator[tuple[Enabling, ExtensionHost]]:
        with trio.fail_after(LONG):
            async with self.enabling() as enabling, open_processes(runtime=self.base / "run") as processes:
                extensions, _ = await enabling.extensions()
                options = HostOptions(watch_ms=20)
                async with open_extension_host(
                    extensions, processes, registry=enabling, options=options
                ) as host:
                    yield enabling, host

    async def enable(self, **more: Any) -> None:
        async with self.enabling() as enabling:
            await enabling.enable(await enabling.propose(self.directory), **more)

    async def events(self) -> list[Any]:
        async with (
            open_sqlite(self.data / "journal") as store,
            open_journal(store, registry=EventRegistry()) as journal,
        ):
            await extensions_state(journal)
            records = await journal.read(SERVER, limit=1_000)
            return [journal.registry.decode(one) for one in records if one.type.startswith("extension.")]


@pytest.mark.scenario("extensions#9")
async def test_a_quarantine_outlives_the_node_and_a_human_ends_it(tmp_path: Path) -> None:
    """EXT-38."""
    node = Node(tmp_path)
    await node.enable()
    async with node.up() as (_, host):
        for _ in range(3):
            assert (await host.call("tool", "leave", {"status": 1})).code == "extension_crashed"
        assert (await host.call("tool", "who", {})).code == "extension_quarantined"
    async with node.up() as (_, host):
        assert (await host.call("tool", "who", {})).code == "extension_quarantined", "after a restart too"
        await host.reset(NAME, by="ada")
        assert (await host.call("tool", "who", {})).code is None
    async with node.up() as (_, host):
        assert (await host.call("tool", "who", {})).code is None
    quarantined, restored = (await node.events())[1:]
    assert isinstance(quarantined, ExtensionQuarantined)
    assert isinstance(restored, ExtensionRestored)


async def test_what_is_enabled_again_takes_over_and_what_only_changed_does_not(tmp_path: Path) -> None:
    """EXT-7, EXT-39, EXT-40."""
    node = Node(tmp_path)
    await node.enable()
    async with node.up() as (enabling, host):
        assert (await host.call("tool", "again", {"value": ""})).version == "1.0.0"
        write_extension(node.directory, version="2.0.0")
        with pytest.raises(EnablingError, match="changed"):
            await host.reload(NAME)
        assert (await host.call("tool", "again", {"value": ""})).version == "1.0.0"
        await enabling.enable(await enabling.propose(node.directory))
        assert await host.reload(NAME) == 2
        assert (await host.call("tool", "again", {"value": ""})).version == "2.0.0"
    told = [type(one) for one in await node.events()]
    assert ExtensionChanged in told
    assert told[-1] is ExtensionReloaded


async def test_a_quarantine_of_other_files_ends_when_a_human_has_enabled_new_ones(tmp_path: Path) -> None:
    node = Node(tmp_path)
    await node.enable()
    async with node.up() as (enabling, host):
        for _ in range(3):
            await host.call("tool", "leave", {"status": 1})
        assert (await host.call("tool", "who", {})).code == "extension_quarantined"
        write_extension(node.directory, version="2.0.0")
        await enabling.enable(await enabling.propose(node.directory))
        await host.reload(NAME)
        assert (await host.call("tool", "who", {})).code is None


async def test_development_reloads_are_on_the_lane(tmp_path: Path) -> None:
    """EXT-39, EXT-40."""
    node = Node(tmp_path)
    await node.enable(development=True)
    async with node.up() as (_, host):
        assert (await host.call("tool", "again", {"value": ""})).version == "1.0.0"
        write_extension(node.directory, version="2.0.0")
        await until(lambda: host.health().extensions[0].version == "2.0.0")
    assert isinstance((await node.events())[-1], ExtensionReloaded)
