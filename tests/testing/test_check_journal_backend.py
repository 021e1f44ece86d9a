"""The contract suite of a journal's backends passes the one in memory, and fails those that are broken (JRN-25)."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from tests.journal.memory_store import memory_factory
from web4.journal.errors import NotCommittedError, OutcomeUnknownError, WrongExpectedSeq
from web4.journal.record import Commit, Head, HeadMove, Snapshot
from web4.testing import JournalContractError, check_journal_backend
from web4.testing.journal import CHECKS, StoreUnderTest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from web4.journal.backends.memory import MemoryBackend
    from web4.journal.lane import Lane
    from web4.journal.record import OpenWork, Record

LANES = int(os.environ.get("WEB4_JOURNAL_LANES", "10000"))
ROUNDS = int(os.environ.get("WEB4_JOURNAL_ROUNDS", "20"))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
async def test_journal_contract_suite_memory(shared: bool, check: str) -> None:
    """JRN-25: the memory backend fulfils the contract, as one writer's and as a shared one."""
    factory, lanes = memory_factory(shared=shared), min(LANES, 1_000) if shared else LANES
    ran = await check_journal_backend(factory, only=[check], lanes=lanes, rounds=ROUNDS, patience=30 + ROUNDS)
    assert ran[check] > 0 or (check == "fences stale owners" and not shared)


class Broken:
    """A backend that is as good as the one it wraps, until somebody breaks it."""

    def __init__(self, inner: MemoryBackend) -> None:
        self.inner = inner
        self.store = inner.store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class LosesARecord(Broken):
    async def commit(self, commit: Commit) -> int:
        number = await self.inner.commit(commit)
        if len(commit.records) == 2:
            del self.store.places[self.store.positions[-1]]
        return number


class LosesARowAtReopening(Broken):
    def __init__(self, inner: MemoryBackend) -> None:
        super().__init__(inner)
        for stored in self.store.lanes.values():
            if stored.rows:
                stored.rows.pop()


class AcknowledgesTooSoon(Broken):
    """Says that it committed, and does so in a while."""

    pending: list[Commit]

    async def commit(self, commit: Commit) -> int:
        if not self.__dict__.get("pending"):
            self.pending = [commit]
            await trio.lowlevel.checkpoint()
            return self.store.commits + 1
        await self.inner.commit(self.pending.pop())
        return await self.inner.commit(commit)


class MixesUpHistory(Broken):
    async def scan(self, **arguments: Any) -> list[Record]:
        return sorted(await self.inner.scan(**arguments), key=lambda one: (one.lane, one.seq))


class IsNotAtomic(Broken):
    """Commits lane by lane, so that a reader may come between."""

    async def commit(self, commit: Commit) -> int:
        for move in commit.heads[:-1]:
            mine = [one for one in commit.records if one.lane == move.lane]
            await self.inner.commit(Commit(mine, [move]))
        last = commit.heads[-1:]
        rest = [one for one in commit.records if last and one.lane == last[0].lane]
        return await self.inner.commit(Commit(rest, last, commit.bases, commit.erasures))


class AcceptsAStaleHead(Broken):
    async def commit(self, commit: Commit) -> int:
        moves = []
        for move in commit.heads:
            actual = self.store.head(move.lane)
            same = actual.seq == move.before.seq
            moves.append(move._replace(before=actual) if same else move)
        return await self.inner.commit(commit._replace(heads=moves))


class SaysAnotherHead(Broken):
    async def commit(self, commit: Commit) -> int:
        try:
            return await self.inner.commit(commit)
        except WrongExpectedSeq as error:
            raise WrongExpectedSeq(error.lane, expected=error.expected, actual=error.expected + 1) from None


class BurnsANumber(Broken):
    """Forgets to take back a part of a refused commit."""

    async def commit(self, commit: Commit) -> int:
        try:
            return await self.inner.commit(commit)
        except WrongExpectedSeq:
            for move in commit.heads:
                if self.store.head(move.lane) == move.before:
                    mine = [one for one in commit.records if one.lane == move.lane]
                    await self.inner.commit(Commit(mine, [move]))
            raise


class CountsCommitsBackwards(Broken):
    async def commit(self, commit: Commit) -> int:
        return 10_000 - await self.inner.commit(commit)


class StillHasWhatWasErased(Broken):
    async def commit(self, commit: Commit) -> int:
        return await self.inner.commit(commit._replace(erasures=()))


class KeepsErasedBytesSomewhere(Broken):
    async def commit(self, commit: Commit) -> int:
        for lane, _ in commit.erasures:
            for row in self.store.lanes[lane].rows if lane in self.store.lanes else ():
                self.store.blobs[f"old{row.position}"] = (row.payload or b"", 0)
        return await self.inner.commit(commit)


class ErasesOneTooMany(Broken):
    async def commit(self, commit: Commit) -> int:
        more = [(lane, seq + 1) for lane, seq in commit.erasures]
        return await self.inner.commit(commit._replace(erasures=more))


class ForgetsAnEmptiedLane(Broken):
    async def prune(self, lane: Lane, *, limit: int) -> int:
        removed = await self.inner.prune(lane, limit=limit)
        if lane in self.store.lanes and not self.store.lanes[lane].rows:
            del self.store.lanes[lane]
            self.store.names.remove(lane)
        return removed


class ShowsWhatABaseStandsFor(Broken):
    """Until it is pruned."""

    async def find(self, ref: tuple[str, str], **arguments: Any) -> list[Record]:
        bases = {lane: stored.head for lane, stored in self.store.lanes.items()}
        for lane, head in bases.items():
            self.store.lanes[lane].head = head._replace(base_seq=0)
        try:
            return await self.inner.find(ref, **arguments)
        finally:
            for lane, head in bases.items():
                self.store.lanes[lane].head = head


class PrunesTooMuch(Broken):
    async def prune(self, lane: Lane, *, limit: int) -> int:
        stored = self.store.lanes.get(lane)
        if stored is None or len(stored.rows) < 2:
            return await self.inner.prune(lane, limit=limit)
        head = stored.head
        stored.head = head._replace(base_seq=max(head.base_seq, stored.first + 1))
        removed = await self.inner.prune(lane, limit=limit)
        stored.head = head
        return removed


class DiscardsTheBase(Broken):
    async def put_snapshot(self, snapshot: Snapshot, *, keep: int) -> None:
        await self.inner.put_snapshot(snapshot, keep=keep)
        known = self.store.snapshots[snapshot.lane]
        for seq in sorted(known)[:-keep]:
            del known[seq]


class KeepsTheOldestSnapshots(Broken):
    async def put_snapshot(self, snapshot: Snapshot, *, keep: int) -> None:
        if len(self.store.snapshots.get(snapshot.lane, {})) < keep:
            await self.inner.put_snapshot(snapshot, keep=keep)


class ForgetsBlobTimes(Broken):
    async def put_blob(self, blob: str, data: bytes, *, at: int) -> None:
        if blob not in self.store.blobs:
            await self.inner.put_blob(blob, data, at=at)


class RemovesBlobsThatAreNeededAgain(Broken):
    async def delete_blob(self, blob: str, *, before: int | None = None) -> None:
        await self.inner.delete_blob(blob)


class ForgetsToCutHistory(Broken):
    async def cut(self, lane: Lane, head: Head, work: Any) -> int:
        places = dict(self.store.places)
        gone = await self.inner.cut(lane, head, work)
        rows = {row.position for stored in self.store.lanes.values() for row in stored.rows}
        for position in sorted(set(places) - rows)[:1]:
            self.store.places[position] = places[min(rows)]
        return gone


class PagesTwice(Broken):
    """Its pages begin with the record they should begin after."""

    async def scan(self, *, after: int = 0, **arguments: Any) -> list[Record]:
        return await self.inner.scan(after=max(0, after - 1), **arguments)


class ReadsAPatternForAName(Broken):
    """`_` is any character, as in SQL."""

    async def read(self, lane: Lane, **arguments: Any) -> list[Record]:
        if lane.id == "a_b":
            lane = type(lane)(lane.kind, "aXb")
        return await self.inner.read(lane, **arguments)


class JoinsReferences(Broken):
    async def find(self, ref: tuple[str, str], **arguments: Any) -> list[Record]:
        for known in self.store.refs:
            if "".join(known) == "".join(ref):
                ref = known
                break
        return await self.inner.find(ref, **arguments)


class ForgetsThatItStarted(Broken):
    async def open_work(self, *arguments: Any, **more: Any) -> list[OpenWork]:
        return [one._replace(started=False) for one in await self.inner.open_work(*arguments, **more)]


class MixesUpCommandsAndEffects(Broken):
    async def commit(self, commit: Commit) -> int:
        number = await self.inner.commit(commit)
        ended = {
            (one.lane, one.work.subject) for one in commit.records if one.work and one.work.phase == "end"
        }
        for key in [key for key in self.store.work if (key[0], key[2]) in ended]:
            one = self.store.work.pop(key)
            del self.store.work_at[one.lane, one.seq]
            self.store.by_place.remove((one.lane, one.seq))
        return number


class SaysItFailedThoughItDid(Broken):
    async def commit(self, commit: Commit) -> int:
        try:
            return await self.inner.commit(commit)
        except OutcomeUnknownError:
            raise NotCommittedError("it may be there") from None


class RecoversNothing(Broken):
    async def recover(self, commit: Commit) -> int | None:
        await self.inner.recover(commit)
        return None


class TakesCommitsInDoubt(Broken):
    async def commit(self, commit: Commit) -> int:
        self.inner._doubtful = False
        return await self.inner.commit(commit)


class KeepsATornTail(Broken):
    async def recover(self, commit: Commit) -> int | None:
        for one in list(self.store.tail)[:1]:
            await self.inner.recover(commit)
            move = next(move for move in commit.heads if move.lane == one.lane)
            after = Head(one.seq, one.hash, one.at, move.before.base_seq, move.before.base_hash)
            self.store.apply(Commit([one], [HeadMove(one.lane, move.before, after)]), self.inner.boot)
        return await self.inner.recover(commit)


class IsUndoneByCancelling(Broken):
    """Acknowledges a part when it is cancelled in the middle."""

    async def commit(self, commit: Commit) -> int:
        first = commit.heads[:1]
        mine = [one for one in commit.records if one.lane == first[0].lane]
        await self.inner.commit(Commit(mine, first))
        await trio.lowlevel.checkpoint()
        rest = [one for one in commit.records if one.lane != first[0].lane]
        return await self.inner.commit(Commit(rest, commit.heads[1:]))


class LetsASecondWriterIn(Broken):
    def __init__(self, inner: MemoryBackend) -> None:
        super().__init__(inner)
        self.shared = False
        self.store.owners = _OfAll(inner.boot)


class _OfAll(dict[Any, int]):
    def __init__(self, boot: int) -> None:
        super().__init__()
        self.boot = boot

    def get(self, key: object, default: Any = None) -> Any:
        return self.boot


class LetsReadersWrite(Broken):
    async def put_blob(self, blob: str, data: bytes, *, at: int) -> None:
        self.store.blobs[blob] = (data, at)


class NeverTellsOfChanges(Broken):
    async def changed(self, lane: Lane, seq: int) -> None:
        await trio.sleep_forever()


class FlipsABit(Broken):
    async def read(self, lane: Lane, **arguments: Any) -> list[Record]:
        found = await self.inner.read(lane, **arguments)
        return [
            msgspec.structs.replace(one, salt=None) if one.salt == b"" else one  # NULL is not an empty salt
            for one in found
        ]


class FoldsCase(Broken):
    async def head(self, lane: Lane) -> Head:
        return await self.inner.head(type(lane)(lane.kind, lane.id.lower()))


class ReadsALittleBehind(Broken):
    """A reader on another connection, that sees the head before the records."""

    async def read(self, lane: Lane, **arguments: Any) -> list[Record]:
        found = await self.inner.read(lane, **arguments)
        return found[:-1] if len(found) > 1 and not arguments.get("reverse") else found


class SkipsInPages(Broken):
    """A follower that reads from storage misses one record in each full page."""

    async def read(self, lane: Lane, *, limit: int = 500, **arguments: Any) -> list[Record]:
        found = await self.inner.read(lane, limit=limit, **arguments)
        if len(found) == limit and limit > 1:
            del found[limit // 2]
        return found


@pytest.mark.parametrize(
    ("breaks", "check"),
    [
        (LosesARecord, "reads in pages"),
        (LosesARowAtReopening, "numbers from the genesis"),
        (AcknowledgesTooSoon, "serialises its writes"),
        (AcknowledgesTooSoon, "numbers from the genesis"),
        (MixesUpHistory, "reads in pages"),
        (IsNotAtomic, "commits as a whole"),
        (IsNotAtomic, "refuses a stale head"),
        (AcceptsAStaleHead, "refuses a stale head"),
        (SaysAnotherHead, "refuses a stale head"),
        (BurnsANumber, "refuses a stale head"),
        (CountsCommitsBackwards, "numbers from the genesis"),
        (StillHasWhatWasErased, "erases"),
        (KeepsErasedBytesSomewhere, "erases from its files"),
        (ErasesOneTooMany, "erases"),
        (ForgetsAnEmptiedLane, "compacts"),
        (ShowsWhatABaseStandsFor, "compacts"),
        (PrunesTooMuch, "compacts"),
        (PrunesTooMuch, "follows through everything"),
        (DiscardsTheBase, "keeps snapshots"),
        (KeepsTheOldestSnapshots, "keeps snapshots"),
        (ForgetsBlobTimes, "keeps blobs"),
        (RemovesBlobsThatAreNeededAgain, "keeps blobs"),
        (ForgetsToCutHistory, "is repaired"),
        (PagesTwice, "pages while writing"),
        (PagesTwice, "reads in pages"),
        (ReadsAPatternForAName, "gives back every byte"),
        (JoinsReferences, "finds by reference"),
        (ForgetsThatItStarted, "keeps unfinished work"),
        (MixesUpCommandsAndEffects, "keeps unfinished work"),
        (SaysItFailedThoughItDid, "says how it failed"),
        (SaysItFailedThoughItDid, "reads back the unknown"),
        (RecoversNothing, "says how it failed"),
        (RecoversNothing, "reads back the unknown"),
        (TakesCommitsInDoubt, "says how it failed"),
        (KeepsATornTail, "says how it failed"),
        (KeepsATornTail, "reads back the unknown"),
        (IsUndoneByCancelling, "finishes what it began"),
        (LetsReadersWrite, "opens for reading"),
        (NeverTellsOfChanges, "tells of changes"),
        (FlipsABit, "gives back every byte"),
        (FoldsCase, "gives back every byte"),
        (ReadsALittleBehind, "numbers from the genesis"),
        (SkipsInPages, "follows through everything"),
        (SkipsInPages, "waits for nobody"),
    ],
)
async def test_a_broken_backend_fails(breaks: type[Broken], check: str) -> None:
    """JRN-25: each check sees what it is for, and says where."""
    with pytest.raises(JournalContractError) as caught:
        await check_journal_backend(
            memory_factory(breaks=breaks), only=[check], lanes=50, rounds=20, patience=0.5
        )
    assert str(caught.value).startswith(f"{check}: ")


async def test_a_backend_without_a_lock_fails() -> None:
    """JRN-11b: two writers in one store, neither of which is told."""
    with pytest.raises(JournalContractError, match=r"^has one writer: .*second writer"):
        await check_journal_backend(
            memory_factory(shared=True, breaks=LetsASecondWriterIn), only=["has one writer"]
        )


async def test_a_backend_without_fences_fails() -> None:
    """JRN-24b: an owner that was replaced still writes."""

    class HasNoFence(Broken):
        async def commit(self, commit: Commit) -> int:
            for move in commit.heads:
                self.store.owners[move.lane] = self.inner.boot
            return await self.inner.commit(commit)

    with pytest.raises(JournalContractError, match=r"^fences stale owners: .*stale owner has written"):
        await check_journal_backend(
            memory_factory(shared=True, breaks=HasNoFence), only=["fences stale owners"]
        )


async def test_a_backend_that_loses_what_it_acknowledged_fails() -> None:
    """JRN-12b: what was acknowledged is not there after a kill."""
    whole = memory_factory()

    @asynccontextmanager
    async def forgetful() -> AsyncGenerator[StoreUnderTest]:
        stores: list[Any] = []

        def broken(backend: MemoryBackend) -> Broken:
            stores.append(backend.store)
            return Broken(backend)

        async with memory_factory(breaks=broken)() as store:

            async def kill() -> None:
                assert store.kill is not None
                await store.kill()
                for lane in stores[-1].lanes.values():
                    if lane.rows:
                        lane.rows.pop()
                        before = lane.rows[-1].hash if lane.rows else lane.head.base_hash
                        lane.head = lane.head._replace(seq=lane.head.seq - 1, hash=before)

            yield StoreUnderTest(open=store.open, kill=kill)

    with pytest.raises(JournalContractError, match=r"^is killed: .*acknowledged record is lost"):
        await check_journal_backend(forgetful, only=["is killed"])
    assert (await check_journal_backend(whole, only=["is killed"]))["is killed"] == 8


async def test_what_a_store_cannot_do_is_left_out() -> None:
    @asynccontextmanager
    async def plain() -> AsyncGenerator[StoreUnderTest]:
        async with memory_factory()() as store:
            yield StoreUnderTest(open=store.open)

    ran = await check_journal_backend(plain, lanes=10, rounds=2)
    assert {name for name, cases in ran.items() if not cases} == {
        "erases from its files",
        "fences stale owners",
        "finds damage",
        "is killed",
        "reads back the unknown",
        "says how it failed",
        "suspends and resumes",
    }


async def test_what_check_journal_backend_refuses() -> None:
    with pytest.raises(ValueError, match="no check telepathy"):
        await check_journal_backend(memory_factory(), only=["telepathy"])
    with pytest.raises(ValueError, match="rounds"):
        await check_journal_backend(memory_factory(), rounds=0)
