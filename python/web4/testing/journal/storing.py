"""Checks of what a backend stores: numbers, bytes, whole commits, and who may write after what (JRN-1 to JRN-5)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from web4 import _core
from web4.journal.errors import NotCommittedError, OutcomeUnknownError, WrongExpectedSeq
from web4.journal.lane import GOVERNANCE, KNOWLEDGE, SERVER, Lane
from web4.journal.record import Head
from web4.testing.journal.arena import reopened
from web4.testing.journal.scribe import START_MS, Draft, Scribe, require

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.journal.backends.backend import Backend
    from web4.journal.lane import LaneKind
    from web4.journal.record import Commit
    from web4.testing.journal.arena import Arena
    from web4.testing.journal.store import FailureKind

ONE = Lane("session", "one")
TWO = Lane("session", "two")
THREE = Lane("peer", "ab" * 32)
FAILURES: Final[tuple[FailureKind, ...]] = ("not_committed", "reply_lost", "unknown", "torn")


def fact(number: int = 0) -> Draft:
    """An event like many."""
    return Draft(b'{"number":%d}' % number, at=START_MS + number)


async def numbers_from_the_genesis(arena: Arena) -> None:
    """JRN-1, JRN-2, JRN-3d: a new journal is empty; numbers, commits, id and key go on over restarts."""
    async with arena.store("a new store, opened three times") as store:
        async with store.open() as backend:
            scribe = Scribe(backend)
            require(len(backend.journal_id) == 16 and len(backend.hash_key) == 32, "id or hash key too short")
            require(not backend.read_only, "it says that it is for reading only")
            require(await backend.heads() == [], "a new journal knows lanes")
            genesis = _core.lane_genesis(backend.journal_id, str(ONE))
            for ask in (backend.head, backend.own):
                head = await ask(ONE)
                require(head == Head(0, genesis, 0, 0, genesis), f"the head of a lane nobody wrote is {head}")
            require(await backend.heads() == [], "a lane is listed that nobody wrote")
            require(await backend.read(ONE) == [], "a lane nobody wrote has records")
            require(await backend.scan() == [], "a new journal has records")
            await scribe.write({ONE: [fact(1), fact(2)]})
            await scribe.write({ONE: [fact(3)], SERVER: [fact(4)]})
            await scribe.check_all()
            boot, known = backend.boot, (backend.journal_id, backend.hash_key)
            require(boot >= 1, "an opening for writing is no boot")
        for restart in (1, 2):
            async with reopened(store, scribe) as backend:
                require((backend.journal_id, backend.hash_key) == known, "a restart changed id or hash key")
                require(
                    backend.boot == boot + restart, f"boot {backend.boot} after {boot}, restart {restart}"
                )
                require(
                    [lane for lane, _ in await backend.heads()] == [SERVER, ONE], "other lanes are listed"
                )
                await scribe.check_all()
                await scribe.write({ONE: [fact(5 + restart)]})
                await scribe.check_all()
    ids = set()
    for _ in range(2):
        async with arena.store("two journals") as store, store.open() as backend:
            ids |= {backend.journal_id, backend.hash_key}
    require(len(ids) == 4, "two journals share their id or hash key")


async def gives_back_every_byte(arena: Arena) -> None:
    """JRN-2: whatever fits into a record comes back as it was; names of lanes are compared as they are."""
    text = '{"ключ":"\U0001f512 \\u0000 %_*[] \'\\""}'.encode()
    drafts = [
        Draft(b"{}", at=0),
        Draft(text, at=2**53 - 1, principal="agent:ü"),
        Draft(b'{"b":"' + b"x" * (256 * 1024 - 8) + b'"}'),
        Draft(salt=b""),
        Draft(salt=bytes(16)),
        Draft(refs=tuple((f"kind{n}", "v" * 256) for n in range(8)), cause=(THREE, 2**53 - 1)),
        Draft(at=-(2**53) + 1, type="x" * 64),
    ]
    # Each pair would be one lane to somebody who folds cases, matches patterns, or joins kind and id.
    names = ["a", "A", "a.b", "a_b", "a-b", "aXb", "a" * 256, "a" * 255 + "b", "01", "1", "one.", "-", "_"]
    lanes = [Lane(kind, name) for kind in ("session", "peer", "human") for name in names]
    lanes += [SERVER, KNOWLEDGE, GOVERNANCE]
    async with arena.store("odd records in odd lanes") as store:
        async with store.open() as backend:
            scribe = Scribe(backend)
            await scribe.write({ONE: drafts})
            await scribe.own(*lanes)
            await scribe.write({lane: [fact(index)] for index, lane in enumerate(lanes)})
            for draft in drafts:
                await scribe.write({TWO: [draft]})
            await scribe.check_all()
        async with reopened(store, scribe) as backend:
            await scribe.check_all()
            found = [lane for lane, _ in await backend.heads()]
            require(found == sorted([*lanes, ONE, TWO]), "lanes are missing, or in another order")


async def refuses_a_stale_head(arena: Arena) -> None:
    """JRN-4a: a commit after another head than the lane's writes nothing, of no lane, and takes no number."""
    async with arena.scribe("heads that are not the lanes'") as (_, scribe):
        backend = scribe.backend
        await scribe.write({ONE: [fact(1)], TWO: [fact(2)]})
        stale = scribe.draft({ONE: [fact(3)]})
        await scribe.write({ONE: [fact(4)]})
        both = scribe.draft({TWO: [fact(5)]})
        mixed = both._replace(records=[*stale.records, *both.records], heads=[*stale.heads, *both.heads])
        ahead = _behind(scribe, ONE, 9)
        other = _otherwise(scribe, ONE)
        for what, commit, expected in (
            ("an old head", stale, 1),
            ("one old head of two", mixed, 1),
            ("a head to come", ahead, 9),
            ("another hash at the same number", other, 2),
        ):
            for _ in range(2):
                try:
                    await backend.commit(commit)
                except WrongExpectedSeq as error:
                    said = (error.lane, error.expected, error.actual)
                    require(said == (ONE, expected, 2), f"{what}: the error says {said}")
                else:
                    require(condition=False, what=f"{what} was accepted")
            await scribe.check_all()
        await scribe.write({ONE: [fact(6)], TWO: [fact(7)]})
        await scribe.check_all()


def _behind(scribe: Scribe, lane: Lane, seq: int) -> Commit:
    """A commit behind a head that the lane does not have yet."""
    forger = Scribe(scribe.backend)
    forger.heads[lane] = scribe.heads[lane]._replace(seq=seq)
    return forger.draft({lane: [fact()]})


def _otherwise(scribe: Scribe, lane: Lane) -> Commit:
    """A commit behind a head of the right number and another hash."""
    forger = Scribe(scribe.backend)
    forger.heads[lane] = scribe.heads[lane]._replace(hash=bytes(32))
    return forger.draft({lane: [fact()]})


async def commits_as_a_whole(arena: Arena) -> None:
    """JRN-4b, JRN-4c, JRN-6d: readers see all of a commit over several lanes or none of it."""
    lanes = [SERVER, ONE, TWO, THREE]
    async with arena.scribe("readers beside a writer") as (_, scribe):
        backend = scribe.backend
        await scribe.own(*lanes)
        done = False

        async def look() -> None:
            while not done:
                records = await backend.scan(limit=10_000)
                commits: dict[int, set[Lane]] = {}
                for one in records:
                    commits.setdefault(one.commit, set()).add(one.lane)
                require(all(found == set(lanes) for found in commits.values()), "a part of a commit was seen")
                # A lane that is read later shows at least what one that was read before did.
                ends = [(await backend.head(lane)).seq for lane in lanes]
                require(ends == sorted(ends), f"lanes of one commit ended at {ends}, one after the other")
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(look)
            for number in range(arena.rounds):
                await scribe.write({lane: [fact(number)] for lane in lanes})
            done = True
        await scribe.check_all()


async def serialises_its_writes(arena: Arena) -> None:
    """JRN-5a: commits that are handed over at once get numbers of their own, and each is there as it says."""
    lanes = [Lane("session", f"caller{number}") for number in range(arena.callers)]
    async with arena.scribe("a commit of each caller at once") as (_, scribe):
        backend = scribe.backend
        await scribe.own(*lanes)
        numbers: dict[int, Commit] = {}

        async def write(lane: Lane) -> None:
            commit = scribe.draft({lane: [fact(1), fact(2)]})
            number = await backend.commit(commit)
            require(number not in numbers, f"two commits have number {number}")
            numbers[number] = commit

        async with trio.open_nursery() as nursery:
            for lane in lanes:
                nursery.start_soon(write, lane)
        for number in sorted(numbers):
            scribe.took(numbers[number], number)
        await scribe.check_all()
        history = await backend.scan(limit=10_000)
        require(
            [one.commit for one in history] == sorted(one.commit for one in history), "history is mixed up"
        )
        require(len(history) == 2 * len(lanes), "history has another number of records")


async def finishes_what_it_began(arena: Arena) -> None:
    """JRN-5e: a commit that is cancelled happens as a whole or not at all, and leaves a store that works."""
    async with arena.scribe("commits cancelled at every checkpoint") as (_, scribe):
        backend = scribe.backend
        await scribe.own(ONE, TWO)
        through = False
        for step in range(200):
            commit = scribe.draft({ONE: [fact(step)], TWO: [fact(step)]})
            number = await _cancelled_at(step, partial(backend.commit, commit))
            # Writes take turns: after this one, the cancelled one has happened or never will.
            await backend.put_blob("b3:" + "0" * 64, b"", at=0)
            head = await backend.head(ONE)
            require(head in (scribe.heads[ONE], commit.heads[0].after), f"{ONE} ends at {head}")
            if head == commit.heads[0].after:
                last = await backend.read(ONE, after=head.seq - 1)
                scribe.took(commit, last[0].commit)
            through = number is not None
            require(not through or head == commit.heads[0].after, "a commit that returned is not there")
            if through:
                break
        require(through, "commit never ran through")
        await scribe.check_all()


async def _cancelled_at(step: int, call: Callable[[], Awaitable[int]]) -> int | None:
    """Run a call and cancel it at its `step`-th checkpoint; what it returned, if it did."""
    with trio.CancelScope() as scope:
        task = trio.lowlevel.current_task()
        stepping = _Stepping(task, scope, step)
        trio.lowlevel.add_instrument(stepping)
        try:
            if step == 0:
                scope.cancel()
            return await call()
        finally:
            trio.lowlevel.remove_instrument(stepping)
    return None


class _Stepping(trio.abc.Instrument):
    """Cancels a scope when its task is about to run for the `step`-th time."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, step: int) -> None:
        self._task = task
        self._scope = scope
        self._left = step

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def says_how_it_failed(arena: Arena) -> None:
    """JRN-12a, JRN-15a, b: refused is refused; after an unknown result the truth can be read back; nothing is torn."""
    for kind in FAILURES:
        async with arena.store(f"a commit that is {kind}") as store:
            if store.fail is None:
                arena.leave_out()
                return
            async with store.open() as backend:
                scribe = Scribe(backend)
                await scribe.write({ONE: [fact(1)], TWO: [fact(2)]})
                commit = scribe.draft({ONE: [fact(3), fact(4)], TWO: [fact(5)]})
                store.fail(kind, 1)
                await _fails(backend, commit, kind)
                if kind != "not_committed":
                    # Whatever it says: it has to be so.
                    number = await backend.recover(commit)
                    if number is not None:
                        scribe.took(commit, number)
                await scribe.check_all()
                if scribe.heads[ONE].seq == 1:
                    scribe.took(commit, await backend.commit(commit))
                await scribe.write({ONE: [fact(6)], TWO: [fact(7)]})
                await scribe.check_all()
            async with reopened(store, scribe):
                await scribe.check_all()
        await _killed_in_doubt(arena, kind)


async def _fails(backend: Backend, commit: Commit, kind: str) -> None:
    try:
        number = await backend.commit(commit)
    except NotCommittedError:
        require(kind == "not_committed", "a commit of unknown result was said not to be there")
    except OutcomeUnknownError:
        require(kind != "not_committed", "a refused commit was said to be of unknown result")
        try:
            await backend.commit(commit)
        except NotCommittedError:
            return
        require(condition=False, what="a commit was taken before the one in doubt was recovered")
    else:
        require(condition=False, what=f"a commit that fails was given number {number}")


async def _killed_in_doubt(arena: Arena, kind: FailureKind) -> None:
    """The process ends while the result is unknown: the next one finds all of the commit or nothing."""
    async with arena.store(f"killed after a commit that is {kind}") as store:
        if store.fail is None or store.kill is None:
            arena.leave_out()
            return
        async with store.open() as backend:
            scribe = Scribe(backend)
            await scribe.write({ONE: [fact(1)], TWO: [fact(2)]})
            commit = scribe.draft({ONE: [fact(3), fact(4)], TWO: [fact(5)]})
            store.fail(kind, 1)
            await _fails(backend, commit, kind)
            await store.kill()
        async with store.open() as backend:
            if (await backend.head(ONE)).seq == 3:
                scribe.took(commit, (await backend.read(ONE, after=1))[0].commit)
            await scribe.reopened(backend)
            await scribe.check_all()
            await scribe.write({ONE: [fact(6)], TWO: [fact(7)]})
            await scribe.check_all()


async def holds_many_lanes(arena: Arena) -> None:
    """JRN-1e, JRN-25: as many lanes as wanted, each with its head, listed in pages in the order of their names."""
    lanes = [Lane("session" if number % 2 else "human", f"{number:x}") for number in range(arena.lanes)]
    arena.random.shuffle(lanes)
    async with arena.store(f"{arena.lanes} lanes") as store:
        async with store.open() as backend:
            scribe = Scribe(backend)
            for begin in range(0, len(lanes), 500):
                some = lanes[begin : begin + 500]
                await scribe.own(*some)
                await scribe.write({lane: [fact(begin)] for lane in some})
        async with store.open() as backend:
            kinds: tuple[LaneKind | None, ...] = (None, "session", "human", "peer")
            for kind in kinds:
                wanted = sorted(lane for lane in lanes if kind in {None, lane.kind})
                found: list[tuple[Lane, Head]] = []
                while page := await backend.heads(
                    kind,
                    after=found[-1][0] if found else None,
                    limit=777,
                ):
                    require(len(page) <= 777, "a page is longer than its limit")
                    found += page
                require(
                    [lane for lane, _ in found] == wanted, f"other lanes of kind {kind}, or another order"
                )
                require(all(head == scribe.heads[lane] for lane, head in found), "a lane's head is another")
            for lane in arena.random.sample(lanes, min(50, len(lanes))):
                scribe.backend = backend
                await scribe.check_lane(lane)


STORING: dict[str, Callable[[Arena], Awaitable[None]]] = {
    "numbers from the genesis": numbers_from_the_genesis,
    "gives back every byte": gives_back_every_byte,
    "refuses a stale head": refuses_a_stale_head,
    "commits as a whole": commits_as_a_whole,
    "serialises its writes": serialises_its_writes,
    "finishes what it began": finishes_what_it_began,
    "says how it failed": says_how_it_failed,
    "holds many lanes": holds_many_lanes,
}
