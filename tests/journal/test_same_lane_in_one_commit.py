"""Several callers append to one lane while a commit is under way: the next takes them all (JRN-5a)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw
import msgspec
import trio
import trio.testing

from web4.journal.backends.memory import open_memory
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.errors import WrongExpectedSeq
from web4.journal.event_types import EventRegistry, EventType
from web4.journal.journal import NewEvent
from web4.journal.lane import Lane
from web4.journal.limits import JournalLimits
from web4.journal.opening import open_journal
from web4.journal.verify import verify

if TYPE_CHECKING:
    from pathlib import Path


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    text: str


TYPES = (EventType(name="noted", struct=Noted, classes={"text": "retainable"}),)


async def test_appends_of_one_lane_share_a_commit(tmp_path: Path) -> None:
    """Each caller names the lane by an object of its own; the records still follow each other on disk."""
    registry = EventRegistry(TYPES)
    async with (
        open_sqlite(tmp_path / "journal") as backend,
        open_journal(backend, registry=registry) as journal,
    ):

        async def append(number: int) -> None:
            event = NewEvent(Noted(text=str(number)), 0)
            await journal.append(Lane("session", "one"), [event], expected_seq=number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(append, 0)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(1, 40):
                nursery.start_soon(append, number)
                await trio.lowlevel.checkpoint()
        assert (await journal.stats())["largest_commit"] > 1
        records = await journal.read(Lane("session", "one"))
        assert [record.seq for record in records] == list(range(1, 41))
        assert [registry.decode(record).text for record in records] == [str(number) for number in range(40)]
        assert not (await verify(backend, registry)).findings
    connection = apsw.Connection(str(tmp_path / "journal" / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
    links: Any = connection.execute("SELECT position, previous FROM record ORDER BY seq").fetchall()
    connection.close()
    assert [previous for _, previous in links] == [0, *(position for position, _ in links[:-1])]


async def test_a_group_remembers_lanes_beyond_the_bound_of_heads() -> None:
    """JRN-4a: also with room for a single head, two appends that expect the same one are never both taken."""
    registry = EventRegistry(TYPES)
    one, two = Lane("session", "one"), Lane("session", "two")
    outcomes: list[str] = []
    async with (
        open_memory() as backend,
        open_journal(backend, registry=registry, limits=JournalLimits(heads=1)) as journal,
    ):

        async def append(lane: Lane, text: str) -> None:
            try:
                await journal.append(lane, [NewEvent(Noted(text=text), 0)], expected_seq=0)
                outcomes.append(text)
            except WrongExpectedSeq as error:
                outcomes.append(f"{text}: {error.actual}")

        async with trio.open_nursery() as nursery:
            for lane, text in ((one, "first"), (two, "other"), (one, "second")):
                nursery.start_soon(append, lane, text)
        assert len(await journal.read(one)) == len(await journal.read(two)) == 1
    assert len(outcomes) == 3
    assert sum(": 1" in outcome for outcome in outcomes) == 1
