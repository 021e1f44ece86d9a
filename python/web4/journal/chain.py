"""Whether stored records are the ones that were written (JRN-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4 import _core
from web4.journal.errors import CorruptJournalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.journal.lane import Lane
    from web4.journal.record import Record


def genesis(journal_id: bytes, lane: Lane) -> bytes:
    """The `prev` of a lane's first record (JRN-3d)."""
    return _core.lane_genesis(journal_id, str(lane))


def check_run(lane: Lane, prev: bytes, after: int, records: Sequence[Record]) -> bytes:
    """Check that `records` follow record `after`, whose hash is `prev`, without a gap; the hash of the last.

    Raises:
        CorruptJournalError: `chain_broken`, with the lane and the first number that is not as it was written.
    """
    broken = _core.first_broken_record(
        prev, [(one.header, one.payload, one.salt, one.payload_hash, one.hash) for one in records]
    )
    sound = records if broken is None else records[:broken]
    place = f'"lane":"{lane}",'.encode()
    for expected, one in enumerate(sound, start=after + 1):
        # The chain covers the header, and the header has to name this very place. No text can fake a member: its
        # quotes would be escaped.
        named = place in one.header and b'"seq":%d,' % expected in one.header
        if one.seq != expected or not named:
            raise broken_at(lane, expected)
    if broken is not None:
        raise broken_at(lane, after + 1 + broken)
    return records[-1].hash if records else prev


def broken_at(lane: Lane, seq: int) -> CorruptJournalError:
    """The error that names a damaged record."""
    return CorruptJournalError(
        f"{lane} {seq}: not what was written, or not in its place", code="chain_broken", lane=lane, seq=seq
    )


def require_unbroken(lane: Lane, after: int, records: Sequence[Record], *, reverse: bool) -> None:
    """Refuse to pass over a record that is missing behind `after`: whoever reads on would believe that it never was.

    Raises:
        CorruptJournalError: `chain_broken`, with the lane and the first number that is missing.
    """
    if not records:
        return
    first, last = (records[-1].seq, records[0].seq) if reverse else (records[0].seq, records[-1].seq)
    if not reverse and first != after + 1:
        raise broken_at(lane, after + 1)
    if last - first + 1 != len(records):
        there = {record.seq for record in records}
        raise broken_at(lane, next(seq for seq in range(first, last) if seq not in there))
