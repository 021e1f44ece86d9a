"""Moving a journal to another store: every lane, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from web4.journal.backends.backend import Backend
from web4.journal.chain import check_run
from web4.journal.errors import CopyError, CorruptJournalError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from web4.journal.lane import Lane
    from web4.journal.record import Head, OpenWork, Record, Snapshot

_PAGE = 500


class Restoring(Protocol):
    """Where a copy goes, while it is made. Each part is given once, in the order of these methods."""

    async def lanes(self, heads: Sequence[tuple[Lane, Head]]) -> None:
        """Lanes, with the heads that they will have."""
        ...

    async def records(self, records: Sequence[Record]) -> None:
        """Records in the order of history; their commits' numbers are kept."""
        ...

    async def open_work(self, work: Sequence[OpenWork]) -> None:
        """Unfinished work."""
        ...

    async def snapshot(self, snapshot: Snapshot) -> None:
        """One snapshot."""
        ...

    async def blob(self, blob: str, data: bytes, *, at: int) -> None:
        """One blob."""
        ...


class CopyTarget(Backend, Protocol):
    """A backend that can become the copy of another journal."""

    def restoring(self, journal_id: bytes, hash_key: bytes) -> AbstractAsyncContextManager[Restoring]:
        """Become the journal of this id: durably when the block ends normally, else not at all.

        Raises:
            CopyError: `not_empty`, `too_large`.
            JournalOpenError: `hash_key`: the target's is kept outside, and is another.
            NotWriterError: `read_only`.
            NotCommittedError: The store cannot be written.
            OutcomeUnknownError: The store was lost in the last moment: it holds the whole copy, or nothing.
        """
        ...


class Copied(NamedTuple):
    """How much was copied."""

    lanes: int
    records: int
    snapshots: int
    blobs: int


async def copy_journal(source: Backend, target: CopyTarget) -> Copied:
    """Copy a whole journal: id, lanes, records with their hashes and commits, snapshots, unfinished work, blobs.

    The copy is verified on its way: a chain that is broken is not copied. Nobody may write `source` meanwhile: open it
    for writing, which keeps others out, or stop its node; a source that has moved in the end is noticed. Nothing but a
    complete copy is ever left in `target`; what was cancelled or refused has left it as it was.

    Args:
        source: The journal. It stays as it is.
        target: An empty one. Its own id and hash key give way to the source's.

    Raises:
        CopyError: `not_empty`: the target holds something, or is open elsewhere; `source_changed`; `too_large`.
        JournalOpenError: `hash_key`: the target's hash key is kept outside its store, and is another.
        CorruptJournalError: The source is damaged; run `verify`.
        NotWriterError, NotCommittedError, OutcomeUnknownError: See `CopyTarget.restoring`.
    """
    heads = await _heads(source)
    records = snapshots = blobs = 0
    async with target.restoring(source.journal_id, source.hash_key) as restoring:
        for begin in range(0, len(heads), _PAGE):
            await restoring.lanes(list(heads.items())[begin : begin + _PAGE])
        records = await _copy_records(source, restoring, heads)
        work: Sequence[OpenWork] = ()
        while work := await source.open_work(after=work[-1] if work else None, limit=_PAGE):
            await restoring.open_work(work)
        for lane in heads:
            for snapshot in await source.snapshots(lane):
                await restoring.snapshot(snapshot)
                snapshots += 1
        last = ""
        while page := await source.blobs(after=last, limit=_PAGE):
            for last, _, at in page:
                data = await source.blob(last)
                if data is None:
                    raise CopyError("a blob of the source was removed meanwhile", code="source_changed")
                await restoring.blob(last, data, at=at)
                blobs += 1
        if await _heads(source) != heads:
            raise CopyError("the source was written meanwhile", code="source_changed")
    return Copied(len(heads), records, snapshots, blobs)


async def _heads(source: Backend) -> dict[Lane, Head]:
    heads: dict[Lane, Head] = {}
    after: Lane | None = None
    while page := await source.heads(after=after, limit=_PAGE):
        heads.update(page)
        after = page[-1][0]
    return heads


async def _copy_records(source: Backend, restoring: Restoring, heads: dict[Lane, Head]) -> int:
    """Copy all records; how many. Each lane's chain is followed from its base to its head."""
    reached = {lane: (head.base_seq, head.base_hash) for lane, head in heads.items()}
    count = after = 0
    while page := await source.scan(after=after, limit=_PAGE):
        of_lane: dict[Lane, list[Record]] = {}
        for record in page:
            of_lane.setdefault(record.lane, []).append(record)
        for lane, records in of_lane.items():
            if lane not in reached:
                raise CopyError(f"{lane} was begun meanwhile", code="source_changed")
            seq, prev = reached[lane]
            reached[lane] = (records[-1].seq, check_run(lane, prev, seq, records))
        await restoring.records(page)
        count += len(page)
        after = page[-1].position
    for lane, head in heads.items():
        if reached[lane] == (head.seq, head.hash):
            continue
        if await source.read(lane, after=reached[lane][0], limit=1):
            raise CopyError("somebody still writes to the source's store; try again", code="source_changed")
        raise CorruptJournalError(
            f"{lane} ends at {head.seq}, and its records at {reached[lane][0]}",
            code="chain_broken",
            lane=lane,
            seq=reached[lane][0] + 1,
        )
    return count
