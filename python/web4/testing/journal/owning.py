"""Checks of who may open, write and read a store at the same time (JRN-6d, JRN-11, JRN-24b)."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import trio

from web4.journal.errors import (
    JournalLocked,
    JournalOpenError,
    NotCommittedError,
    NotWriterError,
    WrongExpectedSeq,
)
from web4.testing.journal.arena import reopened
from web4.testing.journal.scribe import JournalContractError, Scribe, require
from web4.testing.journal.storing import ONE, TWO, fact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.journal.backends.backend import Backend
    from web4.journal.record import Commit
    from web4.testing.journal.arena import Arena
    from web4.testing.journal.store import StoreUnderTest


async def has_one_writer(arena: Arena) -> None:
    """JRN-11b: a second opening for writing is refused at once; after the first has ended, or died, the next is not."""
    async with arena.store("a second opening for writing") as store:
        async with store.open() as backend:
            scribe = Scribe(backend)
            if not backend.shared:
                await scribe.write({ONE: [fact(1)]})
                for _ in range(2):
                    await _locked(store)
                await scribe.write({ONE: [fact(2)]})
        async with reopened(store, scribe):
            await scribe.write({ONE: [fact(3)]})
            await scribe.check_all()
            if store.kill is not None:
                await store.kill()
        async with reopened(store, scribe):
            await scribe.write({ONE: [fact(4)]})
            await scribe.check_all()


async def _locked(store: StoreUnderTest) -> None:
    try:
        async with store.open():
            require(condition=False, what="a second writer was let in")
    except JournalLocked:
        pass


async def is_killed(arena: Arena) -> None:
    """JRN-12a, b: killed while it commits, the next opening finds whole commits, and every acknowledged one."""
    for moment in range(8):
        async with arena.store(f"killed at moment {moment}") as store:
            if store.kill is None:
                arena.leave_out()
                return
            scribe = await _killed(store, moment)
            async with store.open() as backend:
                head, other = await backend.head(ONE), await backend.head(TWO)
                require(head.seq >= scribe.heads[ONE].seq, "an acknowledged record is lost")
                require(
                    head.seq == other.seq, f"a commit over two lanes: they end at {head.seq} and {other.seq}"
                )
                # What was committed and not acknowledged counts like the rest.
                for number in range(scribe.heads[ONE].seq, head.seq):
                    commit = scribe.draft({ONE: [fact(number)], TWO: [fact(number)]})
                    found = await backend.read(ONE, after=number, limit=1)
                    scribe.took(commit, found[0].commit)
                await scribe.reopened(backend)
                await scribe.write({ONE: [fact()], TWO: [fact()]})
                await scribe.check_all()


async def _killed(store: StoreUnderTest, moment: int) -> Scribe:
    """Write until the store is killed; what was acknowledged."""
    assert store.kill is not None
    async with store.open() as backend:
        scribe = Scribe(backend)
        await scribe.own(ONE, TWO)
        if not moment:
            await scribe.write({ONE: [fact()], TWO: [fact()]})
        killed = False

        async def write() -> None:
            try:
                while True:
                    number = scribe.heads[ONE].seq
                    await scribe.write({ONE: [fact(number)], TWO: [fact(number)]})
            except Exception:
                # What a dying backend says is its own business; only the store counts.
                if not killed:
                    raise

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            for _ in range(5 * moment):
                await trio.lowlevel.checkpoint()
            killed = True
            await store.kill()
            nursery.cancel_scope.cancel()
    return scribe


async def opens_for_reading(arena: Arena) -> None:
    """JRN-11b, JRN-6d: readers are never refused beside a writer, see what is committed, and cannot write."""
    async with arena.store("readers") as store:
        try:
            async with store.open(read_only=True):
                require(condition=False, what="a journal was opened for reading that nobody wrote")
        except JournalOpenError as error:
            require(error.code == "not_found", f"a journal nobody wrote is {error.code}")
        async with store.open() as backend:
            scribe = Scribe(backend)
            await scribe.write({ONE: [fact(1)]})
            await backend.put_blob("b3:" + "1" * 64, b"blob", at=0)
            async with store.open(read_only=True) as reader, store.open(read_only=True) as another:
                for one in (reader, another):
                    await _only_reads(one, scribe)
                    require(one.hash_key == backend.hash_key, "the reader has another hash key")
                scribe.backend = backend
                await scribe.write({ONE: [fact(2)], TWO: [fact(3)]}, bases=[scribe.snapshot(ONE, 1)])
                for one in (reader, another):
                    await _only_reads(one, scribe)
        async with store.open(read_only=True) as reader:
            await _only_reads(reader, scribe)
            async with reopened(store, scribe):
                await scribe.write({ONE: [fact(4)]})
                await _only_reads(reader, scribe)


async def _only_reads(reader: Backend, scribe: Scribe) -> None:
    require(reader.read_only and reader.boot == 0, "a reader says that it writes, or counts as a boot")
    writer, scribe.backend = scribe.backend, reader
    await scribe.check_all()
    commit = scribe.draft({ONE: [fact(9)]})
    refused: dict[str, Callable[[], Awaitable[Any]]] = {
        "own": lambda: reader.own(ONE),
        "commit": lambda: reader.commit(commit),
        "put_snapshot": lambda: reader.put_snapshot(scribe.snapshot(ONE, scribe.heads[ONE].seq), keep=2),
        "put_blob": lambda: reader.put_blob("b3:" + "2" * 64, b"", at=0),
        "delete_blob": lambda: reader.delete_blob("b3:" + "1" * 64),
        "prune": lambda: reader.prune(ONE, limit=1),
    }
    for name, call in refused.items():
        try:
            await call()
        except NotWriterError as error:
            require(error.code == "read_only", f"{name} of a reader: {error.code}")
        else:
            require(condition=False, what=f"a reader was let do {name}")
    require(await reader.blob("b3:" + "1" * 64) == b"blob", "a reader removed a blob")
    await scribe.check_all()
    scribe.backend = writer


async def tells_of_changes(arena: Arena) -> None:
    """JRN-6b: whoever waits for a lane to move by another's writing is woken."""
    async with arena.store("a reader that waits") as store, store.open() as backend:
        scribe = Scribe(backend)
        await scribe.write({ONE: [fact(1)]})
        async with store.open(read_only=True) as reader:
            seen: list[int] = []

            async def watch() -> None:
                while len(seen) < arena.rounds:
                    if records := await reader.read(ONE, after=seen[-1] if seen else 0):
                        seen.extend(one.seq for one in records)
                    else:
                        await reader.changed(ONE, seen[-1])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch)
                for number in range(arena.rounds):
                    await scribe.write({TWO: [fact(number)]})
                    await scribe.write({ONE: [fact(number)]})
            require(seen == list(range(1, len(seen) + 1)), "a record was missed, or seen twice")
            # Nothing happens on this lane: whether it returns early is its business, that it can be left is not.
            with trio.move_on_after(0.01):
                await reader.changed(ONE, 10**6)


async def fences_stale_owners(arena: Arena) -> None:
    """JRN-24b: a lane has one owner; once another has taken it, nothing of the old one is ever written."""
    async with arena.store("two owners") as store, store.open() as first, AsyncExitStack() as stack:
        if not first.shared:
            arena.leave_out()
            return
        second = await stack.enter_async_context(store.open())
        require(first.boot != second.boot, "two openings are the same boot")
        scribe, rival = Scribe(first), Scribe(second)
        await scribe.write({ONE: [fact(1)], TWO: [fact(2)]})
        await _refused(lambda: second.own(ONE), "lane_owned")
        await _refused_commit(second, Scribe(second), scribe)
        stale = scribe.draft({ONE: [fact(3)]})
        both = scribe.draft({ONE: [fact(3)], TWO: [fact(4)]})
        await first.release(ONE)
        rival.heads, rival.written = dict(scribe.heads), list(scribe.written)
        await rival.own(ONE)
        for commit in (stale, both):
            await _stale(first, commit)
        await rival.write({ONE: [fact(5)]})
        for commit in (stale, both):
            await _stale(first, commit)
        await rival.check_lane(ONE)
        await scribe.check_lane(TWO)
        if store.expire is None:
            return
        await store.expire()
        await rival.own(TWO)
        for commit in (scribe.draft({TWO: [fact(6)]}), both):
            await _stale(first, commit)
        await rival.write({TWO: [fact(7)]})
        await rival.check_all()


async def _refused(call: Callable[[], Awaitable[Any]], code: str) -> None:
    try:
        await call()
    except NotWriterError as error:
        require(error.code == code, f"refused as {error.code}, not {code}")
    else:
        require(condition=False, what="a lane has two owners")


async def _refused_commit(backend: Backend, forger: Scribe, scribe: Scribe) -> None:
    """Somebody who never owned a lane writes to it behind its very head."""
    forger.heads = dict(scribe.heads)
    await _stale(backend, forger.draft({ONE: [fact(9)]}))
    await scribe.check_all()


async def _stale(backend: Backend, commit: Commit) -> None:
    try:
        await backend.commit(commit)
    except (NotWriterError, WrongExpectedSeq):
        return
    except NotCommittedError as error:
        raise JournalContractError(f"a stale owner is told to try again: {error}") from None
    require(condition=False, what="a stale owner has written")


OWNING: dict[str, Callable[[Arena], Awaitable[None]]] = {
    "has one writer": has_one_writer,
    "is killed": is_killed,
    "opens for reading": opens_for_reading,
    "tells of changes": tells_of_changes,
    "fences stale owners": fences_stale_owners,
}
