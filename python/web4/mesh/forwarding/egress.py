"""What waits for one neighbour: fair between origins, no faster than it takes and than MESH-7 allows."""

from __future__ import annotations

from collections import OrderedDict, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from web4.mesh.forwarding.meters import Bucket
from web4.protocols.errors import NotConnectedError
from web4.rtt import RttError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.foundation.clock import Clock
    from web4.mesh.forwarding.meters import OriginMeters
    from web4.mesh.policy import MeshForwardingPolicy

_CONTROL: Final = 256
"""Control messages that wait for a neighbour; one that reads none is not told more."""
_OWN_SLACK: Final = 64 * 1024
"""Bytes that a node's own streams may have waiting beyond the limit: what has no way to wait, as a window."""


class Egress:
    """The queues to one neighbour. Relayed parts wait by origin, who take turns; control messages go before them.

    Args:
        policy: Rates and bounds.
        meters: What each origin may have passed on, over all neighbours.
        clock: Where time comes from.
        control: Gives the neighbour a control message.
        relay: Gives it a relayed part; waits while it does not read.
    """

    def __init__(
        self,
        policy: MeshForwardingPolicy,
        meters: OriginMeters,
        clock: Clock,
        *,
        control: Callable[[bytes], Awaitable[object]],
        relay: Callable[[bytes], Awaitable[object]],
    ) -> None:
        self._policy = policy
        self._meters = meters
        self._clock = clock
        self._give_control = control
        self._give_relay = relay
        self._control: deque[bytes] = deque()
        self._relay: OrderedDict[str, deque[bytes]] = OrderedDict()
        self._bytes: dict[str, int] = {}
        self._pace = Bucket(policy.messages_per_second, max(1.0, policy.messages_per_second / 4))
        self._news = trio.Event()
        self._room = trio.lowlevel.ParkingLot()
        self._closed = False

    def waiting(self, origin: str) -> int:
        """Bytes of an origin that wait."""
        return self._bytes.get(origin, 0)

    def say(self, data: bytes) -> bool:
        """Queue a control message; False if the neighbour reads none."""
        if self._closed or len(self._control) >= _CONTROL:
            return False
        self._control.append(data)
        self._news.set()
        return True

    def offer(self, origin: str, data: bytes, *, own: bool = False) -> bool:
        """Queue a relayed part; False if too much of its origin, or of too many origins, waits."""
        bound = self._policy.queue_bytes + (_OWN_SLACK if own else 0)
        if self._closed or self.waiting(origin) + len(data) > bound:
            return False
        if origin not in self._relay:
            if len(self._relay) >= self._policy.origins:
                return False
            self._relay[origin] = deque()
        self._relay[origin].append(data)
        self._bytes[origin] = self.waiting(origin) + len(data)
        self._news.set()
        return True

    def full(self, origin: str) -> bool:
        """Whether an origin that can wait should."""
        return self.waiting(origin) >= self._policy.queue_bytes // 4

    async def wait_for_room(self, origin: str) -> None:
        """Wait until it should no more, or the neighbour is gone."""
        while not self._closed and self.full(origin):
            await self._room.park()

    def close(self) -> None:
        """The neighbour is gone: what waits is lost, and nobody waits any more."""
        self._closed = True
        self._control.clear()
        self._relay.clear()
        self._bytes.clear()
        self._room.unpark_all()
        self._news.set()

    async def run(self) -> None:
        """Give the neighbour what waits, until it is gone."""
        while not self._closed:
            wait_ms = await self._round()
            if wait_ms:  # nothing has happened since it looked: it did not wait
                self._news = trio.Event()
                with trio.move_on_after(wait_ms / 1_000):
                    await self._news.wait()

    async def _round(self) -> float:
        """Give one message; how long to wait before the next."""
        now_ms = self._clock.monotonic_ns() / 1e6
        wait_ms = self._pace.wait_ms(1, now_ms)
        if wait_ms:
            await trio.sleep(wait_ms / 1_000)  # news can change nothing about the pace
            return 0.0
        if self._control:
            await self._give(self._give_control, self._control.popleft())
            return 0.0
        shortest = float("inf")
        for origin, queue in list(self._relay.items()):
            bucket = self._meters.of(origin)
            wait_ms = bucket.wait_ms(len(queue[0]), now_ms)
            if wait_ms:
                shortest = min(shortest, wait_ms)
                continue
            data = queue.popleft()
            bucket.take(len(data))
            self._taken(origin, queue, len(data))
            await self._give(self._give_relay, data)
            return 0.0
        return shortest

    def _taken(self, origin: str, queue: deque[bytes], size: int) -> None:
        self._bytes[origin] -= size
        if queue:
            self._relay.move_to_end(origin)
        else:
            del self._relay[origin], self._bytes[origin]
        if not self.full(origin):
            self._room.unpark_all()

    async def _give(self, give: Callable[[bytes], Awaitable[object]], data: bytes) -> None:
        self._pace.take(1)
        # What a session does not take is lost, as on any way that ends; who watches the link hears of it, too.
        with suppress(RttError, NotConnectedError):
            await give(data)
