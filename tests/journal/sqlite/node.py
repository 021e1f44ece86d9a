"""A node's journal on a disk that fails, through one life after another, beside the model of what it must hold."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio
import trio.testing

from tests.journal.arrange import Noted
from tests.journal.ledger import NODE
from tests.journal.sqlite.expectation import DEFINITION, DEFINITIONS, Batch, Expectation
from tests.journal.sqlite.test_migration import lay
from web4.foundation.ids import SeededIds
from web4.journal.backends.sqlite import SqliteLimits, open_sqlite
from web4.journal.compaction import compact
from web4.journal.errors import (
    CorruptJournalError,
    JournalError,
    JournalLocked,
    JournalOpenError,
    JournalUnavailable,
    NotCommittedError,
    RetentionError,
    WrongExpectedSeq,
)
from web4.journal.event_types import EventRegistry
from web4.journal.journal import Append
from web4.journal.lane import SERVER
from web4.journal.limits import JournalLimits
from web4.journal.opening import open_journal
from web4.journal.record import Snapshot
from web4.journal.redaction import Redactor
from web4.journal.replay import replay
from web4.journal.retention import Bounds, RetentionPolicy, retain
from web4.journal.verify import verify
from web4.testing.clocks import ManualClock
from web4.testing.disk import SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.journal.sqlite.expectation import Part
    from web4.journal.journal import Journal
    from web4.journal.lane import Lane, LaneKind
    from web4.journal.record import Head, Record

Step = Callable[["Node"], Awaitable[None]]

SECRET: Final = b"sk-planted/0123+45678-xy"
FORMS: Final = (SECRET.decode(), SECRET.hex(), base64.b64encode(SECRET).decode())
"""The secret, as programs write it; a multiple of three bytes, so that Base64 of it stands alone."""
DELICATE: Final = "delicate"
"""A word that a hook of the node keeps from being stored."""

_STORE = SqliteLimits(wal_pages=60, reading_threads=1, open_s=60, reserve_bytes=0)
_LIMITS = JournalLimits(retry_seconds=0.001, retry_most_seconds=0.01, anchor_records=25)


def hook(_: Any, event: Any) -> Any:
    """Before an event is persisted (JRN-19b)."""
    return Noted(event.text.replace(DELICATE, "[withheld]")) if isinstance(event, Noted) else event


def persisted(text: str) -> str:
    """What must be stored of a text."""
    for form in FORMS:
        text = text.replace(form, "[redacted:token]")
    return text.replace(DELICATE, "[withheld]")


def must(so: bool, what: str) -> None:
    """An assertion about an error."""
    if not so:
        raise AssertionError(what)


class Node:
    """A program of steps is run over it, from boot to boot, in one run of Trio.

    Args:
        directory: Where the journal is.
        name: Of the disk; one is unlike any other.
        seed: Of what a power cut leaves.
        edition_1: Begin with the store of the edition before.
    """

    def __init__(self, directory: Path, name: str, *, seed: int, edition_1: bool) -> None:
        self.directory = directory
        self.disk = SimulatedDisk(name, seed=seed)
        self.model = Expectation()
        if edition_1:
            lay(directory)
            self.model.begin_with_edition_1()
        self.last: Batch | None = None
        """What was appended last."""
        self.over = False
        """Whether this life is: what comes next is a boot."""
        self.gone: set[bytes] = set()
        """Texts that were erased or removed and scrubbed: they are in no file any more, ever."""
        self.story: list[str] = []
        self._journal: Journal | None = None
        self._step = trio.CancelScope()

    @property
    def journal(self) -> Journal:
        assert self._journal is not None
        return self._journal

    def close(self) -> None:
        """Remove what is left."""
        self.disk.unregister()
        shutil.rmtree(self.directory, ignore_errors=True)

    async def run(self, program: Sequence[Step]) -> None:
        """Run all steps, and boot once more.

        Raises:
            AssertionError: With the story, if anything was not as it must be.
        """
        left = list(program)
        looked = failures = 0
        while left or looked < 2:
            struck = self.disk.struck
            self.over = False
            failure: AssertionError | None = None
            try:
                async with self._life() as journal:
                    failure = await self._live(left)
                    looked += not left
                    assert failure or self.disk.off or journal.state in {"ready", "suspended"}
            except (JournalOpenError, JournalUnavailable, CorruptJournalError) as error:
                self.story.append(f"not opened: {error}")
                odd = not isinstance(error, JournalOpenError | JournalUnavailable)
                failures += 1
                if (self.disk.struck == struck or odd or failures > 50) and not self.disk.off:
                    failure = AssertionError(f"it does not open: {error!r}")
                self.disk.disarm()
            if failure is not None:
                raise AssertionError(f"{failure}\n" + "\n".join(self.story)) from failure
            if self.disk.off:
                self.story.append("power back")
                self.disk.restore()

    @asynccontextmanager
    async def _life(self) -> AsyncIterator[Journal]:
        async with (
            open_sqlite(self.directory, vfs=self.disk.name, limits=_STORE) as backend,
            open_journal(
                backend,
                registry=EventRegistry(self.model.registry),
                identity=NODE,
                redactor=Redactor(backend.hash_key, {"token": SECRET}, before_persist=[hook]),
                clock=ManualClock(),
                ids=SeededIds(f"salts {backend.boot}"),
                limits=_LIMITS,
            ) as journal,
        ):
            self.story.append(f"boot {backend.boot}")
            self._journal = journal
            yield journal

    async def _live(self, program: list[Step]) -> AssertionError | None:
        """Compare, work, compare, until the power goes or a step ends this life."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            try:
                await self.look(thoroughly=True)
                while program and not self.over and not self.disk.off:
                    with trio.CancelScope() as self._step:
                        await program.pop(0)(self)
                        if not self.over:
                            await self.look(thoroughly=len(program) % 4 == 0)
            except AssertionError as error:
                return error
            finally:
                nursery.cancel_scope.cancel()
        return None

    async def _watch(self) -> None:
        """Without power nothing comes to its end: the step is cancelled."""
        while True:
            await trio.sleep(0.001)
            if self.disk.off:
                self._step.cancel()

    # --- what is compared after each step ---------------------------------------------------------------

    async def look(self, *, thoroughly: bool) -> None:
        """Compare all records with the model, and `thoroughly` verify and replay them; not if the power goes."""
        if self.disk.off:
            return
        try:
            heads, stored = await self._read_all()
            self._compare(heads, stored)
            if thoroughly:
                await self._verify()
        except JournalUnavailable as error:
            must(self.disk.off, f"it cannot be read: {error!r}")

    def _compare(self, heads: dict[Lane, Head], stored: dict[Lane, list[Record]]) -> None:
        assert self.model.journal_id in {None, self.journal.journal_id} or not self.model.lanes
        self.model.journal_id = self.journal.journal_id
        assert not self.journal.halted, f"halted: {self.journal.halted}"
        self.model.compare(heads, stored)
        self._search_files()

    async def _verify(self) -> None:
        """Chains, anchors, snapshots, and the states that replay comes to."""
        report = await verify(self.journal.backend, self.journal.registry, fingerprint=NODE.fingerprint)
        replayed = await replay(self.journal.backend, DEFINITIONS, self.journal.registry)
        assert not report.findings, f"verify finds {report.findings}"
        assert not replayed.divergences, f"replay finds {replayed.divergences}"
        for one in replayed.lanes:
            if one.lane != SERVER or one.seq == len(self.model.lane(SERVER).entries):
                wanted = self.model.state_hash(one.lane)
                assert one.digest == wanted, (
                    f"{one.lane} replays to {one.digest}, not {wanted}: {one.stopped}"
                )

    async def _read_all(self) -> tuple[dict[Lane, Head], dict[Lane, list[Record]]]:
        """Everything, as of one moment: the journal may be about to say something itself."""
        while True:
            heads = dict(await self.journal.heads())
            stored = {}
            for lane, head in heads.items():
                stored[lane] = await self.journal.read(lane, after=head.base_seq, limit=10_000)
            if dict(await self.journal.heads()) == heads:
                return heads, stored

    def _search_files(self) -> None:
        needles = [*(form.encode() for form in FORMS), DELICATE.encode(), *self.gone]
        for path in self.directory.iterdir():
            data = path.read_bytes()
            left = [needle for needle in needles if needle in data]
            assert not left, f"{path.name} holds {left}"

    def _must_be_gone(self, lane: Lane, last: int) -> None:
        """What was taken out of a lane is from now on in no file (JRN-16)."""
        for entry in self.model.lane(lane).entries[:last]:
            if entry.type == "test.noted" and entry.payload is not None:
                self.gone.add(msgspec.json.decode(entry.payload, type=Noted).text[:14].encode())

    # --- steps ------------------------------------------------------------------------------------------

    async def append(self, batches: Sequence[Batch]) -> None:
        """Append batches at the same time: all must succeed, unless the power goes."""
        self.model.batches += batches
        self.last = batches[-1]
        errors: list[JournalError] = []

        async def one(batch: Batch) -> None:
            try:
                batch.told = await self._append(batch.parts)
            except JournalError as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            for batch in batches:
                nursery.start_soon(one, batch)
        assert not errors or self.disk.off, f"not appended: {errors!r}"

    async def append_and_leave(self, batch: Batch, *, cut: bool) -> None:
        """Append, and wait for no answer: cancelling does not undo it (JRN-5e). Then this life ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.append, [batch])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        self.over = True
        if cut:
            self.disk.cut()

    async def _append(self, parts: Sequence[Part]) -> Any:
        if len(parts) == 1:
            lane, expected, events, _ = parts[0]
            return [await self.journal.append(lane, events, expected_seq=expected)]
        return await self.journal.append_batch([Append(one.lane, one.events, one.expected) for one in parts])

    async def refused(self, parts: Sequence[Part], actual: dict[Lane, int]) -> None:
        """Append what was decided on another head (JRN-4a)."""
        try:
            told = await self._append(parts)
        except WrongExpectedSeq as error:
            lane: Any = error.lane
            must(lane in actual and error.actual >= actual[lane], f"{error}")
            must(lane == SERVER or error.actual == actual[lane], f"{error}")
        except JournalUnavailable as error:
            must(self.disk.off, f"{error!r}")
        else:
            raise AssertionError(f"taken all the same: {told}")

    async def again(self) -> None:
        """Repeat what was appended last, whatever became of it (JRN-4d)."""
        batch = self.last
        if batch is None or not batch.seen:
            return
        lanes = [self.model.lane(part.lane) for part in batch.parts]
        ends = {part.lane: len(model.entries) for part, model in zip(batch.parts, lanes, strict=True)}
        if not batch.first:
            fit = [
                max(model.foreign, model.base) <= part.expected
                if part.lane == SERVER
                else part.expected == len(model.entries)
                for part, model in zip(batch.parts, lanes, strict=True)
            ]
            if all(fit):
                batch.seen = False
                await self.append([batch])
            elif not any(part.lane == SERVER for part in batch.parts):
                await self.refused(batch.parts, ends)
            return
        there = [
            batch.first[part.lane] + len(part.entries) - 1
            == (model.foreign if part.lane == SERVER else len(model.entries))
            and part.expected >= max(model.base, model.erased_most)
            for part, model in zip(batch.parts, lanes, strict=True)
        ]
        if not all(there):
            await self.refused(batch.parts, ends)
            return
        try:
            repeated = await self._append(batch.parts)
        except JournalUnavailable as error:
            must(self.disk.off, f"{error!r}")
            return
        for part, one in zip(batch.parts, repeated, strict=True):
            first = batch.first[part.lane]
            last = first + len(part.entries) - 1
            hashed = self.model.lane(part.lane).entries[last - 1].hash
            assert (one.first_seq, one.last_seq, one.hash) == (first, last, hashed), "another success"

    async def compact(self, lane: Lane, seq: int | None) -> None:
        """Compact a lane to a record, or as far as may be (JRN-17)."""
        model, struck = self.model.lane(lane), self.disk.struck
        before = model.base
        wanted = len(model.entries) if seq is None else seq
        if wanted <= before:
            return
        allowed = model.allowed(wanted)
        goal = wanted if seq is not None else allowed
        possible = goal > before and model.origin is not None and allowed >= goal
        # Between what was erased and the snapshot that stands for it, or when that gave way, there is no state.
        certain = possible and (model.erased_most <= before or goal == len(model.entries))
        if possible:
            model.bases = {before, goal}
        if lane == SERVER and seq is None:
            model.bases |= set(range(before, goal + 10))  # it may have said something meanwhile
        try:
            reached = await compact(self.journal, lane, seq=seq, definition=DEFINITION)
        except RetentionError as error:
            must(not certain, f"{lane} is not compacted to {goal}: {error}")
        except (JournalUnavailable, NotCommittedError) as error:
            must(self.disk.struck > struck, f"{lane} is not compacted: {error!r}")
        else:
            assert possible or reached == before, f"{lane} is compacted to {reached}"
            if lane != SERVER:
                assert reached == (goal if possible else before)
            model.bases = {reached}
            if reached > before:
                self._must_be_gone(lane, reached)

    async def erase(self, kind: LaneKind, keep: int) -> None:
        """Erase all payloads of a kind of lanes but the newest (JRN-16)."""
        struck = self.disk.struck
        goals = {}
        for lane, model in self.model.lanes.items():
            done = max(model.base, model.erased_most)
            wanted = len(model.entries) - keep
            if lane.kind == kind and wanted > done and model.origin is not None:
                model.erased_least, model.erased_most = done, max(done, model.allowed(wanted))
                goals[lane] = model.erased_most
        policy = RetentionPolicy(payloads=Bounds(max_records=keep))
        try:
            results = await retain(self.journal, {kind: policy}, definitions=DEFINITIONS)
        except (JournalUnavailable, NotCommittedError) as error:
            must(self.disk.struck > struck, f"{kind} is not erased: {error!r}")
            return
        if self.disk.struck == struck:
            for lane, goal in goals.items():
                self.model.lane(lane).erased_least = goal
            if any(one.erased for one in results):
                for lane, model in self.model.lanes.items():
                    self._must_be_gone(lane, max(model.base, model.erased_least))

    async def snapshot(self, lane: Lane) -> None:
        """Store the state as it is."""
        model = self.model.lane(lane)
        state = model.state(self.model.registry)
        if state is None or len(model.entries) <= model.base:
            return
        digest = model.entries[-1].hash
        assert digest is not None
        made = Snapshot.of(lane, len(model.entries), digest, DEFINITION.encode(state), DEFINITION.version)
        await self.journal.put_snapshot(made)

    async def second_writer(self) -> None:
        """A journal that has a writer is not opened for writing, and takes no harm from the attempt (JRN-11b)."""
        try:
            async with open_sqlite(self.directory, vfs=self.disk.name, limits=_STORE):
                raise AssertionError("a second writer got in")
        except JournalLocked:
            pass
