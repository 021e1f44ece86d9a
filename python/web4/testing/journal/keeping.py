"""Checks of what a backend keeps and lets go: snapshots, bases, erasure, blobs (JRN-7, JRN-8, JRN-16, JRN-17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4 import _core
from web4.journal.lane import SERVER, Lane
from web4.testing.journal.arena import reopened
from web4.testing.journal.scribe import START_MS, Draft, Scribe, require, same_records
from web4.testing.journal.storing import ONE, TWO, fact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.journal.backends.backend import Backend
    from web4.journal.record import Snapshot
    from web4.testing.journal.arena import Arena


_IDLE = Lane("human", "idle")


async def keeps_snapshots(arena: Arena) -> None:
    """JRN-7: the newest few of each lane, whole; the base's stays whatever comes, and is the last."""
    async with arena.store("snapshots above and at a base") as store:
        async with store.open() as backend:
            scribe = Scribe(backend)
            await scribe.write({ONE: [fact(n) for n in range(20)], TWO: [fact(n) for n in range(3)]})
            large = scribe.snapshot(ONE, 2, b'{"s":"%s"}' % (b"x" * 300_000))
            other = scribe.snapshot(TWO, 2)
            await backend.put_snapshot(other, keep=2)
            await backend.put_snapshot(large, keep=2)
            require(await backend.snapshots(ONE) == [large], "a snapshot is not what was stored")
            await backend.put_snapshot(scribe.snapshot(ONE, 9), keep=2)
            await backend.put_snapshot(scribe.snapshot(ONE, 5), keep=2)
            await _snapshots(backend, [scribe.snapshot(ONE, 9), scribe.snapshot(ONE, 5)], "the newest two")
            again = scribe.snapshot(ONE, 9, b'{"state":2}')
            await backend.put_snapshot(again, keep=2)
            await _snapshots(backend, [again, scribe.snapshot(ONE, 5)], "one put anew at its number")
            base = scribe.snapshot(ONE, 7)
            await scribe.write({}, bases=[base])
            await _snapshots(backend, [again, base], "older ones go with a base")
            for seq in (12, 15, 18):
                await backend.put_snapshot(scribe.snapshot(ONE, seq), keep=2)
            kept = [scribe.snapshot(ONE, 18), scribe.snapshot(ONE, 15), base]
            await _snapshots(backend, kept, "the newest two beside the base's")
            require(await backend.snapshots(TWO) == [other], "another lane's snapshot was touched")
            await backend.put_snapshot(scribe.snapshot(ONE, 7, b'{"state":3}'), keep=2)
            await backend.put_snapshot(scribe.snapshot(ONE, 4), keep=2)
            await _snapshots(backend, kept, "nothing is put at a base or below it")
        async with reopened(store, scribe) as backend:
            await _snapshots(backend, kept, "after a restart")
            at_the_end = scribe.snapshot(ONE, 20)
            await scribe.write({}, bases=[at_the_end])
            await _snapshots(backend, [at_the_end], "a base at the end of its lane")


async def _snapshots(backend: Backend, expected: list[Snapshot], what: str) -> None:
    found = await backend.snapshots(ONE)
    numbers = [one.seq for one in found]
    require(found == expected, f"{what}: snapshots at {numbers}, not at {[one.seq for one in expected]}")


async def compacts(arena: Arena) -> None:
    """JRN-17: records below a base are gone at once and for good; head, numbers and chain go on; no lane is lost."""
    async with arena.store("compacting in slices") as store:
        async with store.open() as backend:
            scribe = Scribe(backend)
            ref = (("command", "c"),)
            events = [Draft(at=START_MS + n, refs=ref) for n in range(30)]
            await scribe.write({ONE: events, TWO: events})
            require(await backend.prune(ONE, limit=100) == 0, "records were removed that no base stands for")
            # A base comes with what the journal says about it, and its lane's head need not move.
            await scribe.write({SERVER: [fact(1)]}, bases=[scribe.snapshot(ONE, 12)])
            await _gone(scribe, ref[0])
            require(await backend.prune(ONE, limit=5) == 5, "a slice is not as large as it could be")
            await _gone(scribe, ref[0])
        async with reopened(store, scribe) as backend:
            await _gone(scribe, ref[0])
            require(await backend.prune(ONE, limit=100) == 7, "another number of records was left to remove")
            require(await backend.prune(ONE, limit=100) == 0, "records were removed twice")
            require(await backend.prune(TWO, limit=100) == 0, "another lane was pruned")
            await scribe.write({ONE: [fact(2)]}, bases=[scribe.snapshot(ONE, 20)])
            await _gone(scribe, ref[0])
            # The whole lane goes, with what is appended in the same commit left alone.
            await scribe.write({}, bases=[scribe.snapshot(ONE, 31)])
            require(await backend.prune(ONE, limit=100) == 19, "another number of records was left to remove")
            require(await backend.read(ONE) == [], "an emptied lane has records")
            await _gone(scribe, ref[0])
        async with reopened(store, scribe) as backend:
            require([lane for lane, _ in await backend.heads()] == [SERVER, ONE, TWO], "a lane was forgotten")
            await scribe.write({ONE: [fact(3)]})
            require(scribe.heads[ONE].seq == 32, "an emptied lane counts from another number")
            await _gone(scribe, ref[0])


async def _gone(scribe: Scribe, ref: tuple[str, str]) -> None:
    """What a base stands for is shown by no way of reading."""
    await scribe.check_all()
    backend = scribe.backend
    same_records(await backend.scan(limit=10_000), scribe.expected(), what="history")
    expected = [one for one in scribe.expected() if ref in one.sealed.refs]
    same_records(await backend.find(ref, limit=10_000), expected, what="records by reference")


async def erases(arena: Arena) -> None:
    """JRN-3e, JRN-16a: payload and salt of a prefix are gone, and the chain verifies."""
    async with arena.store("erasing a prefix") as store:
        async with store.open() as backend:
            scribe = Scribe(backend)
            events = [Draft(b'{"n":%d}' % n, salt=bytes([n]) * 16) for n in range(12)]
            await scribe.write({ONE: events, TWO: [fact(n) for n in range(4)]})
            await scribe.write({SERVER: [fact(1)]}, erasures=[(ONE, 8)])
            await scribe.check_lane(ONE, erased_to=8)
            await scribe.check_lane(TWO)
            # Once more, lower, and of a lane that nobody wrote: there is nothing to do.
            await scribe.own(_IDLE)
            await scribe.write({}, erasures=[(ONE, 3), (_IDLE, 9)])
            await scribe.check_lane(ONE, erased_to=8)
        async with reopened(store, scribe) as backend:
            await scribe.check_lane(ONE, erased_to=8)
            await scribe.write({ONE: [fact(9)]}, erasures=[(ONE, 12)])
            await scribe.check_lane(ONE, erased_to=12)
            found = [one.erased for one in await backend.scan() if one.lane == ONE]
            require(found == [True] * 12 + [False], "history still has what was erased")


async def erases_from_its_files(arena: Arena) -> None:
    """JRN-16, scenario 20: bytes that were erased or removed are nowhere in the store."""
    secret, mark = b"a-needle-of-24-characters", b"something-that-stays-there"
    async with arena.store("a needle in a record, a snapshot and a blob") as store:
        if store.holds is None:
            arena.leave_out()
            return
        async with store.open() as backend:
            scribe = Scribe(backend)
            needles = [Draft(b'{"n":%d,"s":"%s"}' % (n, secret)) for n in range(12)]
            await scribe.write({ONE: [*needles, Draft(b'{"s":"%s"}' % mark)], TWO: needles})
            await scribe.write({}, erasures=[(ONE, 12)])
            await backend.put_snapshot(scribe.snapshot(TWO, 5, b'{"s":"%s"}' % secret), keep=1)
            await scribe.write({}, bases=[scribe.snapshot(TWO, 12)])
            await backend.prune(TWO, limit=100)
            name = f"b3:{_core.blake3(secret).hex()}"
            await backend.put_blob(name, secret, at=0)
            await backend.delete_blob(name)
            await backend.scrub()
            # First that it can see at all.
            require(await store.holds(mark), "the ability `holds` does not see what is there")
            require(not await store.holds(secret), "bytes that were erased or removed are in the store")
            await scribe.check_lane(ONE, erased_to=12)
        require(not await store.holds(secret), "bytes that were erased or removed came back at its closing")


async def keeps_blobs(arena: Arena) -> None:
    """JRN-8: by name, whole, listed in order with sizes and times; put again, only the time moves."""
    contents = [b"", b"\0\xff" * 50, arena.random.randbytes(1_500_000), *(b"%d" % n for n in range(12))]
    blobs = {f"b3:{_core.blake3(data).hex()}": data for data in contents}
    times = dict.fromkeys(blobs, 5)
    async with arena.store("blobs") as store:
        async with store.open() as backend:
            require(await backend.blobs() == [], "a new journal has blobs")
            for name, data in blobs.items():
                await backend.put_blob(name, data, at=5)
            again = sorted(blobs)[3]
            await backend.put_blob(again, blobs[again], at=START_MS)
            times[again] = START_MS
        async with store.open() as backend:
            for name, data in blobs.items():
                require(await backend.blob(name) == data, f"a blob of {len(data)} bytes is another")
            gone = sorted(blobs)[5]
            await backend.delete_blob(gone, before=4)
            await backend.delete_blob(again, before=START_MS - 1)
            require(await backend.blob(gone) == blobs[gone], "a blob was removed that is not so old")
            require(
                await backend.blob(again) == blobs[again], "a blob was removed that was put again meanwhile"
            )
            for before in (5, None):
                await backend.delete_blob(gone, before=before)
                require(await backend.blob(gone) is None, "a blob that was removed is there")
            require(await backend.blob("b3:nothing") is None, "a blob is there that nobody put")
            del blobs[gone]
            found: list[tuple[str, int, int]] = []
            while page := await backend.blobs(after=found[-1][0] if found else "", limit=4):
                require(len(page) <= 4, "a page is longer than its limit")
                found += page
            expected = [(name, len(blobs[name]), times[name]) for name in sorted(blobs)]
            require(found == expected, "blobs are listed otherwise")


KEEPING: dict[str, Callable[[Arena], Awaitable[None]]] = {
    "keeps snapshots": keeps_snapshots,
    "compacts": compacts,
    "erases": erases,
    "erases from its files": erases_from_its_files,
    "keeps blobs": keeps_blobs,
}
