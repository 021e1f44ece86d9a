"""The verification of one lane, page by page (JRN-23a)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from web4 import _core
from web4.journal.chain import check_run
from web4.journal.errors import CorruptJournalError
from web4.journal.open_work import OpenWorkOf
from web4.journal.references import blob_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.journal.backends.backend import Backend
    from web4.journal.event_types import EventRegistry
    from web4.journal.findings import VerifyReport
    from web4.journal.lane import Lane
    from web4.journal.record import Head, Record, Snapshot

_PAGE: Final = 250
_ATTEMPTS: Final = 5
"""How often a lane that is being written is caught up with, to compare its unfinished work."""


class LaneCheck:
    """One lane under verification.

    Args:
        backend: An open store.
        lane: Which lane.
        report: Where findings go.
        registry: Decodes events; without it schemas and unfinished work are not checked.
        anchor: Number and hash (hex) of the newest anchored record of the lane.
    """

    def __init__(
        self,
        backend: Backend,
        lane: Lane,
        report: VerifyReport,
        *,
        registry: EventRegistry | None,
        anchor: tuple[int, str] | None,
    ) -> None:
        self._backend = backend
        self._lane = lane
        self._report = report
        self._registry = registry
        self._anchor = anchor
        self._work = None if registry is None else OpenWorkOf(registry)
        self._snapshots: dict[int, Snapshot] = {}
        self._after = 0
        self._prev: bytes | None = b""
        self._at = -(2**63)
        self._commit = 0

    async def run(self, head: Head, tell: Callable[[], None]) -> None:
        """Check the lane as far as `head` at least, and beyond it as far as it takes to compare its unfinished work."""
        head, snapshots = await self._look(head)
        self._check_base(head, snapshots)
        self._snapshots = {one.seq: one for one in snapshots if one.seq > head.base_seq}
        await self._read_to(head, tell)
        self._check_end(head)
        await self._check_work(head, tell)

    def _add(self, kind: str, seq: int | None, detail: str) -> None:
        self._report.add(kind, self._lane, seq, detail)  # type: ignore[arg-type]  # one of `Kind`

    # --- the base ---------------------------------------------------------------------------------------

    async def _look(self, head: Head) -> tuple[Head, list[Snapshot]]:
        """The lane's snapshots and its head, of one base.

        The head is asked last: whoever writes meanwhile takes no snapshot of a record that it does not reach. And again
        if the lane was compacted between two looks: what is left is checked from the base that is there now.
        """
        while True:
            snapshots = await self._backend.snapshots(self._lane)
            newer = await self._backend.head(self._lane)
            if newer.base_seq == head.base_seq:
                return newer, snapshots
            head = newer

    def _check_base(self, head: Head, snapshots: list[Snapshot]) -> None:
        self._after, self._prev = head.base_seq, head.base_hash
        if head.base_seq == 0:
            return
        base = next((one for one in snapshots if one.seq == head.base_seq), None)
        if base is None:
            self._add("base", head.base_seq, "its base snapshot is missing")
        elif not base.intact:
            self._add("base", head.base_seq, "its base snapshot is not what was stored")
        elif base.record_hash != head.base_hash:
            self._add("base", head.base_seq, "its base snapshot belongs to another record")
        if self._anchor is not None and self._anchor[0] == head.base_seq:
            self._check_anchor(head.base_hash)
        self._report.snapshots += base is not None

    # --- records ----------------------------------------------------------------------------------------

    async def _read_to(self, head: Head, tell: Callable[[], None]) -> None:
        while self._after < head.seq:
            limit = min(_PAGE, head.seq - self._after)
            try:
                records = await self._backend.read(self._lane, after=self._after, limit=limit)
            except CorruptJournalError as error:
                await self._step_over(error, head)
                continue
            if not records:
                if await self._compacted():
                    continue
                self._add("chain", self._after + 1, f"records are missing up to {head.seq}")
                return
            if records[0].seq != self._after + 1 and await self._compacted():
                continue
            await self._check_page(records)
            tell()

    async def _compacted(self) -> bool:
        """Whether the lane was compacted meanwhile, beyond where this check is: then it goes on at the base."""
        head = await self._backend.head(self._lane)
        if head.base_seq <= self._after:
            return False
        self._after, self._prev = head.base_seq, head.base_hash
        self._snapshots = {seq: one for seq, one in self._snapshots.items() if seq > head.base_seq}
        return True

    async def _step_over(self, error: CorruptJournalError, head: Head) -> None:
        """Check what comes before a record that cannot be read; begin anew after it."""
        bad = error.seq
        if bad is None or not self._after < bad <= head.seq:
            raise error
        if bad > self._after + 1:
            limit = bad - self._after - 1
            await self._check_page(
                await self._backend.read(self._lane, after=self._after, before=bad, limit=limit)
            )
        self._add("chain", bad, "its header is damaged")
        self._snapshots.pop(bad, None)
        self._after, self._prev = bad, None

    async def _check_page(self, records: list[Record]) -> None:
        rest = records
        while rest:
            if self._prev is None:
                # After a record that is unreadable, the next one can only be held against itself.
                self._check_payload(rest[0])
                self._note(rest[0])
                self._after, self._prev, rest = rest[0].seq, rest[0].hash, rest[1:]
                continue
            try:
                self._prev = check_run(self._lane, self._prev, self._after, rest)
                sound, rest = rest, []
            except CorruptJournalError as error:
                seq = error.seq or 0
                self._add("chain", seq, "not what was written, or not in its place")
                sound = [one for one in rest if one.seq < seq]
                for one in sound:
                    self._note(one)
                rest = rest[len(sound) :]
                if rest:
                    self._prev, self._after = rest[0].hash, max(rest[0].seq, seq)
                    self._note(rest[0])
                    rest = rest[1:]
                continue
            for one in sound:
                self._note(one)
            self._after = sound[-1].seq
        await self._check_blobs(records)

    def _check_payload(self, record: Record) -> None:
        salted = record.payload is not None and record.salt is not None
        if salted and _core.payload_hash(record.salt, record.payload) != record.payload_hash:  # type: ignore[arg-type]
            self._add("chain", record.seq, "its payload is not what was written")

    def _note(self, record: Record) -> None:
        """What is to be said of one record beside the chain."""
        self._report.records += 1
        self._report.erased += record.erased
        if record.at < self._at or record.commit < self._commit:
            self._add("order", record.seq, "earlier than the record before it")
        self._at, self._commit = record.at, record.commit
        if self._anchor is not None and self._anchor[0] == record.seq:
            self._check_anchor(record.hash)
        snapshot = self._snapshots.pop(record.seq, None)
        if snapshot is not None:
            self._report.snapshots += 1
            if not snapshot.intact:
                self._add("snapshot", record.seq, "a snapshot is not what was stored")
            elif snapshot.record_hash != record.hash:
                self._add("snapshot", record.seq, "a snapshot belongs to another record")
        if self._registry is not None and record.payload is not None:
            try:
                self._registry.decode(record)
            except (CorruptJournalError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                reason = error.code if isinstance(error, CorruptJournalError) else "undecodable"
                self._add("schema", record.seq, f"{record.type} v{record.v}: {reason}")
        if self._work is not None:
            self._work.add(record)

    def _check_anchor(self, digest: bytes) -> None:
        assert self._anchor is not None
        if digest.hex() != self._anchor[1]:
            self._add("anchor", self._anchor[0], "the record is not the one that was anchored")

    async def _check_blobs(self, records: list[Record]) -> None:
        for record in records:
            for name in sorted(blob_names(record.payload)):
                if not any(
                    found == name for found, _, _ in await self._backend.blobs(after=name[:-1], limit=16)
                ):
                    self._add("missing_blob", record.seq, f"{name} is not there")

    # --- the end ----------------------------------------------------------------------------------------

    def _check_end(self, head: Head) -> None:
        if self._after == head.seq and self._prev not in {None, head.hash}:
            self._add("head", head.seq, "the lane's last record is not the one its head names")
        if self._anchor is not None and self._anchor[0] > head.seq:
            self._add("anchor", self._anchor[0], f"the lane was anchored there and ends at {head.seq}")
        for seq in self._snapshots:
            self._add("snapshot", seq, "a snapshot belongs to no record")

    async def _check_work(self, head: Head, tell: Callable[[], None]) -> None:
        """Compare at a moment at which nobody writes the lane; one that never rests is left for the next time."""
        if self._work is None:
            return
        for _ in range(_ATTEMPTS):
            kept = await self._backend.open_work(self._lane, limit=_PAGE)
            while len(kept) % _PAGE == 0 and kept:
                more = await self._backend.open_work(self._lane, after=kept[-1], limit=_PAGE)
                if not more:
                    break
                kept += more
            newer = await self._backend.head(self._lane)
            if newer.seq == head.seq:
                for seq, detail in self._work.differences(kept):
                    self._add("open_work", seq, detail)
                return
            head = newer
            await self._read_to(head, tell)
