"""An opening of a journal in memory: what `Backend` asks for, over a `MemoryStore`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from web4.journal.backends.memory.faults import Fault
from web4.journal.backends.memory.store import MemoryStore
from web4.journal.errors import (
    JournalLocked,
    JournalOpenError,
    JournalUnavailable,
    NotCommittedError,
    NotWriterError,
    OutcomeUnknownError,
)
from web4.journal.record import RawRecord

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from web4.journal.backends.backend import Durability
    from web4.journal.backends.memory.faults import FaultKind, Faults, Operation
    from web4.journal.lane import Lane, LaneKind
    from web4.journal.record import Commit, Head, OpenWork, Record, Snapshot


@asynccontextmanager
async def open_memory(
    store: MemoryStore | None = None, *, read_only: bool = False, faults: Faults | None = None
) -> AsyncGenerator[MemoryBackend]:
    """Open a journal in memory. Opening the same `store` again is a restart.

    Args:
        store: What to open; a new one when left out, which ends with this opening.
        read_only: Whether to read only. That is never refused for another's writing (JRN-11b).
        faults: What goes wrong with writes (JRN-24c); nothing when left out.

    Raises:
        JournalLocked: It is open for writing already, and not `shared`.
        JournalOpenError: `not_found`: opened for reading, and never opened for writing before.
    """
    store = MemoryStore() if store is None else store
    await trio.lowlevel.checkpoint()
    backend = MemoryBackend(store, read_only=read_only, faults=faults)
    try:
        yield backend
    finally:
        backend.close()


class MemoryBackend:
    """A `Backend` without a disk. It is strict with its journal: what breaks the protocol raises ValueError."""

    name = "memory"
    durability: Durability = "none"

    def __init__(self, store: MemoryStore, *, read_only: bool = False, faults: Faults | None = None) -> None:
        self.store = store
        self.read_only = read_only
        self.boot = 0
        self.torn = 0
        self._faults = faults
        self._closed = False
        self._doubtful = False
        self._turn = trio.Lock()
        if read_only:
            if not store.boot:
                raise JournalOpenError("nobody has written this journal", code="not_found")
            return
        if store.alive and not store.shared:
            raise JournalLocked("the journal in memory", owner=f"boot {max(store.alive)}")
        before = store.torn
        store.discard_tail()
        self.torn = store.torn - before
        store.boot += 1
        self.boot = store.boot
        store.alive.add(self.boot)

    def close(self) -> None:
        """Let go of the store. Everything raises `JournalUnavailable` from now on."""
        self._closed = True
        self.store.alive.discard(self.boot)
        self.store.last_of.pop(self.boot, None)
        for lane in [lane for lane, owner in self.store.owners.items() if owner == self.boot]:
            del self.store.owners[lane]
        self.store.moved.unpark_all()

    @property
    def journal_id(self) -> bytes:
        """See `Backend.journal_id`."""
        return self.store.journal_id

    @property
    def accepting(self) -> bool:
        """See `Backend.accepting`. Memory is not a volume."""
        return True

    @property
    def shared(self) -> bool:
        """See `Backend.shared`."""
        return self.store.shared

    @property
    def hash_key(self) -> bytes:
        """See `Backend.hash_key`."""
        return self.store.hash_key

    # --- writing ------------------------------------------------------------------------------------------

    async def own(self, lane: Lane) -> Head:
        """See `Backend.own`."""
        async with self._write("own"):
            return self._own(lane)

    def _own(self, lane: Lane) -> Head:
        owner = self.store.owners.get(lane)
        if owner is not None and owner != self.boot and owner in self.store.alive:
            raise NotWriterError(f"{lane} is written by boot {owner}", code="lane_owned", lane=lane)
        self.store.owners[lane] = self.boot
        return self.store.head(lane)

    async def release(self, lane: Lane) -> None:
        """See `Backend.release`."""
        await self._writable()
        if self.store.owners.get(lane) == self.boot:
            del self.store.owners[lane]

    async def commit(self, commit: Commit) -> int:
        """See `Backend.commit`.

        Raises:
            ValueError: The commit contradicts itself.
        """
        async with self._write("commit") as kind:
            for lane in _touched(commit):
                if self.store.owners.get(lane) != self.boot:
                    raise NotWriterError(f"{lane} is not this opening's", code="lease_lost", lane=lane)
            if kind in {"none", "reply_lost"}:
                number = self.store.apply(commit, self.boot)
                if kind == "none":
                    return number
            elif kind == "torn":
                self.store.tail.extend(commit.records[: (len(commit.records) + 1) // 2])
            self._doubtful = True
            raise OutcomeUnknownError(f"injected: {kind}")

    async def recover(self, commit: Commit) -> int | None:
        """See `Backend.recover`."""
        async with self._write("recover"):
            self.store.discard_tail()
            self._doubtful = False
            return self.store.number_of(commit, self.boot)

    async def put_snapshot(self, snapshot: Snapshot, *, keep: int) -> None:
        """See `Backend.put_snapshot`."""
        async with self._write("put_snapshot"):
            self.store.put_snapshot(snapshot, keep)

    async def prune(self, lane: Lane, *, limit: int) -> int:
        """See `Backend.prune`."""
        async with self._write("prune"):
            return self.store.prune(lane, limit)

    async def put_blob(self, blob: str, data: bytes, *, at: int) -> None:
        """See `Backend.put_blob`."""
        async with self._write("put_blob"):
            known = self.store.blobs.get(blob)
            self.store.blobs[blob] = (bytes(data) if known is None else known[0], at)

    async def delete_blob(self, blob: str, *, before: int | None = None) -> None:
        """See `Backend.delete_blob`."""
        async with self._write("delete_blob"):
            _, at = self.store.blobs.get(blob, (b"", 0))
            if before is None or at <= before:
                self.store.blobs.pop(blob, None)

    async def raw(self, lane: Lane, *, after: int = 0, limit: int = 500) -> list[RawRecord]:
        """See `Repairable.raw`."""
        await self._readable()
        stored = self.store.lanes.get(lane)
        if stored is None:
            return []
        rows = enumerate(stored.rows, start=stored.first)
        found = [RawRecord(seq, *row[:7]) for seq, row in rows if seq > after]
        return found[: max(limit, 0)]

    async def cut(self, lane: Lane, head: Head, work: Sequence[OpenWork]) -> int:
        """See `Repairable.cut`."""
        async with self._write("prune"):
            return self.store.cut(lane, head, work)

    async def scrub(self) -> None:
        """See `Backend.scrub`. Memory that was let go is nowhere."""
        await self._writable()

    async def _writable(self) -> None:
        """Raise unless this opening may write; a checkpoint."""
        await self._readable()
        if self.read_only:
            raise NotWriterError("the journal is open for reading only", code="read_only")

    @asynccontextmanager
    async def _write(self, operation: Operation) -> AsyncGenerator[FaultKind]:
        """The turn of one write, and what the test planned for it. Once it has begun it is not cancelled."""
        await self._writable()
        async with self._turn:
            self._require_open()
            if self._doubtful and operation != "recover":
                raise NotCommittedError("the outcome of an earlier commit is not known")
            fault = (None if self._faults is None else self._faults(operation)) or Fault()
            with trio.CancelScope(shield=True):
                if fault.until is not None:
                    await fault.until.wait()
                if fault.delay:
                    await trio.sleep(fault.delay)
            self._require_open()
            kind = fault.kind
            if kind in {"not_committed", "no_space"} or (kind != "none" and operation != "commit"):
                raise NotCommittedError(f"injected: {kind}")
            yield kind

    # --- reading ------------------------------------------------------------------------------------------

    async def _readable(self) -> None:
        """Raise unless this opening is open; a checkpoint."""
        await trio.lowlevel.checkpoint()
        self._require_open()

    def _require_open(self) -> None:
        if self._closed or (self.boot and self.boot not in self.store.alive):
            raise JournalUnavailable("the journal in memory was closed", code="closed")

    async def head(self, lane: Lane) -> Head:
        """See `Backend.head`."""
        await self._readable()
        return self.store.head(lane)

    async def heads(
        self, kind: LaneKind | None = None, *, after: Lane | None = None, limit: int = 500
    ) -> list[tuple[Lane, Head]]:
        """See `Backend.heads`."""
        await self._readable()
        names = self.store.names
        begin = 0 if after is None else bisect_right(names, after)
        if kind is not None:
            # Names are sorted by kind first: the lanes of one kind stand together.
            begin = max(begin, bisect_left(names, kind, key=lambda lane: lane.kind))
        found: list[tuple[Lane, Head]] = []
        for lane in names[begin : begin + max(limit, 0)]:
            if kind is not None and lane.kind != kind:
                break
            found.append((lane, self.store.lanes[lane].head))
        return found

    async def read(
        self,
        lane: Lane,
        *,
        after: int = 0,
        limit: int = 500,
        reverse: bool = False,
        before: int | None = None,
    ) -> list[Record]:
        """See `Backend.read`."""
        await self._readable()
        stored = self.store.lanes.get(lane)
        if stored is None:
            return []
        numbers = stored.between(after, before)
        chosen = (numbers[::-1] if reverse else numbers)[: max(limit, 0)]
        # A test that damages a store may take rows out of it.
        return [self.store.record(lane, seq) for seq in chosen if stored.at(seq) is not None]

    async def scan(
        self, *, after: int = 0, limit: int = 500, reverse: bool = False, before: int | None = None
    ) -> list[Record]:
        """See `Backend.scan`."""
        await self._readable()
        return self.store.scan(self.store.positions, after, before, reverse=reverse, limit=limit)

    async def find(
        self,
        ref: tuple[str, str],
        *,
        after: int = 0,
        limit: int = 500,
        reverse: bool = False,
        before: int | None = None,
    ) -> list[Record]:
        """See `Backend.find`."""
        await self._readable()
        return self.store.scan(self.store.refs.get(ref, []), after, before, reverse=reverse, limit=limit)

    async def open_work(
        self, lane: Lane | None = None, *, after: OpenWork | None = None, limit: int = 500
    ) -> list[OpenWork]:
        """See `Backend.open_work`."""
        await self._readable()
        places = self.store.by_place
        begin = 0 if after is None else bisect_right(places, (after.lane, after.seq))
        if lane is not None:
            begin = max(begin, bisect_right(places, (lane, 0)))
        found: list[OpenWork] = []
        for place in places[begin : begin + max(limit, 0)]:
            if lane is not None and place[0] != lane:
                break
            found.append(self.store.work[self.store.work_at[place]])
        return found

    async def snapshots(self, lane: Lane) -> list[Snapshot]:
        """See `Backend.snapshots`."""
        await self._readable()
        known = self.store.snapshots.get(lane, {})
        return [known[seq] for seq in sorted(known, reverse=True)]

    async def blob(self, blob: str) -> bytes | None:
        """See `Backend.blob`."""
        await self._readable()
        known = self.store.blobs.get(blob)
        return None if known is None else known[0]

    async def blobs(self, *, after: str = "", limit: int = 500) -> list[tuple[str, int, int]]:
        """See `Backend.blobs`."""
        await self._readable()
        names = sorted(name for name in self.store.blobs if name > after)[: max(limit, 0)]
        return [(name, len(self.store.blobs[name][0]), self.store.blobs[name][1]) for name in names]

    async def changed(self, lane: Lane, seq: int) -> None:
        """See `Backend.changed`."""
        await self._readable()
        while self.store.head(lane).seq <= seq:
            await self.store.moved.park()
            self._require_open()

    async def stats(self) -> Mapping[str, Any]:
        """See `Backend.stats`."""
        await self._readable()
        store = self.store
        return {
            "bytes": store.bytes(),
            "records": len(store.places),
            "lanes": len(store.lanes),
            "blobs": len(store.blobs),
            "commits": store.commits,
            "open_work": len(store.work),
        }


def _touched(commit: Commit) -> list[Lane]:
    """The lanes that a commit changes, or what is kept of them."""
    kept = [*(snapshot.lane for snapshot in commit.bases), *(lane for lane, _ in commit.erasures)]
    return [*(move.lane for move in commit.heads), *kept]
