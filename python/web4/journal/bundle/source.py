"""A bundle as a place to replay from (JRN-22b)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from web4.journal.bundle.checking import read_lines, verify_bundle
from web4.journal.bundle.manifest import BLOBS, MANIFEST, MANIFESTS, LaneEntry
from web4.journal.chain import genesis
from web4.journal.lane import Lane
from web4.journal.record import Head, Record, Snapshot

if TYPE_CHECKING:
    from web4.journal.lane import LaneKind

_STEP: Final = 1_000
"""Records between two places in the file that are remembered."""


class BundleSource:
    """The records of a bundle, verified when it is opened. Blocks while it opens: give it a thread.

    Args:
        path: The bundle's directory.

    Raises:
        CorruptJournalError: `bundle`: it is not as it was exported.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        verify_bundle(self._path).raise_if_damaged()
        self.manifest = MANIFESTS.decode((self._path / MANIFEST).read_bytes())
        self._entries: dict[Lane, LaneEntry] = {Lane.parse(one.lane): one for one in self.manifest.lanes}
        self._places: dict[Lane, list[tuple[int, int]]] = {lane: [] for lane in self._entries}
        offset = 0
        for _, line in read_lines(self._path):
            places = self._places[Lane.parse(line.lane)]
            if not places or line.seq >= places[-1][0] + _STEP:
                places.append((line.seq, offset))
            offset += len(line.encode())

    @property
    def journal_id(self) -> bytes:
        """The id of the journal that it is a part of."""
        return bytes.fromhex(self.manifest.journal_id)

    async def head(self, lane: Lane) -> Head:
        """Where the piece of the lane ends and begins; the genesis for a lane that is not in the bundle."""
        entry = self._entries.get(lane)
        first = genesis(self.journal_id, lane)
        if entry is None:
            return Head(0, first, 0, 0, first)
        base = entry.first_seq - 1
        prev = bytes.fromhex(entry.prev)
        return Head(entry.last_seq, bytes.fromhex(entry.last_hash), 0, base, prev)

    async def heads(
        self, kind: LaneKind | None = None, *, after: Lane | None = None, limit: int = 500
    ) -> list[tuple[Lane, Head]]:
        """Lanes in order of their names."""
        lanes = sorted(self._entries)
        chosen = [lane for lane in lanes if kind in {None, lane.kind} and (after is None or lane > after)]
        return [(lane, await self.head(lane)) for lane in chosen[:limit]]

    async def read(self, lane: Lane, *, after: int = 0, limit: int = 500) -> list[Record]:
        """Records in order; those that were redacted come without their payload."""
        places = [offset for seq, offset in self._places.get(lane, []) if seq <= after + 1]
        if not places:
            return []
        found: list[Record] = []
        for number, line in read_lines(self._path, places[-1]):
            if line.lane != str(lane) or len(found) >= limit:
                break
            if line.seq > after:
                found.append(line.record(number))
        return found

    async def snapshots(self, lane: Lane) -> list[Snapshot]:
        """The base's snapshot, if the lane was compacted and its state was handed out."""
        entry = self._entries.get(lane)
        if entry is None or entry.base is None or entry.base.state is None:
            return []
        name = entry.base.state.removeprefix("b3:")
        state = (self._path / BLOBS / name).read_bytes()
        record_hash = bytes.fromhex(entry.base.record_hash)
        return [Snapshot.of(lane, entry.base.seq, record_hash, state, entry.base.logic_version)]
