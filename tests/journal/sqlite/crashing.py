"""Drives a store through faults and power cuts, and compares what is left with the model after each."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.journal.sqlite.reference import Chooser, Model, ModelLane, difference, one_commit, seal
from web4 import _core
from web4.journal.backends.sqlite import SqliteBackend, SqliteLimits, open_sqlite
from web4.journal.errors import (
    JournalOpenError,
    JournalUnavailable,
    NotCommittedError,
    OutcomeUnknownError,
    WrongExpectedSeq,
)
from web4.journal.lane import Lane
from web4.journal.record import Commit
from web4.testing.disk import Fault, SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

LIMITS = SqliteLimits(wal_pages=60, reading_threads=1, open_s=60)


class Crashed(Exception):  # noqa: N818 - no error: what is wanted
    """The power went."""


class Ordeal:
    """One store, and what befalls it."""

    def __init__(self, seed: object, directory: Path) -> None:
        self.seed = seed
        self.directory = directory
        self.choose = Chooser(seed)
        self.disk = SimulatedDisk(f"disk-{seed}", seed=str(seed))
        self.model: Model | None = None
        self.possible: Model | None = None
        """The model, if what was under way when the power went is there."""
        self.crashes = 0
        """How many power cuts it survived."""
        self.recovered = 0
        """How many commits of unknown outcome turned out to be there."""
        self.gone: set[bytes] = set()
        """Beginnings of payloads that were erased or removed."""
        self.said: list[str] = []

    @property
    def faults(self) -> int:
        """How many faults struck that were no power cuts."""
        return self.disk.struck

    def fail(self, what: str) -> None:
        """End the test with the story of the last steps."""
        story = "; ".join(self.said[-40:])
        raise AssertionError(f"seed {self.seed!r}, after {self.crashes} crashes: {what}\n{story}")

    async def live(self) -> None:
        """Open, compare, work until the power goes or enough was done; leave the disk as a cut leaves it."""
        chance = self.choose.random
        struck = self.disk.struck
        if chance.random() < 0.2:
            self._arm(30)
        try:
            async with open_sqlite(self.directory, vfs=self.disk.name, limits=LIMITS) as backend:
                self.said.append(f"boot {backend.boot}")
                await self._compare(backend)
                for _ in range(chance.choice((0, 1, 2, 4, 8, 16))):
                    if chance.random() < 0.5:
                        self._arm(40)
                    await self._do(backend)
                if chance.random() < 0.5:
                    self.disk.cut()
        except Crashed:
            self.said.append("crashed")
        except JournalUnavailable as error:
            if not self.disk.off:
                self.fail(f"it cannot be read: {error}")
            self.said.append("crashed while it was read")
        except JournalOpenError as error:
            if self.disk.struck == struck:
                self.fail(f"not opened: {error}")
            self.said.append(f"not opened: {error}")
        self.disk.disarm()
        if self.disk.off:
            self.crashes += 1
            self.said.append("power back")
            self.disk.restore()

    def _arm(self, within: int) -> None:
        fault: Fault = self.choose.random.choice(("cut", "cut", "sync", "write", "full"))
        self.disk.arm(fault, after=self.choose.random.randrange(within if fault != "sync" else 3))
        self.said.append(f"[{fault}]")

    async def _compare(self, backend: SqliteBackend) -> None:
        if self.model is None or (not self.model.lanes and not self.model.blobs):
            self.model = Model(backend.journal_id)  # a store that was never acknowledged may be a new one
            if self.possible is not None and self.possible.journal_id != backend.journal_id:
                self.possible = None
        wrong = await difference(backend, self.model)
        if wrong is not None and self.possible is not None:
            wrong = await difference(backend, self.possible)
            self.model = self.possible
        if wrong is not None:
            self.fail(wrong)
        self.possible = None

    # --- steps ----------------------------------------------------------------------------------------------

    async def _do(self, backend: SqliteBackend) -> None:
        steps = [self._append] * 8 + [self._stale, self._snapshot, self._compact, self._prune, self._erase]
        steps += [self._scrub, self._blob, self._look]
        step = self.choose.random.choice(steps)
        self.said.append(step.__name__[1:])
        await step(backend)

    def _written(self) -> Lane | None:
        """A lane with records above its base."""
        assert self.model is not None
        known = [lane for lane, one in self.model.lanes.items() if one.head.seq > one.head.base_seq]
        return self.choose.random.choice(sorted(known)) if known else None

    async def _persist(self, backend: SqliteBackend, commit: Commit) -> None:
        """What the journal does with a commit (JRN-15a, b)."""
        assert self.model is not None
        unknown = False
        while True:
            self.possible = self.model.twin()
            self.possible.apply(commit)
            try:
                if unknown:
                    found = await backend.recover(commit) is not None
                    unknown = False
                    self.said.append(f"recovered: {found}")
                    self.recovered += found
                    if found:
                        break
                    self.possible = None
                    continue
                await backend.commit(commit)
                break
            except NotCommittedError as error:
                self._again(error)
                if not unknown:
                    self.possible = None  # it said so: then it must not be there
            except OutcomeUnknownError:
                unknown = True
            if self.disk.off:
                raise Crashed
        self.model.apply(commit)
        self.possible = None

    async def _repeat(self, work: Callable[[], Awaitable[object]], after: Model | None = None) -> None:
        """Do what is safe to repeat until it is done. While it is under way, the store may be as `after`."""
        while True:
            self.possible = after
            try:
                await work()
                break
            except NotCommittedError as error:
                if self.disk.off:
                    raise Crashed from None
                self._again(error)
        if after is not None:
            self.model = after
        self.possible = None

    def _again(self, error: NotCommittedError) -> None:
        self.said.append(f"not committed: {error}")
        if len(self.said) > 10 and all(one.startswith("not committed") for one in self.said[-10:]):
            self.fail("it never gets through")

    async def _append(self, backend: SqliteBackend) -> None:
        assert self.model is not None
        await self._persist(backend, self.choose.append(self.model))

    async def _stale(self, backend: SqliteBackend) -> None:
        """A commit that was decided on an older head, or comes a second time."""
        lane = self._written()
        if lane is None or self.model is None:
            return
        known = self.model.lanes[lane]
        last = known.records[-1]
        before = known.head._replace(seq=last.seq - 1, hash=bytes(32))
        commit = one_commit(seal(lane, before, [self.choose.payload()]))
        try:
            await backend.commit(commit)
        except WrongExpectedSeq as error:
            assert (error.expected, error.actual) == (last.seq - 1, last.seq)  # noqa: PT017 - both are told
        except (NotCommittedError, OutcomeUnknownError):
            if self.disk.off:
                raise Crashed from None
        else:
            self.fail("a stale commit was taken")

    async def _snapshot(self, backend: SqliteBackend) -> None:
        lane = self._written()
        if lane is None or self.model is None:
            return
        snapshot = self.choose.snapshot(self.model, lane)
        after = self.model.twin()
        known = after.lanes[lane]
        known.snapshots[snapshot.seq] = snapshot
        above = sorted(seq for seq in known.snapshots if seq > known.head.base_seq)
        for seq in above[:-2]:
            del known.snapshots[seq]
        await self._repeat(lambda: backend.put_snapshot(snapshot, keep=2), after)

    async def _compact(self, backend: SqliteBackend) -> None:
        lane = self._written()
        if lane is None or self.model is None:
            return
        base = self.choose.snapshot(self.model, lane)
        records = self.model.lanes[lane].records[: base.seq]
        parts = [seal(Lane("server"), self.model.head(Lane("server")), [self.choose.payload()])]
        await self._persist(backend, one_commit(*parts)._replace(bases=(base,)))
        self.gone.update(record.payload[:17] for record in records)

    async def _prune(self, backend: SqliteBackend) -> None:
        assert self.model is not None
        for lane in self.model.lanes:
            limit = self.choose.random.choice((1, 10, 1000))
            await self._repeat(lambda lane=lane, limit=limit: backend.prune(lane, limit=limit))  # type: ignore[misc]

    async def _erase(self, backend: SqliteBackend) -> None:
        lane = self._written()
        if lane is None or self.model is None:
            return
        known: ModelLane = self.model.lanes[lane]
        last = self.choose.random.randint(known.head.base_seq + 1, known.head.seq)
        await self._persist(backend, Commit((), (), (), ((lane, last),)))
        self.gone.update(record.payload[:17] for record in known.records[:last])

    async def _scrub(self, backend: SqliteBackend) -> None:
        """Nothing that was erased or removed is in any file afterwards (JRN-16)."""
        assert self.model is not None
        for lane in self.model.lanes:
            await self._repeat(lambda lane=lane: backend.prune(lane, limit=100_000))  # type: ignore[misc]
        await self._repeat(backend.scrub)
        for path in self.directory.iterdir():
            data = path.read_bytes()
            left = sorted(payload for payload in self.gone if payload in data)
            if left:
                self.fail(f"{path.name} still holds {left}")

    async def _blob(self, backend: SqliteBackend) -> None:
        assert self.model is not None
        size = self.choose.random.choice((0, 10, 5000, 1_200_000))
        data = self.choose.payload() + bytes(size)
        name = "b3:" + _core.blake3(data).hex()
        if len(self.model.blobs) > 2:
            first = next(iter(self.model.blobs))
            after = self.model.twin()
            del after.blobs[first]
            await self._repeat(lambda: backend.delete_blob(first), after)
        after = self.model.twin()
        after.blobs[name] = data
        await self._repeat(lambda: backend.put_blob(name, data, at=1), after)

    async def _look(self, backend: SqliteBackend) -> None:
        assert self.model is not None
        wrong = await difference(backend, self.model)
        if wrong is not None and not self.disk.off:
            self.fail(wrong)

    def close(self) -> None:
        """Remove what is left."""
        self.disk.unregister()
        shutil.rmtree(self.directory, ignore_errors=True)
