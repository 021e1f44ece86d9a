"""The messages that wait for the application: bounded per peer and in all, taken in order of arrival."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.protocols.cip.actions import Delivery


_TAKEN_AT_ONCE: Final = 64
"""After so many others have their turn: a turn of the scheduler for each costs as much as handling it."""


class _Share:
    """What is held for one peer."""

    __slots__ = ("bytes", "count")

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0


_NOTHING: Final = _Share()


class Inbox:
    """An asynchronous iterator over deliveries. Any number of tasks may take from it; each delivery goes to one.

    A place is held for a delivery from the moment it is decided until it is durable and put here: what was found to
    have room has it. It never drops what it has taken. When it is full for a peer, the peer's messages are refused with
    `ERROR(busy, retry_after_ms)`, and its INTENTs answered REPLY(deferred): nobody else notices (LIM-1).

    Args:
        per_peer: Deliveries of one peer that may wait.
        total: Deliveries that may wait in all.
        bytes_per_peer: Bytes of one peer's envelopes beyond which no more of them may wait.
        bytes_total: The same for all peers together.
    """

    def __init__(self, *, per_peer: int, total: int, bytes_per_peer: int, bytes_total: int) -> None:
        self._per_peer = per_peer
        self._total = total
        self._bytes_per_peer = bytes_per_peer
        self._bytes_total = bytes_total
        self._waiting: deque[Delivery] = deque()
        self._shares: dict[str, _Share] = {}
        self._all_bytes = 0
        self._holding = 0
        self._readers = trio.lowlevel.ParkingLot()
        self._relief = trio.lowlevel.ParkingLot()
        self._taken = 0
        self._closed = False
        self.wanted = trio.Event()
        """Set once somebody reads: then the application is there, and may be asked."""

    def __len__(self) -> int:
        return len(self._waiting)

    def __aiter__(self) -> Inbox:
        return self

    async def __anext__(self) -> Delivery:
        """Wait for the next delivery. Cancelled, it has taken nothing. Ends when the runtime is left."""
        delivery = await self.take()
        if delivery is None:
            raise StopAsyncIteration
        self.release(delivery)
        return delivery

    async def take(self) -> Delivery | None:
        """As iterating, but the place stays held until `release`: what is being handled counts as waiting (ROUTE-5).

        None: the runtime was left, and nothing waits.
        """
        self.wanted.set()
        self._taken += 1
        if self._waiting and self._taken % _TAKEN_AT_ONCE:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._closed:
                return None
            await self._readers.park()
        self._holding += 1
        return self._waiting.popleft()

    def take_more(self, most: int) -> list[Delivery]:
        """Take what waits already, up to `most`; their places stay held until `release`."""
        more = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
        self._holding += len(more)
        return more

    async def relieved(self, peer: str, most: int, seconds: float) -> None:
        """Wait until `most` more deliveries of `peer` may wait, but no longer than that.

        Who reads from a peer asks this first: then a fast one is slowed down by its transport, and is refused as busy
        only if the application stays behind. Without a wait this is no checkpoint.
        """
        most = min(most, self._per_peer)
        if self._spare(peer) >= most or self._closed:
            return
        with trio.move_on_after(seconds):
            while self._spare(peer) < most and not self._closed:
                await self._relief.park()

    def _spare(self, peer: str) -> int:
        held = len(self._waiting) + self._holding
        if not self.room(peer):
            return 0
        return min(self._per_peer - self._shares.get(peer, _NOTHING).count, self._total - held)

    def room(self, peer: str, beside: int = 0, size: int = 0) -> bool:
        """Whether one more delivery of `peer` may wait, `beside` so many others of it, together of that size."""
        share = self._shares.get(peer, _NOTHING)
        return (
            not self._closed
            and share.count + beside < self._per_peer
            and len(self._waiting) + self._holding + beside < self._total
            and share.bytes + size < self._bytes_per_peer
            and self._all_bytes + size < self._bytes_total
        )

    def hold(self, delivery: Delivery) -> bool:
        """Hold a place for a delivery if there is room; say whether it has one. `put_held` or `release` follow."""
        if not self.room(delivery.peer):
            return False
        self._hold(delivery.peer, 1, delivery.size)
        return True

    def hold_together(self, deliveries: Sequence[Delivery]) -> None:
        """Hold places for deliveries of one peer, whether there is room or not: who decided about them had looked."""
        self._hold(deliveries[0].peer, len(deliveries), sum([one.size for one in deliveries]))

    def put_held(self, *deliveries: Delivery) -> None:
        """Let deliveries wait in the places that are held for them."""
        self._holding -= len(deliveries)
        self._waiting += deliveries
        self._readers.unpark(count=len(deliveries))

    def put_again(self, delivery: Delivery) -> None:
        """Let a delivery wait that was let in before, whether there is room or not: what is taken has a bound."""
        self._hold(delivery.peer, 1, delivery.size)
        self.put_held(delivery)

    def release(self, delivery: Delivery) -> None:
        """Give a held place back: its delivery will not come."""
        self._holding -= 1
        self._left(delivery)

    def put(self, delivery: Delivery) -> bool:
        """Let a delivery wait if there is room; say whether it does."""
        held = self.hold(delivery)
        if held:
            self.put_held(delivery)
        return held

    def purge(self, peer: str) -> None:
        """Drop what waits of a peer that was blacklisted (TRUST-8)."""
        waiting, self._waiting = self._waiting, deque()
        for delivery in waiting:
            if delivery.peer == peer:
                self._left(delivery)
            else:
                self._waiting.append(delivery)

    def close(self) -> None:
        """Take nothing more; what waits can still be read."""
        self._closed = True
        self._readers.unpark_all()
        self._relief.unpark_all()

    def _hold(self, peer: str, count: int, size: int) -> None:
        share = self._shares.get(peer)
        if share is None:
            share = self._shares[peer] = _Share()
        share.count += count
        share.bytes += size
        self._holding += count
        self._all_bytes += size

    def _left(self, delivery: Delivery) -> None:
        share, size = self._shares[delivery.peer], delivery.size
        share.count -= 1
        share.bytes -= size
        self._all_bytes -= size
        if not share.count:
            del self._shares[delivery.peer]
        if self._relief:
            self._relief.unpark_all()
