"""The SQLite backend as Trio sees it."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from web4.journal.backends.sqlite import keeping, reader
from web4.journal.backends.sqlite.engine import connect_reader, throw_away
from web4.journal.errors import CorruptJournalError, JournalUnavailable, NotCommittedError, NotWriterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import apsw

    from web4.journal.backends.backend import Durability
    from web4.journal.backends.sqlite.bridge import Bridge
    from web4.journal.backends.sqlite.space import Space
    from web4.journal.backends.sqlite.writer import Writer
    from web4.journal.lane import Lane, LaneKind
    from web4.journal.record import Commit, Head, OpenWork, RawRecord, Record, Snapshot

Result = TypeVar("Result")

_LOOK_S = 0.05
_SCRUB_TRIES = 20


class Readers:
    """The reading threads' connections: one each, opened when it is first used, and anew after damage.

    Args:
        path: Of the database.
        vfs: The engine's file layer; None for the system's.
    """

    def __init__(self, path: Path, *, vfs: str | None) -> None:
        self._path = path
        self._vfs = vfs
        self._own = threading.local()
        self._all: list[apsw.Connection] = []

    def read(self, work: Callable[[apsw.Connection], Result]) -> Result:
        """Run `work` on this thread's connection, in one transaction. Raises what `reader.read_with` does."""
        connection: apsw.Connection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = reader.open_with(partial(connect_reader, self._path, vfs=self._vfs))
            self._own.connection = connection
            self._all.append(connection)
        try:
            return reader.read_with(connection, work)
        except (CorruptJournalError, JournalUnavailable):
            # It may know the store as it was before something went wrong: the next call gets a new one.
            self._own.connection = None
            throw_away(connection)
            raise

    def close(self) -> None:
        """Close them all, once their threads have ended."""
        while self._all:
            throw_away(self._all.pop())


class SqliteBackend:
    """A journal's store in one SQLite file; see `Backend` for what each method means and raises.

    Writes go to one thread that owns the writing connection, reads to others with connections of their own. Made by
    `open_sqlite`.
    """

    name = "sqlite"
    shared = False

    def __init__(
        self,
        *,
        directory: Path,
        durability: Durability,
        journal_id: bytes,
        boot: int,
        hash_key: bytes,
        torn: int,
        writer: Writer | None,
        writing: Bridge | None,
        reading: Bridge,
        readers: Readers,
        space: Space,
    ) -> None:
        self.directory = directory
        self.durability: Durability = durability
        self.journal_id = journal_id
        self.boot = boot
        self.hash_key = hash_key
        self.torn = torn
        self.read_only = writer is None
        self._writer = writer
        self._writing = writing
        self._reading = reading
        self._readers = readers
        self._space = space
        self._arriving: Counter[str] = Counter()

    @property
    def accepting(self) -> bool:
        """Whether there is room for new work (JRN-15e). False: the volume is nearly full, conclude what runs."""
        return self._space.accepting

    async def _write(self, work: Callable[[Writer], Result]) -> Result:
        if self._writer is None or self._writing is None:
            raise NotWriterError("the journal was opened for reading", code="read_only")
        return await self._writing.call(partial(work, self._writer))

    async def _read(self, work: Callable[[apsw.Connection], Result]) -> Result:
        return await self._reading.call(partial(self._readers.read, work))

    # --- writing ------------------------------------------------------------------------------------------

    async def own(self, lane: Lane) -> Head:
        """See `Backend.own`. The lock on the journal makes its holder the owner of every lane."""
        if self._writer is None:
            raise NotWriterError("the journal was opened for reading", code="read_only")
        try:
            return await self.head(lane)
        except JournalUnavailable as error:
            if error.code == "closed":
                raise
            raise NotCommittedError(str(error)) from error

    async def release(self, lane: Lane) -> None:
        """See `Backend.release`. Nothing is held for a single lane."""
        await trio.lowlevel.checkpoint()

    async def commit(self, commit: Commit) -> int:
        """See `Backend.commit`."""
        return await self._write(lambda writer: writer.commit(commit))

    async def recover(self, commit: Commit) -> int | None:
        """See `Backend.recover`."""
        return await self._write(lambda writer: writer.recover(commit))

    async def put_snapshot(self, snapshot: Snapshot, *, keep: int) -> None:
        """See `Backend.put_snapshot`."""
        await self._write(
            lambda writer: writer.change(
                lambda connection, cache: keeping.put_snapshot(connection, cache, snapshot, keep)
            )
        )

    async def prune(self, lane: Lane, *, limit: int) -> int:
        """See `Backend.prune`."""
        return await self._write(
            lambda writer: writer.change(
                lambda connection, cache: keeping.prune(connection, cache, lane, limit), removes=True
            )
        )

    async def put_blob(self, blob: str, data: bytes, *, at: int) -> None:
        """See `Backend.put_blob`. Written in parts, with room for commits between them."""
        if await self._change(lambda connection: keeping.touch_blob(connection, blob, at)):
            return
        self._arriving[blob] += 1
        listed = False
        try:
            whole = memoryview(data)
            for part, begin in enumerate(range(0, len(data), keeping.PART_BYTES)):
                piece = whole[begin : begin + keeping.PART_BYTES]
                await self._change(partial(keeping.put_blob_part, blob=blob, part=part, data=piece))
            listed = await self._change(lambda connection: keeping.list_blob(connection, blob, len(data), at))
        finally:
            self._arriving[blob] -= 1
            if not self._arriving[blob]:
                del self._arriving[blob]
                if not listed:
                    await self._drop_parts(blob)
        if not listed:
            raise NotCommittedError("the blob was deleted while it was written")

    async def _drop_parts(self, blob: str) -> None:
        """Leave nothing of a blob of which the rest never came; what cannot be removed goes at the next start."""
        with (
            trio.CancelScope(shield=True),
            suppress(NotCommittedError, CorruptJournalError, JournalUnavailable),
        ):
            await self._change(partial(keeping.drop_parts, blob=blob))

    async def _change(self, work: Callable[[apsw.Connection], Result]) -> Result:
        return await self._write(lambda writer: writer.change(lambda connection, _: work(connection)))

    async def delete_blob(self, blob: str, *, before: int | None = None) -> None:
        """See `Backend.delete_blob`."""
        await self._write(
            lambda writer: writer.change(
                lambda connection, _: keeping.delete_blob(connection, blob, before), removes=True
            )
        )

    async def raw(self, lane: Lane, *, after: int = 0, limit: int = 500) -> list[RawRecord]:
        """See `Repairable.raw`."""
        return await self._read(partial(reader.raw, lane=lane, after=after, limit=limit))

    async def cut(self, lane: Lane, head: Head, work: Sequence[OpenWork]) -> int:
        """See `Repairable.cut`."""
        return await self._write(
            lambda writer: writer.change(
                lambda connection, cache: keeping.cut(connection, cache, lane, head, work)
            )
        )

    async def scrub(self) -> None:
        """See `Backend.scrub`. Readers get a moment to end; commits go on meanwhile."""
        for left in reversed(range(_SCRUB_TRIES)):
            try:
                await self._write(lambda writer: writer.scrub())
            except NotCommittedError:
                if not left:
                    raise
                await trio.sleep(_LOOK_S)
            else:
                return

    # --- reading ------------------------------------------------------------------------------------------

    async def head(self, lane: Lane) -> Head:
        """See `Backend.head`."""
        return await self._read(partial(reader.head, journal_id=self.journal_id, lane=lane))

    async def heads(
        self, kind: LaneKind | None = None, *, after: Lane | None = None, limit: int = 500
    ) -> list[tuple[Lane, Head]]:
        """See `Backend.heads`."""
        return await self._read(partial(reader.heads, kind=kind, after=after, limit=limit))

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
        return await self._read(
            partial(reader.read, lane=lane, after=after, before=before, limit=limit, reverse=reverse)
        )

    async def scan(
        self, *, after: int = 0, limit: int = 500, reverse: bool = False, before: int | None = None
    ) -> list[Record]:
        """See `Backend.scan`."""
        return await self._read(
            partial(reader.scan, after=after, before=before, limit=limit, reverse=reverse)
        )

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
        return await self._read(
            partial(reader.find, ref=ref, after=after, before=before, limit=limit, reverse=reverse)
        )

    async def open_work(
        self, lane: Lane | None = None, *, after: OpenWork | None = None, limit: int = 500
    ) -> list[OpenWork]:
        """See `Backend.open_work`."""
        return await self._read(partial(reader.open_work, lane=lane, after=after, limit=limit))

    async def snapshots(self, lane: Lane) -> list[Snapshot]:
        """See `Backend.snapshots`."""
        return await self._read(partial(reader.snapshots, lane=lane))

    async def blob(self, blob: str) -> bytes | None:
        """See `Backend.blob`."""
        return await self._read(partial(reader.blob, name=blob))

    async def blobs(self, *, after: str = "", limit: int = 500) -> list[tuple[str, int, int]]:
        """See `Backend.blobs`."""
        return await self._read(partial(reader.blobs, after=after, limit=limit))

    async def changed(self, lane: Lane, seq: int) -> None:
        """See `Backend.changed`. A writer's own store changes by nobody else's doing; a reader looks 20 times a second.

        The engine tells other processes nothing, so looking is all there is.
        """
        if not self.read_only:
            await trio.sleep_forever()
        while (await self.head(lane)).seq <= seq:  # noqa: ASYNC110 - another process writes; no event is ours
            await trio.sleep(_LOOK_S)

    async def stats(self) -> Mapping[str, Any]:
        """See `Backend.stats`."""
        found = await self._read(reader.figures)
        found["engine"] = reader.engine()
        found["accepting"] = self.accepting
        found["free_bytes"] = self._space.free_bytes
        wal = self.directory / "journal.db-wal"
        found["wal_bytes"] = wal.stat().st_size if wal.exists() else 0
        if self._writer is not None:
            figures = self._writer.figures
            found["commits"] = figures.commits
            found["checkpoints"] = figures.checkpoints
            found["flushes"] = figures.flushes
            found["flushed"] = self._writer.flushed
            found["reopened"] = figures.reopened
            found["last_fault"] = figures.last_fault
        return found
