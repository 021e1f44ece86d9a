"""Checks of following a lane of a journal on the backend: no gap, nothing twice, whatever happens (JRN-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from web4.journal.errors import Compacted, CursorAhead
from web4.journal.limits import JournalLimits
from web4.testing.journal.journals import compact, journal_on, note
from web4.testing.journal.scribe import require
from web4.testing.journal.storing import ONE, TWO

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.journal.journal import Journal
    from web4.journal.lane import Lane
    from web4.testing.journal.arena import Arena


async def follows_through_everything(arena: Arena) -> None:
    """JRN-6b: from 0, over writes, compaction of what was read, restarts and a slow reader: every record once."""
    for limit in (1, 3, 1_024):
        async with arena.store(f"followers that hold {limit} records") as store:
            limits = JournalLimits(follower_records=limit, retry_seconds=0.001)
            cursors = {"quick": 0, "slow": 0}
            for restart in range(3):
                async with journal_on(store, limits=limits) as journal:
                    require(not journal.halted, f"halted were {dict(journal.halted)}")
                    target = (restart + 1) * 3 * arena.rounds
                    async with trio.open_nursery() as nursery:
                        for name in cursors:
                            nursery.start_soon(_follow, journal, cursors, name, target)
                        nursery.start_soon(_write, journal, arena, target)
                        nursery.start_soon(_compact, journal, cursors, target)


async def _write(journal: Journal, arena: Arena, target: int) -> None:
    while (head := (await journal.head(ONE)).seq) < target:
        count = min(target - head, arena.random.randint(1, 5))
        events = [note(head + 1 + index) for index in range(count)]
        await journal.append(ONE, events, expected_seq=head)
        if arena.random.random() < 0.3:
            other = (await journal.head(TWO)).seq
            await journal.append(TWO, [note(other)], expected_seq=other)


async def _follow(journal: Journal, cursors: dict[str, int], name: str, target: int) -> None:
    follower = journal.follow(ONE, after=cursors[name])
    async for record in follower:
        expected = cursors[name] + 1
        require(record.seq == expected, f"the {name} follower got {record.seq}, not {expected}")
        text = journal.registry.decode(record).text
        require(text == str(expected), f"record {expected} says {text}")
        cursors[name] = record.seq
        if record.seq >= target:
            return
        if name == "slow":
            for _ in range(7):
                await trio.lowlevel.checkpoint()
            # Cancelled, it has taken nothing.
            with trio.CancelScope() as scope:
                scope.cancel()
                await follower.__anext__()


async def _compact(journal: Journal, cursors: dict[str, int], target: int) -> None:
    """Compact and remove what both followers have read, again and again."""
    while min(cursors.values()) < target:
        read = min(cursors.values())
        if read > (await journal.head(ONE)).base_seq:
            await compact(journal, ONE, read)
            await journal.backend.prune(ONE, limit=4)
        for _ in range(10):
            await trio.lowlevel.checkpoint()


async def refuses_cursors(arena: Arena) -> None:
    """JRN-6c: below the base is `Compacted`, beyond the head `CursorAhead`; from the base it runs."""
    async with arena.store("cursors below, at and beyond") as store:
        async with journal_on(store) as journal:
            await journal.append(ONE, [note(n) for n in range(1, 11)], expected_seq=0)
            await compact(journal, ONE, 6)
            await _cursors(journal)
            require(await journal.backend.prune(ONE, limit=100) == 6, "another number of records was removed")
            await _cursors(journal)
        async with journal_on(store) as journal:
            await _cursors(journal)
            for lane, after in ((TWO, 1), (ONE, 11)):
                await _ahead(journal, lane, after)
            require(await journal.read(TWO) == [], "a lane nobody wrote has records")


async def _cursors(journal: Journal) -> None:
    for after in (0, 5):
        try:
            await journal.read(ONE, after=after)
        except Compacted as error:
            require(error.base_seq == 6, f"told to start at {error.base_seq}, not 6")
        else:
            require(condition=False, what=f"records after {after} were read")
        try:
            await journal.follow(ONE, after=after).__anext__()
        except Compacted as error:
            require(error.base_seq == 6, f"told to start at {error.base_seq}, not 6")
        else:
            require(condition=False, what=f"a follower started after {after}")
    require(
        [one.seq for one in await journal.read(ONE, after=6)] == [7, 8, 9, 10], "other records at the base"
    )
    require((await journal.follow(ONE, after=6).__anext__()).seq == 7, "a follower started elsewhere")
    require(await journal.read(ONE, after=10) == [], "there are records after the last")
    await _ahead(journal, ONE, 11)


async def _ahead(journal: Journal, lane: Lane, after: int) -> None:
    head = (await journal.head(lane)).seq
    for call in (journal.read(lane, after=after), journal.follow(lane, after=after).__anext__()):
        try:
            await call
        except CursorAhead as error:
            require(error.head == head, f"told that the lane ends at {error.head}, not {head}")
        else:
            require(condition=False, what="a cursor beyond the head was taken")


async def waits_for_nobody(arena: Arena) -> None:
    """JRN-6b: a follower that does not read holds up no append, holds few records, and misses none."""
    limits = JournalLimits(follower_records=4, retry_seconds=0.001)
    async with arena.store("a follower that sleeps") as store, journal_on(store, limits=limits) as journal:
        follower = journal.follow(ONE)
        await journal.append(ONE, [note(1)], expected_seq=0)
        require((await follower.__anext__()).seq == 1, "it began elsewhere")
        total = 1 + 4 * arena.rounds
        for begin in range(1, total, 4):
            await journal.append(ONE, [note(n) for n in range(4)], expected_seq=begin)
        numbers = [(await follower.__anext__()).seq for _ in range(total - 1)]
        require(numbers == list(range(2, total + 1)), "it missed a record, or got one twice")


FOLLOWING: dict[str, Callable[[Arena], Awaitable[None]]] = {
    "follows through everything": follows_through_everything,
    "refuses cursors": refuses_cursors,
    "waits for nobody": waits_for_nobody,
}
