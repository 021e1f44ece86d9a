"""The index of a lane: ids of outbox types, remembered for days (REP-1).

Parts by time of arrival, each a persistent map: remembering costs one step in a hash trie, and what is too old goes a
part at a time. A part takes an eighth of the ids, or of the time, that may be held.

An id younger than the replay window is never forgotten; there is no room then, and the message is refused. Older ones
give way when there are too many. An honest peer cannot repeat those: it holds at most 10 000 envelopes without a
conclusion (OUT-6), repeats them oldest first on a new session, and the receipts of a session that lives arrive in
order. So fewer ids than that were used since the last arrival of any that it may still repeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from immutables import Map

from web4.protocols.cip.replay import Heard

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.protocols.cip.replay import ReplayLimits

_PARTS: Final = 8


class Part(msgspec.Struct, frozen=True):
    """Ids that came between two moments, Unix milliseconds."""

    first_ms: int
    last_ms: int
    heard: Map[bytes, Heard] = Map()


class Room(msgspec.Struct, frozen=True):
    """What the index has to do to take one more id; with `retry_after_ms` it cannot."""

    begins: bool = False
    lets_go: int = 0
    retry_after_ms: int | None = None


_AS_IT_IS: Final = Room()


class KnownIds(msgspec.Struct, frozen=True):
    """The ids of outbox types that one peer has used, oldest part first."""

    parts: tuple[Part, ...] = ()

    def __len__(self) -> int:
        return sum([len(part.heard) for part in self.parts])

    def find(self, key: bytes) -> Heard | None:
        """What was heard under an id, 16 bytes."""
        for part in reversed(self.parts):
            heard = part.heard.get(key)
            if heard is not None:
                return heard
        return None

    def room(self, at_ms: int, limits: ReplayLimits, retention_ms: int, *, refuse: bool = True) -> Room:
        """Say how one more id finds a place.

        Args:
            at_ms: Time of arrival.
            limits: How many ids are held, and how long none of them is forgotten (REP-1).
            retention_ms: How long they are held where there is room.
            refuse: Whether to refuse if there is none; otherwise the oldest always give way.
        """
        parts = self.parts
        if not parts:
            return Room(begins=True)
        newest = parts[-1]
        part_ids, part_ms = max(1, limits.ids // _PARTS), retention_ms // _PARTS
        if (
            len(parts) < _PARTS  # full parts, and there is room for one more
            and len(newest.heard) < part_ids
            and at_ms - newest.first_ms < part_ms
            and parts[0].last_ms + retention_ms >= at_ms
        ):
            return _AS_IT_IS
        lets_go = 0
        while lets_go < len(parts) and parts[lets_go].last_ms + retention_ms < at_ms:
            lets_go += 1
        held = sum([len(part.heard) for part in parts[lets_go:]])
        while held >= limits.ids and lets_go < len(parts):
            oldest = parts[lets_go]
            left_ms = oldest.last_ms + limits.retention_ms + 1 - at_ms
            # More is left only to a clock that was set back: then the oldest give way, as they do for their number.
            if refuse and 0 < left_ms <= 2 * limits.retention_ms + 1:
                return Room(retry_after_ms=left_ms)
            held -= len(oldest.heard)
            lets_go += 1
        begins = lets_go == len(parts) or len(newest.heard) >= part_ids or at_ms - newest.first_ms >= part_ms
        return Room(begins, lets_go)

    def room_for(self, at_ms: int, limits: ReplayLimits, retention_ms: int) -> tuple[Room, int]:
        """Say how one more id finds a place, and how many that come with it find theirs beside it: itself included."""
        room = self.room(at_ms, limits, retention_ms)
        if room.retry_after_ms is not None:
            return room, 0
        parts = self.parts[room.lets_go :]
        used, first_ms = (0, at_ms) if room.begins else (len(parts[-1].heard), parts[-1].first_ms)
        if at_ms - first_ms >= retention_ms // _PARTS:
            return room, 1  # each begins a part
        count = max(1, limits.ids // _PARTS) - used
        if len(parts) + room.begins >= _PARTS:
            count = min(count, limits.ids - sum([len(part.heard) for part in parts]))
        return room, count

    def adding_together(
        self, ids: Iterable[tuple[bytes, bytes, bytes]], at_ms: int, *, begins: bool, lets_go: int
    ) -> KnownIds:
        """Give the index that holds these too, in one part: keys, with the digests of content and envelope."""
        parts = self.parts[lets_go:] if lets_go else self.parts
        if begins:
            before, newest = parts, Part(at_ms, at_ms)
        else:
            before, newest = parts[:-1], parts[-1]
        change = newest.heard.mutate()
        for key, content, envelope in ids:
            change[key] = Heard(content, envelope)
        return KnownIds((*before, Part(newest.first_ms, max(newest.last_ms, at_ms), change.finish())))

    def adding(self, key: bytes, heard: Heard, at_ms: int, *, begins: bool, lets_go: int) -> KnownIds:
        """Give the index that holds `key` too."""
        parts = self.parts[lets_go:] if lets_go else self.parts
        if begins:
            return KnownIds((*parts, Part(at_ms, at_ms, Map({key: heard}))))
        newest = parts[-1]
        newest = Part(newest.first_ms, max(newest.last_ms, at_ms), newest.heard.set(key, heard))
        return KnownIds((*parts[:-1], newest))
