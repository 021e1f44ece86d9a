"""Whether a batch that comes again is there already (JRN-4d)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4 import _core
from web4.journal.event_types import OWN_PREFIX
from web4.journal.lane import SERVER
from web4.journal.record import Appended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.journal.draft import Prepared
    from web4.journal.lane import Lane
    from web4.journal.record import Head, Record
    from web4.journal.waiting import Part

_OWN_BETWEEN: Final = 1_000
"""Records of the journal's own that are looked through for a repeated batch."""


async def find_repeated(
    part: Part,
    *,
    head: Head,
    foreign: int,
    read: Callable[[Lane, int, int], Awaitable[list[Record]]],
) -> Appended | None:
    """Where these very events are, if the lane ends with them at the numbers the caller expects.

    On `server` what the journal itself has said before and after them does not count.

    Args:
        part: What is to be appended once more.
        head: Where the lane ends.
        foreign: Where `server` ends without the journal's own records.
        read: Records of a lane beyond a number, so many at most.
    """
    lane, events, expected = part
    last = foreign if lane == SERVER else head.seq
    first = last - len(events) + 1
    between = first - 1 - expected
    if expected < head.base_seq or not 0 <= between <= (_OWN_BETWEEN if lane == SERVER else 0):
        return None
    after = max(expected - 1, head.base_seq)
    stored = await read(lane, after, last - after)
    at = None if expected else -(2**63)
    digest, found = head.hash, 0
    for record in stored:
        if expected < record.seq < first and not record.type.startswith(OWN_PREFIX):
            return None
        if record.seq >= first:
            event = events[record.seq - first]
            # Where the record before was compacted away, its time is not known; this one's is no earlier.
            again = _header_of(lane, record.seq, event, record.at if at is None else at)
            if (again, event.payload) != (record.header, record.payload):
                return None
            digest, found = record.hash, found + 1
        at = record.at
    return Appended(first, last, digest) if found == len(events) else None


def _header_of(lane: Lane, seq: int, event: Prepared, floor: int) -> bytes:
    """The header that this event would have at this place, after a record of time `floor`."""
    draft = (max(floor, event.at), event.cause, event.principal, event.refs, event.name, event.v)
    header, _, _ = _core.seal_records(str(lane), seq, bytes(32), [(*draft, b"", b"")])[0]
    return header
