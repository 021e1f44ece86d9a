"""Lane `server` with all its parts reads what was written when extensions had it to themselves (JRN-9d, JRN-17)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actors.jobs import opened
from tests.extensions.test_enabling_logic import enable
from web4.actors import open_lane_actors
from web4.actors.rebuilding import rebuild
from web4.extensions.enabling.enabling_logic import Disable, ExtensionsState
from web4.extensions.enabling.server_lane import EXTENSIONS, extensions_state
from web4.journal.backends.memory import MemoryStore
from web4.journal.compaction import compact
from web4.journal.lane import SERVER
from web4.mesh.server_lane import SERVER_LANE

COMMANDS = (
    enable("a", 1, tools=("one",)),
    enable("b", 2),
    Disable(name="a", at=3, by="ada", reason="enough"),
)


async def written(store: MemoryStore, *, base: bool) -> ExtensionsState:
    """A journal as it was: the extensions' definition alone, version 1; compacted, with a base snapshot of that."""
    assert EXTENSIONS.definition.version == 1
    async with opened(store, events=()) as journal:
        async with open_lane_actors(journal, {"server": EXTENSIONS.definition}) as actors:
            ref = actors.lane(SERVER)
            for command in COMMANDS:
                assert (await ref.ask(command)).refused is None
            state: ExtensionsState = await ref.state()
        if base:
            await compact(journal, SERVER, seq=2, definition=EXTENSIONS.definition)
            assert (await journal.head(SERVER)).base_seq == 2
        return state


@pytest.mark.parametrize("base", [False, True])
async def test_an_old_server_lane_replays(base: bool) -> None:
    """JRN-9d: from its events, and from a base snapshot of the version before."""
    store = MemoryStore()
    state = await written(store, base=base)
    async with opened(store, events=()) as journal:
        assert await extensions_state(journal, SERVER_LANE) == state
        rebuilt = await rebuild(journal, SERVER, SERVER_LANE)
        assert rebuilt.snapshot_seq == (2 if base else 0)
        async with open_lane_actors(journal, {"server": SERVER_LANE}) as actors:
            ref = actors.lane(SERVER)
            reply: Any = await ref.ask(enable("c", 9))
            assert reply.refused is None
            assert sorted(EXTENSIONS.of(await ref.state()).records) == ["a", "b", "c"]
