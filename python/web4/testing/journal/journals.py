"""Checks of a journal on the backend: who wins, what a repetition gets, what failing writes lead to (JRN-4 to -15)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec
import trio

from web4.foundation.identity import Identity
from web4.journal.anchoring import check_anchor
from web4.journal.errors import BlobNotFoundError, CorruptJournalError, LaneHalted, WrongExpectedSeq
from web4.journal.event_types import EventRegistry, EventType
from web4.journal.journal import Append, NewEvent
from web4.journal.lane import SERVER, Lane
from web4.journal.limits import JournalLimits
from web4.journal.opening import open_journal
from web4.journal.record import Appended, Snapshot
from web4.testing.journal.scribe import START_MS, require
from web4.testing.journal.store import Column
from web4.testing.journal.storing import FAILURES, ONE, THREE, TWO

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from web4.foundation.events import Emitter
    from web4.journal.journal import Journal
    from web4.journal.record import Record
    from web4.testing.journal.arena import Arena
    from web4.testing.journal.store import StoreUnderTest

SIGNER: Final = Identity.from_seed(b"contract: journal".ljust(32, b"\0"))
QUICK: Final = JournalLimits(retry_seconds=0.001, retry_most_seconds=0.01)


class Noted(msgspec.Struct, frozen=True):
    """A mere fact."""

    text: str


NOTED: Final = EventType(name="contract.noted", struct=Noted, classes={"text": "retainable"})


def note(text: object, at: int = START_MS) -> NewEvent:
    """An event to append."""
    return NewEvent(Noted(str(text)), at)


@asynccontextmanager
async def journal_on(
    store: StoreUnderTest,
    *,
    limits: JournalLimits = QUICK,
    identity: Identity | None = None,
    emit: Emitter | None = None,
) -> AsyncGenerator[Journal]:
    """A journal on the store under test."""
    more: dict[str, Any] = {} if emit is None else {"emit": emit}
    async with (
        store.open() as backend,
        open_journal(
            backend, registry=EventRegistry([NOTED]), identity=identity, limits=limits, **more
        ) as journal,
    ):
        yield journal


async def texts(journal: Journal, lane: Lane) -> list[str]:
    """What the events of a lane say, those of the journal's own aside; its numbers must have no gap."""
    records = await journal.read(lane, limit=10_000)
    numbers = [one.seq for one in records]
    require(numbers == list(range(1, len(numbers) + 1)), f"{lane} has numbers {numbers[:9]}…")
    mine = [one for one in records if one.type == NOTED.name]
    return [journal.registry.decode(one).text for one in mine]


async def wrong(call: Awaitable[Any], *, actual: int, what: str) -> None:
    """The call is refused, and says where the lane ends."""
    try:
        await call
    except WrongExpectedSeq as error:
        require(error.actual == actual, f"{what}: told that the lane ends at {error.actual}, not {actual}")
    else:
        require(condition=False, what=f"{what} was accepted")


async def races_for_a_number(arena: Arena) -> None:
    """JRN-4a: of callers that decided on one head, one succeeds; the others learn the same actual head."""
    async with arena.store(f"{arena.callers} callers") as store:
        async with journal_on(store) as journal:
            for begin in range(3):
                race = _Race(journal, begin)
                async with trio.open_nursery() as nursery:
                    for number in range(arena.callers):
                        nursery.start_soon(race.run, f"{begin} {number}")
                require(len(race.won) == 1, f"{len(race.won)} callers have won")
                same = [begin + 1] * (arena.callers - 1)
                require(race.actual == same, f"the others learnt {set(race.actual)}")
                require((await texts(journal, ONE))[begin:] == race.won, "another record is there")
        async with journal_on(store) as journal:
            require(len(await texts(journal, ONE)) == 3, "after a restart, other records are there")


class _Race:
    """Callers that decided on one head, and what they were told."""

    def __init__(self, journal: Journal, begin: int) -> None:
        self._journal = journal
        self._begin = begin
        self.won: list[str] = []
        self.actual: list[int] = []

    async def run(self, name: str) -> None:
        try:
            appended = await self._journal.append(ONE, [note(name)], expected_seq=self._begin)
        except WrongExpectedSeq as error:
            self.actual.append(error.actual)
        else:
            self.won.append(name)
            numbers = (appended.first_seq, appended.last_seq)
            require(numbers == (self._begin + 1,) * 2, f"the winner was told {numbers}")


async def repeats_an_append(arena: Arena) -> None:
    """JRN-4d: an append that is there already reports its success, before and after a restart, and writes nothing."""
    first, second = [note("a"), note("b")], [note("c")]
    batch = [Append(TWO, [note("d")], 0), Append(THREE, [note("e"), note("f")], 0)]
    async with arena.store("appends, repeated") as store:
        async with journal_on(store) as journal:
            once = await journal.append(ONE, first, expected_seq=0)
            again = await journal.append(ONE, first, expected_seq=0)
            require(once == again == Appended(1, 2, once.hash), "a repetition reports something else")
            both = await journal.append_batch(batch)
            require(await journal.append_batch(batch) == both, "a repeated batch reports something else")
        async with journal_on(store) as journal:
            require(
                await journal.append(ONE, first, expected_seq=0) == once, "after a restart, another answer"
            )
            require(await journal.append_batch(batch) == both, "after a restart, another answer to a batch")
            for what, events, expected in (
                ("another event", [note("a"), note("x")], 0),
                ("fewer events", first[:1], 0),
                ("more events", [*first, *second], 0),
                ("the same events at another number", first, 1),
                ("another time", [note("a"), note("b", START_MS + 1)], 0),
            ):
                await wrong(journal.append(ONE, events, expected_seq=expected), actual=2, what=what)
            half = [batch[0], Append(THREE, [note("e"), note("x")], 0)]
            await wrong(journal.append_batch(half), actual=1, what="half a batch again")
            await journal.append(ONE, second, expected_seq=2)
            await wrong(journal.append(ONE, first, expected_seq=0), actual=3, what="an append of long ago")
            require(await texts(journal, ONE) == ["a", "b", "c"], "something was written twice")
            require(await texts(journal, THREE) == ["e", "f"], "something was written twice")


async def batches_over_lanes(arena: Arena) -> None:
    """JRN-4c: a batch over several lanes grows all of them or none."""
    async with arena.store("batches, some of them on an old head") as store, journal_on(store) as journal:
        counts = dict.fromkeys((ONE, TWO, THREE), 0)
        for number in range(arena.rounds):
            lanes = arena.random.sample(list(counts), arena.random.randint(1, 3))
            stale = arena.random.choice(lanes) if arena.random.random() < 0.4 else None
            appends = [
                Append(lane, [note(number)] * 2, counts[lane] - (lane == stale and counts[lane] > 0))
                for lane in lanes
            ]
            refused = any(expected != counts[lane] for lane, _, expected in appends)
            if refused:
                assert stale is not None
                call = journal.append_batch(appends)
                await wrong(call, actual=counts[stale], what="a batch with one old head")
            else:
                for lane, one in zip(lanes, await journal.append_batch(appends), strict=True):
                    counts[lane] += 2
                    require(one.last_seq == counts[lane], "a batch went elsewhere")
            heads = {lane: (await journal.head(lane)).seq for lane in counts}
            require(heads == counts, f"lanes end at {list(heads.values())}, not {list(counts.values())}")


async def suspends_and_resumes(arena: Arena) -> None:
    """JRN-15a, f: what cannot be written waits, is written when it can be, and the journal says so on `server`."""
    async with arena.store("writes that are refused for a while") as store:
        if store.fail is None:
            arena.leave_out()
            return
        said: list[str] = []
        async with journal_on(store, emit=partial(_names, said)) as journal:
            await journal.append(ONE, [note("before")], expected_seq=0)
            store.fail("not_committed", 3)
            async with trio.open_nursery() as nursery:
                for lane in (ONE, TWO, THREE):
                    head = (await journal.head(lane)).seq
                    nursery.start_soon(partial(journal.append, lane, [note(1)], expected_seq=head))
            require(said.count("journal_suspended") == 1, f"it said {said}")
            require(await texts(journal, ONE) == ["before", "1"], "what waited is not there")
            require(journal.state == "ready", f"afterwards it is {journal.state}")
            resumed = await journal.follow(SERVER).__anext__()
            event = journal.registry.decode(resumed)
            require(resumed.type == "journal.resumed" and event.retries == 3, f"it resumed after {event}")


async def reads_back_the_unknown(arena: Arena) -> None:
    """JRN-15b, d, JRN-5e: after an unknown result every answer is true, and nothing is there twice or by half."""
    for kind in FAILURES[1:]:
        async with arena.store(f"commits that are {kind}") as store:
            if store.fail is None:
                arena.leave_out()
                return
            async with journal_on(store) as journal:
                for number in range(arena.rounds):
                    if number % 3:
                        store.fail(kind, number % 3)
                    batch = [Append(ONE, [note(number)], number), Append(TWO, [note(number)] * 2, 2 * number)]
                    ends = [one.last_seq for one in await journal.append_batch(batch)]
                    require(ends == [number + 1, 2 * number + 2], f"an append went to {ends}")
                require(await texts(journal, ONE) == [str(n) for n in range(arena.rounds)], "other records")
            async with journal_on(store) as journal:
                require(len(await texts(journal, ONE)) == arena.rounds, "after a restart, other records")
                require(len(await texts(journal, TWO)) == 2 * arena.rounds, "after a restart, other records")


async def finds_damage(arena: Arena) -> None:
    """JRN-3, JRN-12c: one flipped bit anywhere in a record halts its lane at opening, names it, and halts no other."""
    for column in get_args(Column):
        async with arena.store(f"a bit of a {column}") as store:
            if store.damage is None:
                arena.leave_out()
                return
            async with journal_on(store) as journal:
                await journal.append(ONE, [note(n) for n in range(9)], expected_seq=0)
                await journal.append(TWO, [note(0)], expected_seq=0)
            await store.damage(ONE, 4, column)
            told: list[tuple[str | None, int | None]] = []
            async with journal_on(store, emit=partial(_halts, told)) as journal:
                require(told == [(str(ONE), 4)], f"halted were {told}")
                await journal.append(TWO, [note(1)], expected_seq=1)
                try:
                    await journal.append(ONE, [note(9)], expected_seq=9)
                except LaneHalted:
                    continue
                require(condition=False, what="a halted lane was written")


def _names(said: list[str], name: str, /, **_: Any) -> None:
    """An emitter that keeps names of events."""
    said.append(name)


def _halts(told: list[tuple[str | None, int | None]], name: str, /, **fields: Any) -> None:
    """An emitter that keeps which lanes were halted, and where."""
    if name == "lane_halted":
        told.append((fields["lane"], fields["lane_seq"]))


async def anchors_its_lanes(arena: Arena) -> None:
    """JRN-3f: closing anchors what changed, signed; opening again finds it so."""
    async with arena.store("anchors") as store:
        for count in (1, 2):
            async with journal_on(store, identity=SIGNER) as journal:
                require(not journal.halted, f"halted were {dict(journal.halted)}")
                await journal.append(ONE, [note(count)], expected_seq=count - 1)
                head = await journal.head(ONE)
            async with store.open(read_only=True) as backend:
                records = await backend.read(SERVER)
                require(
                    [one.type for one in records] == ["journal.anchored"] * count, "another number of anchors"
                )
                anchor = journal.registry.decode(records[-1])
                check_anchor(anchor, backend.journal_id)
                require(anchor.lanes == ((str(ONE), count, head.hash.hex()),), f"anchored is {anchor.lanes}")


async def compacts_a_journal(arena: Arena) -> None:
    """JRN-17a, b: numbers, times, expected heads and repetitions are the same with and without compaction."""
    async with arena.store("compacted at random points") as store, arena.factory() as twin:
        seq = 0
        for _ in range(3):
            async with journal_on(store) as journal, journal_on(twin) as plain:
                for number in range(arena.rounds):
                    at = START_MS + arena.random.randint(-5, 5)
                    events = [note(number, at)] * arena.random.randint(1, 3)
                    answers = [await one.append(ONE, events, expected_seq=seq) for one in (journal, plain)]
                    require(answers[0][:2] == answers[1][:2], "an append to a compacted lane went elsewhere")
                    seq = answers[0].last_seq
                    heads = [await one.head(ONE) for one in (journal, plain)]
                    require(heads[0].at == heads[1].at, "time goes another way in a compacted lane")
                    if arena.random.random() < 0.3:
                        await compact(journal, ONE, arena.random.randint(heads[0].base_seq + 1, seq))
                        require(await journal.backend.prune(ONE, limit=3) >= 0, "pruned less than nothing")
                    if (await journal.head(ONE)).base_seq <= seq - len(events):
                        again = await journal.append(ONE, events, expected_seq=seq - len(events))
                        require(again == answers[0], "a repetition after compaction has another answer")
                require(not journal.halted, "a compacted lane was halted")
            async with journal_on(store) as journal, journal_on(twin) as plain:
                base = (await journal.head(ONE)).base_seq
                tail = await journal.read(ONE, after=base, limit=10_000)
                same = await plain.read(ONE, after=base, limit=10_000)
                require(_said(tail) == _said(same), "what is left of a compacted lane is not its tail")


def _said(records: Sequence[Record]) -> list[tuple[int, int, bytes | None]]:
    return [(one.seq, one.at, one.payload) for one in records]


async def compact(journal: Journal, lane: Lane, seq: int) -> None:
    """Let a snapshot stand for a lane up to `seq`."""
    (record,) = await journal.read(lane, after=seq - 1, limit=1)
    await journal.change(bases=[Snapshot.of(lane, seq, record.hash, b"{}", 1)])


async def verifies_blobs(arena: Arena) -> None:
    """JRN-8a: a blob is named by what it is, and what is not there is said not to be."""
    async with arena.store("blobs by name") as store, journal_on(store) as journal:
        data = arena.random.randbytes(10_000)
        name = await journal.put_blob(data)
        require(await journal.put_blob(data) == name, "the same bytes have two names")
        require(await journal.get_blob(name) == data, "a blob is another")
        other = f"b3:{'0' * 64}"
        await journal.backend.put_blob(other, b"not these", at=0)
        for bad, expected in ((other, CorruptJournalError), (f"b3:{'1' * 64}", BlobNotFoundError)):
            try:
                await journal.get_blob(bad)
            except expected:
                continue
            require(condition=False, what=f"{expected.__name__} was not raised")


JOURNALS: dict[str, Callable[[Arena], Awaitable[None]]] = {
    "races for a number": races_for_a_number,
    "repeats an append": repeats_an_append,
    "batches over lanes": batches_over_lanes,
    "suspends and resumes": suspends_and_resumes,
    "reads back the unknown": reads_back_the_unknown,
    "finds damage": finds_damage,
    "anchors its lanes": anchors_its_lanes,
    "compacts a journal": compacts_a_journal,
    "verifies blobs": verifies_blobs,
}
