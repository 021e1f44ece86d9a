"""Whether a journal is what was written (JRN-23a). Reads one page at a time and changes nothing.

It may look at the journal of a running node: what is written meanwhile is left for the next time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import trio

from web4 import _core
from web4.foundation.errors import SignatureMismatchError, Web4Error
from web4.foundation.identity import fingerprint as fingerprint_of
from web4.journal.anchoring import check_anchor
from web4.journal.chain import genesis
from web4.journal.errors import CorruptJournalError
from web4.journal.event_types import EventRegistry
from web4.journal.findings import VerifyReport
from web4.journal.lane import SERVER, Lane
from web4.journal.lane_check import LaneCheck
from web4.journal.own_events import OWN_EVENTS, JournalAnchored

if TYPE_CHECKING:
    from collections.abc import Collection

    from web4.journal.backends.backend import Backend
    from web4.journal.lane import LaneKind
    from web4.journal.record import Head

Progress = Callable[[VerifyReport], None]
"""Called after every page with the report as it stands. Must not block."""

_PAGE: Final = 250


async def verify(
    backend: Backend,
    registry: EventRegistry | None = None,
    *,
    lanes: Collection[Lane] | None = None,
    kinds: Collection[LaneKind] | None = None,
    fingerprint: str | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Check chain, heads, anchors, snapshots, blobs, schemas and unfinished work.

    Memory is bounded by the number of lanes that anchors name, and by the work open at a time, not by records.

    Args:
        backend: An open store; reading is enough.
        registry: The event types that the lanes were written with; without it schemas and unfinished work are not
            checked.
        lanes: Only these; blobs, and lanes that are missing as a whole, are then not looked at.
        kinds: The kinds of lanes whose events the registry knows; lanes of others are checked as if there were none.
            All kinds if left out.
        fingerprint: The node that must have signed the anchors; without it any key is taken, and named in the report.
        progress: See `Progress`.

    Raises:
        JournalError: The store cannot be read as such.

    Cancellation: may be cancelled at any time.
    """
    return await _Verification(backend, registry, fingerprint, progress, kinds).run(lanes)


async def anchored_places(backend: Backend) -> dict[str, int]:
    """How far each lane was anchored, by good signatures, since it was repaired last."""
    look = _Verification(backend, None, None, None)
    return {name: seq for name, (seq, _) in (await look.anchors()).items()}


class _Verification:
    """One look at a whole journal."""

    def __init__(
        self,
        backend: Backend,
        registry: EventRegistry | None,
        fingerprint: str | None,
        progress: Progress | None,
        kinds: Collection[LaneKind] | None = None,
    ) -> None:
        self._backend = backend
        # The journal's own events are known to every journal.
        self._registry = None if registry is None else EventRegistry((*registry, *OWN_EVENTS))
        self._kinds = kinds
        self._fingerprint = fingerprint
        self._progress = progress
        self._own = EventRegistry(OWN_EVENTS)
        self._anchored: dict[str, tuple[int, str]] = {}
        self.report = VerifyReport(journal_id=backend.journal_id.hex())

    async def run(self, lanes: Collection[Lane] | None) -> VerifyReport:
        await self._collect_anchors()
        if lanes is not None:
            for lane in sorted(lanes):
                await self._check_lane(lane, await self._backend.head(lane))
            return self.report
        seen = set()
        after: Lane | None = None
        while page := await self._backend.heads(after=after, limit=_PAGE):
            for lane, head in page:
                seen.add(str(lane))
                await self._check_lane(lane, head)
            after = page[-1][0]
        for name, (seq, _) in sorted(self._anchored.items()):
            if name not in seen:
                self.report.add("anchor", Lane.parse(name), seq, "the lane was anchored and is not there")
        await self._check_blobs()
        return self.report

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self.report)

    async def _check_lane(self, lane: Lane, head: Head) -> None:
        registry = self._registry if self._kinds is None or lane.kind in self._kinds else None
        check = LaneCheck(
            self._backend, lane, self.report, registry=registry, anchor=self._anchored.get(str(lane))
        )
        if head.base_seq == 0 and head.base_hash != genesis(self._backend.journal_id, lane):
            self.report.add("head", lane, 0, "the lane does not begin with its genesis")
        await check.run(head, self._tell)
        self.report.lanes += 1
        self._tell()

    # --- anchors ----------------------------------------------------------------------------------------

    async def anchors(self) -> dict[str, tuple[int, str]]:
        """The newest anchored place of every lane."""
        await self._collect_anchors()
        return self._anchored

    async def _collect_anchors(self) -> None:
        """The newest anchored place of every lane. Older ones add nothing: the chain between the two is checked."""
        head = await self._backend.head(SERVER)
        after = head.base_seq
        while after < head.seq:
            try:
                records = await self._backend.read(SERVER, after=after, limit=_PAGE)
            except CorruptJournalError as error:
                # The lane's own check names it; anchors before and after it still count.
                records = await readable(self._backend, SERVER, after, error)
                for record in records:
                    self._take_anchor(record)
                after = max(after + 1, error.seq or 0)
                continue
            for record in records:
                self._take_anchor(record)
            if not records:
                return
            after = records[-1].seq

    def _take_anchor(self, record: Any) -> None:
        if record.type == "journal.repaired" and record.payload is not None:
            self._take_repair(record)
        if record.type != "journal.anchored" or record.payload is None:
            return
        try:
            anchor = self._own.decode(record)
            assert isinstance(anchor, JournalAnchored)
            if fingerprint_of(bytes.fromhex(anchor.public_key)) != anchor.fingerprint:
                raise ValueError("the key has another fingerprint")
            if self._fingerprint not in {None, anchor.fingerprint}:
                raise ValueError("another node signed it")
            check_anchor(anchor, self._backend.journal_id)
            places = {str(Lane.parse(name)): (seq, digest) for name, seq, digest in anchor.lanes}
        except SignatureMismatchError:
            self.report.add("anchor", SERVER, record.seq, "its signature is not good")
            return
        except (Web4Error, ValueError) as error:
            reason = "it cannot be read" if isinstance(error, Web4Error) else str(error)
            self.report.add("anchor", SERVER, record.seq, reason)
            return
        self.report.anchors += 1
        if anchor.fingerprint not in self.report.signers:
            self.report.signers.append(anchor.fingerprint)
        self._anchored.update(places)

    def _take_repair(self, record: Any) -> None:
        """A lane that was cut by a repair is shorter than earlier anchors, and rightly so."""
        try:
            repair = self._own.decode(record)
        except Web4Error:
            return  # the lane's own check names it
        if self._anchored.get(repair.lane, (0, ""))[0] > repair.seq:
            del self._anchored[repair.lane]

    # --- blobs ------------------------------------------------------------------------------------------

    async def _check_blobs(self) -> None:
        after = ""
        while page := await self._backend.blobs(after=after, limit=_PAGE):
            for name, size, _ in page:
                data = await self._backend.blob(name)
                if data is None:
                    continue  # collected meanwhile
                self.report.blobs += 1
                # Hashing 64 MiB takes a while: others may run.
                digest = (
                    await trio.to_thread.run_sync(_core.blake3, data) if size > 2**20 else _core.blake3(data)
                )
                if f"b3:{digest.hex()}" != name or len(data) != size:
                    self.report.add("blob", None, None, f"{name} is not what its name says")
            after = page[-1][0]
            self._tell()


async def readable(backend: Backend, lane: Lane, after: int, error: CorruptJournalError) -> list[Any]:
    """The records between `after` and the one whose header cannot be read."""
    if error.seq is None or error.seq <= after + 1:
        return []
    return await backend.read(lane, after=after, before=error.seq, limit=error.seq - after - 1)
