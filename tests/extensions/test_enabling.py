"""Enabling on lane `server` of a real journal: shown, pinned, changed, enabled again (EXT-7, EXT-8, EXT-31, EXT-40)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.extensions.making import SEARCH, make_extension
from web4.extensions.enabling.asking import Asks, shown
from web4.extensions.enabling.enabling import Enabling, EnablingRules, Proposal, open_enabling
from web4.extensions.enabling.enabling_events import (
    MAX_NAMED,
    ExtensionChanged,
    ExtensionDisabled,
    ExtensionEnabled,
    ExtensionQuarantined,
    ExtensionReloaded,
    ExtensionRestored,
)
from web4.extensions.enabling.server_lane import extensions_state
from web4.extensions.errors import EnablingError, ManifestError, TreeError
from web4.extensions.manifests.ceilings import Ceilings
from web4.extensions.manifests.grants import NodePaths
from web4.extensions.places.digest import unchanged
from web4.extensions.quarantine import Breaker, Permit
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.lane import SERVER
from web4.journal.opening import open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from web4.extensions.enabling.standing import EnabledExtension, Standing
    from web4.journal.journal import Journal


class Node:
    """A node's directories, and its journal opened and closed like by as many processes."""

    def __init__(self, base: Path) -> None:
        self.base = base.resolve()
        self.data = self.base / "data"
        self.data.mkdir()
        self.rules = EnablingRules(node=NodePaths(data=str(self.data)), reserved=("read_file",))
        self.notes = make_extension(self.base / "notes", tools=[SEARCH])

    @asynccontextmanager
    async def journal(self) -> AsyncIterator[Journal]:
        async with (
            open_sqlite(self.data / "journal") as store,
            open_journal(store, registry=EventRegistry()) as journal,
        ):
            yield journal

    @asynccontextmanager
    async def up(self, **rules: Any) -> AsyncIterator[Enabling]:
        async with (
            self.journal() as journal,
            open_enabling(journal, msgspec.structs.replace(self.rules, **rules)) as enabling,
        ):
            yield enabling

    async def events(self) -> list[Any]:
        async with self.journal() as journal:
            await extensions_state(journal)
            records = await journal.read(SERVER, limit=1_000)
            return [journal.registry.decode(one) for one in records if one.type.startswith("extension.")]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def enable(enabling: Enabling, directory: Path, **more: Any) -> Proposal:
    proposal = await enabling.propose(directory)
    await enabling.enable(proposal, **more)
    return proposal


async def ready(enabling: Enabling) -> list[str]:
    extensions, _ = await enabling.extensions()
    return [one.manifest.name for one in extensions]


async def only(enabling: Enabling) -> tuple[EnabledExtension | None, Standing]:
    (standing,) = await enabling.standings()
    return standing.extension, standing


async def refused(enabling: Enabling, directory: Path, code: str, **more: Any) -> str:
    with pytest.raises(EnablingError) as caught:
        await enable(enabling, directory, **more)
    assert caught.value.code == code
    return str(caught.value)


async def test_enabling_pins_and_outlives_a_restart(node: Node) -> None:
    """EXT-7, EXT-40: nothing runs before a human enabled it; then it does, after a restart too."""
    async with node.up() as enabling:
        assert await enabling.extensions() == ([], [])
        with pytest.raises(EnablingError) as caught:
            await enabling.standing("acme.notes")
        assert caught.value.code == "not_enabled"
        proposal = await enable(enabling, node.notes)
        assert proposal.record is None
        assert await ready(enabling) == ["acme.notes"]
    async with node.up() as enabling:
        extension, _ = await only(enabling)
        assert extension is not None
        assert (extension.digest, extension.directory) == (proposal.digest, str(node.notes))
        assert not extension.development
    (event,) = await node.events()
    assert isinstance(event, ExtensionEnabled)
    assert (event.digest, event.by, event.how, event.file_count) == (proposal.digest, "operator", "cli", 2)
    assert event.asks == proposal.asks


@pytest.mark.scenario("extensions#10")
async def test_one_byte_changes(node: Node) -> None:
    """EXT-7, EXT-40: not started, the file is named; enabling again shows what changed, and it runs again."""
    async with node.up() as enabling:
        await enable(enabling, node.notes)
    (node.notes / "more.txt").write_text("new")
    text = (node.notes / "notes.py").read_text()
    (node.notes / "notes.py").write_text(text.replace("nobody", "nobodz"))
    async with node.up() as enabling:
        started, stopped = await enabling.extensions()
        assert started == []
        (standing,) = stopped
        assert standing.changed
        assert isinstance(standing.problem, EnablingError)
        assert standing.problem.code == "changed"
        assert "changed: notes.py; added: more.txt" in str(standing.problem)
        # Enabling again shows exactly that, then pins what is there now.
        proposal = await enabling.propose(node.notes)
        assert proposal.record is not None
        assert proposal.files is not None
        assert (proposal.files.changed, proposal.files.added) == (("notes.py",), ("more.txt",))
        assert proposal.asked == ()
        await enabling.enable(proposal)
        assert await ready(enabling) == ["acme.notes"]
    first, changed, again = await node.events()
    assert isinstance(changed, ExtensionChanged)
    assert (changed.changed, changed.added, changed.changed_count) == (("notes.py",), ("more.txt",), 1)
    assert isinstance(again, ExtensionEnabled)
    assert changed.digest == again.digest != first.digest


async def test_a_change_is_told_once_and_taken_back(node: Node) -> None:
    """EXT-40: one event for one change. What is again what was enabled runs without a human."""
    async with node.up() as enabling:
        await enable(enabling, node.notes)
        text = (node.notes / "notes.py").read_text()
        (node.notes / "notes.py").write_text("other")
        for _ in range(3):
            assert await ready(enabling) == []
        (node.notes / "notes.py").write_text("another")
        assert (await enabling.standing("acme.notes")).changed
        (node.notes / "notes.py").write_text(text)
        assert await ready(enabling) == ["acme.notes"]
    assert [type(one) for one in await node.events()] == [
        ExtensionEnabled,
        ExtensionChanged,
        ExtensionChanged,
    ]


@pytest.mark.parametrize("how", ["gone", "manifest", "pipe", "link", "name", "moved"])
async def test_whatever_is_there_instead_is_not_started(node: Node, how: str) -> None:
    """EXT-7: gone, broken, unpinnable, renamed: each is a change, and none is an error of the node."""
    async with node.up() as enabling:
        await enable(enabling, node.notes)
        match how:
            case "gone":
                node.notes.rename(node.base / "away")
            case "manifest":
                (node.notes / "web4-extension.json").write_text("{")
            case "pipe":
                import os

                os.mkfifo(node.notes / "pipe")
            case "link":
                (node.notes / "x.py").symlink_to("/etc/passwd")
            case "name":
                make_extension(node.notes, name="other", tools=[SEARCH])
            case "moved":
                node.notes.rename(node.base / "away")
                node.notes.symlink_to("away")
        extension, standing = await only(enabling)
        assert extension is None
        assert standing.changed
        assert await ready(enabling) == []
    assert isinstance((await node.events())[-1], ExtensionChanged)


async def test_many_changed_files_are_counted_and_some_named(node: Node) -> None:
    """The event stays small: the first names, and how many there are."""
    async with node.up() as enabling:
        await enable(enabling, node.notes)
        deep = node.notes.joinpath(*("d" * 200 for _ in range(5)))
        deep.mkdir(parents=True)
        for number in range(50):
            (deep / f"{number:02}").touch()
        assert await ready(enabling) == []
    event = (await node.events())[-1]
    assert (event.added_count, len(event.added)) == (50, MAX_NAMED)
    assert len(msgspec.json.encode(event)) < 64 * 1024


async def test_what_was_shown_is_what_is_enabled(node: Node) -> None:
    """EXT-7: a change between showing and agreeing is refused, of files and of where granted paths lead to."""
    (node.base / "free").mkdir()
    (node.base / "other").mkdir()
    link = node.base / "link"
    link.symlink_to("free")
    make_extension(node.notes, sandbox={"read": [str(link)]})
    async with node.up() as enabling:
        proposal = await enabling.propose(node.notes)
        assert proposal.asks.read == (str(node.base / "free"),)
        (node.notes / "notes.py").write_text("other")
        with pytest.raises(EnablingError, match=r"changed: notes\.py") as caught:
            await enabling.enable(proposal)
        assert caught.value.code == "digest_changed"
        proposal = await enabling.propose(node.notes)
        link.unlink()
        link.symlink_to("other")
        with pytest.raises(EnablingError) as caught:
            await enabling.enable(proposal)
        assert caught.value.code == "digest_changed"
        assert (await enabling.state()).records == {}
        # And once it is enabled, a link that leads elsewhere is a change.
        await enable(enabling, node.notes)
        assert await ready(enabling) == ["acme.notes"]
        link.unlink()
        link.symlink_to("free")
        _, standing = await only(enabling)
        assert standing.changed
        assert "it asks for read: " in str(standing.problem)


async def test_enabling_again_shows_what_is_asked_for_otherwise(node: Node) -> None:
    """EXT-7, scenario 10: level, network, paths, variables, fail-open hooks, UI."""
    (node.base / "free").mkdir()
    async with node.up() as enabling:
        await enable(enabling, node.notes)
        make_extension(
            node.notes,
            tools=[SEARCH | {"name": "find", "high_risk": True, "permissions": ["net"]}],
            hooks=[{"point": "tool_call", "fail": "open", "rewrites": True, "tools": ["run_*"]}],
            sandbox={"level": "none", "network": "allow", "read": [str(node.base / "free")]},
            environment=["LANG"],
            resources={"memory_mb": 512},
            ui=True,
        )
        proposal = await enabling.propose(node.notes)
        assert {str(one) for one in proposal.asked} == {
            "level: +none -standard",
            "network: +allow -deny",
            f"read: +{node.base / 'free'}",
            "environment: +LANG",
            "open_hooks: +tool_call",
            "ui: +yes",
            "hooks: +tool_call (fails open; rewrites arguments; of run_*)",
            "high_risk: +find",
            "permissions: +find: net",
            "tools: +find -search",
            "limits: +memory_mb = 512",
        }
        assert ("level", "none") in shown(proposal.asks)
        assert ("open hooks", "tool_call") in shown(proposal.asks)
        assert "commands" not in dict(shown(proposal.asks))


async def test_name_clashes_are_refused(node: Node) -> None:
    """EXT-8: with a built-in tool, with another's tool or command; the message names both."""
    other = make_extension(
        node.base / "other", name="acme.other", commands=[{"name": "search", "description": "x"}]
    )
    builtin = make_extension(node.base / "builtin", name="b", tools=[SEARCH | {"name": "read_file"}])
    async with node.up() as enabling:
        await enable(enabling, node.notes)
        proposal = await enabling.propose(other)
        assert proposal.clash is not None  # shown before anybody agrees
        message = await refused(enabling, other, "name_clash")
        assert "'search' of acme.other is there already, in acme.notes" in message
        assert "built-in" in await refused(enabling, builtin, "name_clash")
        await enabling.disable("acme.notes")
        await enable(enabling, other)
        assert await ready(enabling) == ["acme.other"]
        await refused(enabling, node.notes, "name_clash")


async def test_disabling(node: Node) -> None:
    async with node.up() as enabling:
        with pytest.raises(EnablingError):
            await enabling.disable("acme.notes")
        await enable(enabling, node.notes)
        await enabling.disable("acme.notes", by="ada", reason="too loud")
        assert await ready(enabling) == []
        with pytest.raises(EnablingError):
            await enabling.disable("acme.notes")
        # What it was stays known, so that enabling again shows the difference.
        (node.notes / "notes.py").write_text("other")
        proposal = await enabling.propose(node.notes)
        assert proposal.files is not None
        assert proposal.files.changed == ("notes.py",)
    event = (await node.events())[-1]
    assert isinstance(event, ExtensionDisabled)
    assert (event.by, event.reason) == ("ada", "too loud")


async def test_enabling_what_is_enabled_records_nothing(node: Node) -> None:
    async with node.up() as enabling:
        await enable(enabling, node.notes)
        await enable(enabling, node.notes)
        await enable(enabling, node.notes, development=True)
    assert [type(one) for one in await node.events()] == [ExtensionEnabled, ExtensionEnabled]


@pytest.mark.parametrize("by", ["enabling", "configuration"])
async def test_development_lets_files_change_but_not_reach(node: Node, by: str) -> None:
    """EXT-7, EXT-39: in development code changes without a human; what it may reach does not."""
    rules = {"development": ("acme.notes",)} if by == "configuration" else {}
    async with node.up(**rules) as enabling:
        await enable(enabling, node.notes, development=by == "enabling")
        (node.notes / "notes.py").write_text("other")
        make_extension(node.notes, tools=[SEARCH | {"name": "find"}])
        extension, standing = await only(enabling)
        assert extension is not None
        assert extension.development
        assert standing.change is not None
        await enabling.reloaded(extension, 2)
        assert (await enabling.state()).records["acme.notes"].names == ("find",)
        make_extension(node.notes, sandbox={"level": "none"})
        extension, standing = await only(enabling)
        assert extension is None
        assert "level: +none -standard" in str(standing.problem)
    assert [type(one) for one in await node.events()] == [ExtensionEnabled, ExtensionReloaded]


async def test_reload_is_refused_when_it_may_not_take_over(node: Node) -> None:
    """EXT-8, EXT-39: a new generation with a name that is taken, or of files nobody enabled, stays outside."""
    other = make_extension(node.base / "other", name="acme.other", tools=[SEARCH | {"name": "other"}])
    async with node.up() as enabling:
        await enable(enabling, node.notes, development=True)
        await enable(enabling, other)
        extension, _ = await only_named(enabling, "acme.notes")
        await enabling.reloaded(extension, 2)
        make_extension(node.notes, tools=[SEARCH | {"name": "other"}])
        extension, _ = await only_named(enabling, "acme.notes")
        with pytest.raises(EnablingError) as caught:
            await enabling.reloaded(extension, 3)
        assert caught.value.code == "name_clash"
        forged = msgspec.structs.replace((await only_named(enabling, "acme.other"))[0], digest="0" * 64)
        with pytest.raises(EnablingError) as caught:
            await enabling.reloaded(forged, 2)
        assert caught.value.code == "changed"
        await enabling.disable("acme.other")
        with pytest.raises(EnablingError) as caught:
            await enabling.reloaded(forged, 2)
        assert caught.value.code == "not_enabled"


async def only_named(enabling: Enabling, name: str) -> tuple[EnabledExtension, Standing]:
    standing = await enabling.standing(name)
    assert standing.extension is not None
    return standing.extension, standing


@pytest.mark.scenario("extensions#9")
async def test_quarantine_outlives_a_restart(node: Node) -> None:
    """EXT-38: the breaker's state is on the lane; the same files stay quarantined, a human resets it."""
    async with node.up() as enabling:
        await enable(enabling, node.notes)
        breaker = Breaker()
        for second in (1, 2, 3):
            permit = breaker.admit(second)
            assert isinstance(permit, Permit)
            change = breaker.conclude(permit, "extension_crashed", second)
        assert change is not None
        await enabling.breaker_changed("acme.notes", change)
        await enabling.breaker_changed("acme.notes", change)  # told once
    async with node.up() as enabling:
        extension, _ = await only_named(enabling, "acme.notes")
        assert extension.record.quarantine == breaker.state
        breaker = Breaker(extension.record.quarantine)
        assert breaker.mode(1_000) == "open"
        await enabling.disable("acme.notes")
        await enable(enabling, node.notes)
        extension, _ = await only_named(enabling, "acme.notes")
        assert extension.record.quarantine is not None
        reset = breaker.reset()
        assert reset is not None
        await enabling.breaker_changed("acme.notes", reset, by="ada")
        assert (await only_named(enabling, "acme.notes"))[0].record.quarantine is None
    events = await node.events()
    assert [type(one) for one in events] == [
        ExtensionEnabled,
        ExtensionQuarantined,
        ExtensionDisabled,
        ExtensionEnabled,
        ExtensionRestored,
    ]
    assert events[-1].by == "ada"


async def test_other_files_get_a_fresh_start(node: Node) -> None:
    """EXT-38: a human who enables other files than those that failed has ended their quarantine."""
    async with node.up() as enabling:
        await enable(enabling, node.notes)
        breaker = Breaker()
        for second in (1, 2, 3):
            permit = breaker.admit(second)
            assert isinstance(permit, Permit)
            change = breaker.conclude(permit, "extension_timeout", second)
        assert change is not None
        await enabling.breaker_changed("acme.notes", change)
        (node.notes / "notes.py").write_text("fixed")
        await enable(enabling, node.notes)
        assert (await only_named(enabling, "acme.notes"))[0].record.quarantine is None
        with pytest.raises(EnablingError):
            await enabling.breaker_changed("nobody", change)


async def test_ceilings_and_grants_hold_at_enabling_and_later(node: Node) -> None:
    """EXT-24, EXT-31: refused at enabling; rules that became stricter stop what was enabled before."""
    async with node.up() as enabling:
        for keys, code in (
            ({"resources": {"memory_mb": 4_096}}, "ceiling"),
            ({"sandbox": {"read": [str(node.data / "journal")]}}, "grant"),
            ({"sandbox": {"write": [str(node.base)]}}, "grant"),
        ):
            bad = make_extension(node.base / "bad", name="bad", **keys)
            with pytest.raises(ManifestError) as caught:
                await enabling.propose(bad)
            assert caught.value.code == code
        await enable(enabling, node.notes)
    async with node.up(ceilings=Ceilings(memory_mb=128)) as enabling:
        started, (standing,) = await enabling.extensions()
        assert started == []
        assert isinstance(standing.problem, ManifestError)
        assert standing.problem.code == "ceiling"
        assert not standing.changed
    async with node.up() as enabling:
        assert await ready(enabling) == ["acme.notes"]
    assert len(await node.events()) == 1


async def test_what_cannot_be_shown_cannot_be_enabled(node: Node) -> None:
    """EXT-7: more than a human can be shown, or a directory that cannot be pinned."""
    paths = [f"/{'x' * 3_900}/{number}" for number in range(30)]
    big = make_extension(node.base / "big", name="big", sandbox={"read": paths})
    async with node.up() as enabling:
        with pytest.raises(ManifestError, match="shown to a human"):
            await enabling.propose(big)
        (node.notes / "link").symlink_to("/etc")
        with pytest.raises(TreeError):
            await enabling.propose(node.notes)


async def test_start_may_skip_reading_when_nothing_changed(node: Node) -> None:
    """EXT-7: `tree` of an enabled extension answers the cheap question before each start."""
    async with node.up() as enabling:
        await enable(enabling, node.notes)
        extension, _ = await only_named(enabling, "acme.notes")
        known = msgspec.structs.replace(extension.tree, settled=True)
        assert unchanged(extension.directory, known)
        (node.notes / "notes.py").write_text("x")
        assert not unchanged(extension.directory, known)


async def test_state_is_read_beside_a_running_node(node: Node) -> None:
    """`web4 ext ls` reads what another process writes."""
    async with node.up() as enabling:
        await enable(enabling, node.notes)
        async with (
            open_sqlite(node.data / "journal", read_only=True) as store,
            open_journal(store, registry=EventRegistry()) as journal,
        ):
            state = await extensions_state(journal)
    (record,) = state.enabled()
    assert record.name == "acme.notes"
    assert isinstance(record.asks, Asks)
