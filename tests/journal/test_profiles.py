"""What a journal says of itself: profile, state, figures (JRN-5b, c, d, JRN-24d)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.journal.arrange import NOTED, ONE, Bench, Emitted, note
from web4.journal.backends.memory import open_memory
from web4.journal.event_types import EventRegistry
from web4.journal.opening import open_journal

if TYPE_CHECKING:
    from web4.journal.backends.backend import Durability


@pytest.mark.parametrize("profile", ["strict", "relaxed", "none"])
async def test_relaxed_is_visible(profile: Durability) -> None:
    """Scenario 7, JRN-5c: whatever the store promises shows in what is emitted, in health and in the figures."""
    emitted = Emitted()
    async with open_memory() as backend:
        assert backend.durability == "none"
        backend.durability = profile
        async with open_journal(backend, registry=EventRegistry([NOTED]), emit=emitted) as journal:
            assert journal.durability == journal.health()["durability"] == profile
            assert (await journal.stats())["durability"] == profile
            assert profile in repr(journal)
        assert [one["durability"] for one in emitted.named("journal_opened")] == [profile]


async def test_health_and_figures() -> None:
    bench = Bench()
    async with bench.journal() as journal:
        await journal.append(ONE, [note(n) for n in range(3)], expected_seq=0)
        health = journal.health()
        assert (health["backend"], health["boot"], health["state"]) == ("memory", 1, "ready")
        assert (health["waiting"], health["torn"], health["halted"]) == (0, 0, {})
        stats = await journal.stats()
        assert (stats["commits"], stats["records_written"], stats["store"]["records"]) == (1, 3, 3)
    async with bench.journal() as journal:
        assert journal.health()["boot"] == 2
        assert (await journal.stats())["records_written"] == 0
