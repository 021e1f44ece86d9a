"""The lanes that this journal writes: where they end, as far as it is durable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.journal.event_types import OWN_PREFIX
from web4.journal.lane import SERVER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.journal.lane import Lane
    from web4.journal.record import Head, Record, Snapshot


class OwnedLane:
    """A lane that this journal writes.

    Args:
        lane: Which one.
        head: Where it ends, as far as that is durable.
    """

    __slots__ = ("end", "group", "head", "lane", "text")

    def __init__(self, lane: Lane, head: Head) -> None:
        self.lane = lane
        self.text = str(lane)
        self.head = head
        self.group = 0
        """Number of the group that counts in `end`. What an earlier one left there means nothing."""
        self.end = 0


class OwnedLanes:
    """The heads that are durable and known, and where the last record on `server` is that is not the journal's own.

    Args:
        own: Become a lane's writer; its head.
        read: The newest records of a lane below a number, newest first.
        bound: Lanes held between two groups at most; the earliest known give way.
        shared: Whether other nodes may write lanes that this one has let go.
    """

    def __init__(
        self,
        *,
        own: Callable[[Lane], Awaitable[Head]],
        read: Callable[[Lane, int], Awaitable[list[Record]]],
        bound: int,
        shared: bool,
    ) -> None:
        self._own = own
        self._read = read
        self._bound = bound
        self.shared = shared
        self._lanes: dict[Lane, OwnedLane] = {}
        self.known = self._lanes.get
        """A lane, if it is held."""
        self.foreign = 0
        self._groups = 0

    def next_group(self) -> int:
        """The number of a new group. Only now lanes are let go: a group must find again what it has counted."""
        while len(self._lanes) > self._bound:
            del self._lanes[next(iter(self._lanes))]
        self._groups += 1
        return self._groups

    async def own(self, lane: Lane) -> OwnedLane:
        """A lane that this journal writes, from now on at the latest."""
        owned = self._lanes.get(lane)
        if owned is None:
            owned = OwnedLane(lane, await self._own(lane))
            if lane == SERVER:
                self.foreign = await self._last_foreign(owned.head)
            self._lanes[lane] = owned
        return owned

    def rebased(self, base: Snapshot) -> None:
        """Note where a lane begins now."""
        owned = self._lanes.get(base.lane)
        if owned is not None:
            owned.head = owned.head._replace(base_seq=base.seq, base_hash=base.record_hash)

    def forget(self, lane: Lane) -> None:
        """Ask for the head again before the next commit."""
        self._lanes.pop(lane, None)

    async def _last_foreign(self, head: Head) -> int:
        before = head.seq + 1
        while records := await self._read(SERVER, before):
            for record in records:
                if not record.type.startswith(OWN_PREFIX):
                    return record.seq
            before = records[-1].seq
        return head.base_seq
