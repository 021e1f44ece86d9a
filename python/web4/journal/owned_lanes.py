"""The lanes that this journal writes: where they end, as far as it is durable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.journal.lane import SERVER
from web4.journal.own_events import OWN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.journal.lane import Lane
    from web4.journal.record import Head, Record, Snapshot


class OwnedLanes:
    """The heads that are durable and known, and where the last record on `server` is that is not the journal's own.

    Args:
        own: Become a lane's writer; its head.
        read: The newest records of a lane below a number, newest first.
        bound: Heads held at most; the earliest known give way.
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
        self._heads: dict[Lane, Head] = {}
        self.known = self._heads.get
        """The head of a lane, if it is held."""
        self.foreign = 0

    async def head(self, lane: Lane) -> Head:
        """The head of a lane that this journal writes, from now on at the latest."""
        head = self._heads.get(lane)
        if head is None:
            head = await self._own(lane)
            if lane == SERVER:
                self.foreign = await self._last_foreign(head)
            self._hold(lane, head)
        return head

    def moved(self, lane: Lane, head: Head) -> None:
        """Note where a lane ends now."""
        if lane in self._heads:
            self._heads[lane] = head
        else:
            self._hold(lane, head)

    def rebased(self, base: Snapshot) -> None:
        """Note where a lane begins now."""
        head = self._heads.get(base.lane)
        if head is not None:
            self._heads[base.lane] = head._replace(base_seq=base.seq, base_hash=base.record_hash)

    def forget(self, lane: Lane) -> None:
        """Ask for the head again before the next commit."""
        self._heads.pop(lane, None)

    def _hold(self, lane: Lane, head: Head) -> None:
        if len(self._heads) >= self._bound:
            del self._heads[next(iter(self._heads))]
        self._heads[lane] = head

    async def _last_foreign(self, head: Head) -> int:
        before = head.seq + 1
        while records := await self._read(SERVER, before):
            for record in records:
                if not record.type.startswith(OWN_PREFIX):
                    return record.seq
            before = records[-1].seq
        return head.base_seq
