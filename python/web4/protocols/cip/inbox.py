"""The messages that wait for the application: bounded per peer and in all, taken in order of arrival."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from web4.protocols.cip.actions import Delivery


class Inbox:
    """An asynchronous iterator over deliveries. Any number of tasks may take from it; each delivery goes to one.

    It never drops what it has taken. When it is full for a peer, the peer's messages are refused with
    `ERROR(busy, retry_after_ms)`, and its INTENTs answered REPLY(deferred): nobody else notices (LIM-1).

    Args:
        per_peer: Deliveries of one peer that may wait.
        total: Deliveries that may wait in all.
    """

    def __init__(self, *, per_peer: int, total: int) -> None:
        self._per_peer = per_peer
        self._total = total
        self._waiting: deque[Delivery] = deque()
        self._count: Counter[str] = Counter()
        self._readers = trio.lowlevel.ParkingLot()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def __aiter__(self) -> Inbox:
        return self

    async def __anext__(self) -> Delivery:
        """Wait for the next delivery. Cancelled, it has taken nothing. Ends when the runtime is left."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            await self._readers.park()
        delivery = self._waiting.popleft()
        self._uncount(delivery.peer)
        return delivery

    def room(self, peer: str) -> bool:
        """Whether one more delivery of `peer` may wait."""
        return not self._closed and self._count[peer] < self._per_peer and len(self._waiting) < self._total

    def put(self, delivery: Delivery) -> bool:
        """Let a delivery wait if there is room; say whether it does."""
        if not self.room(delivery.peer):
            return False
        self._waiting.append(delivery)
        self._count[delivery.peer] += 1
        self._readers.unpark()
        return True

    def purge(self, peer: str) -> int:
        """Drop what waits of a peer that was blacklisted (TRUST-8); how many that were."""
        kept = [delivery for delivery in self._waiting if delivery.peer != peer]
        dropped = len(self._waiting) - len(kept)
        self._waiting = deque(kept)
        del self._count[peer]
        return dropped

    def close(self) -> None:
        """Take nothing more; what waits can still be read."""
        self._closed = True
        self._readers.unpark_all()

    def _uncount(self, peer: str) -> None:
        self._count[peer] -= 1
        if not self._count[peer]:
            del self._count[peer]
