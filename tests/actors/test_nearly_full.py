"""A volume that is nearly full: no work is begun, what runs is concluded (JRN-15e)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.actors.jobs import EVENTS, LANE, JobLane, Look, Note
from web4.actors import open_lane_actors
from web4.journal import EventRegistry, JournalUnavailable, NewEvent, open_journal
from web4.journal.backends.sqlite import SqliteLimits, open_sqlite

if TYPE_CHECKING:
    from pathlib import Path


async def test_no_new_work_below_the_floor(tmp_path: Path) -> None:
    limits = SqliteLimits(floor_bytes=1 << 60)
    async with (
        open_sqlite(tmp_path / "journal", limits=limits) as store,
        open_journal(store, registry=EventRegistry(EVENTS)) as journal,
        open_lane_actors(journal, {"session": JobLane()}) as actors,
    ):
        assert not journal.accepting
        assert journal.health()["accepting"] is False
        with pytest.raises(JournalUnavailable) as caught:
            await actors.lane(LANE).ask(Note(1))
        assert caught.value.code == "no_space"
        assert caught.value.retry_after_ms
        # Control is served, and whoever must conclude something can write it.
        assert await actors.lane(LANE).ask(Look(), control=True) == 0
        one = JobLane().logic.decide(JobLane().logic.initial, Note(1)).events[0]
        await journal.append(LANE, [NewEvent(one, 0)], expected_seq=0)


async def test_work_is_begun_where_there_is_room(tmp_path: Path) -> None:
    async with (
        open_sqlite(tmp_path / "journal", limits=SqliteLimits(floor_bytes=1, reserve_bytes=1)) as store,
        open_journal(store, registry=EventRegistry(EVENTS)) as journal,
        open_lane_actors(journal, {"session": JobLane()}) as actors,
    ):
        assert journal.accepting
        assert await actors.lane(LANE).ask(Note(1)) == 1
