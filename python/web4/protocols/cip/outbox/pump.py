"""Says what a peer's outbox holds over one established session (OUT-2, OUT-4, OUT-7)."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, Protocol

from web4.protocols.cip.outbox.bodies import attempts, timestamp
from web4.protocols.cip.outbox.commands import Conclude
from web4.protocols.cip.outbox.pacing import Rate, pace
from web4.rtt import BatchTooLargeError, MessageTooLargeError, RttError

if TYPE_CHECKING:
    from web4.protocols.cip.context import CipContext
    from web4.protocols.cip.outbox.entries import Queued
    from web4.protocols.cip.peer import Peer
    from web4.protocols.cip.sealing import Sealed
    from web4.protocols.messages.vocabulary import ChannelKind
    from web4.rtt import Channel

_BATCH: Final = 64
_BATCH_BYTES: Final = 128 * 1024
_AGAIN_MS: Final = 30_000
"""After so long without a receipt on a session that lives an entry is said again; doubles with each time in a row."""
_AGAIN_MOST_MS: Final = 600_000


class Line(Protocol):
    """What a pump needs of the session it works for."""

    async def channel(self, kind: ChannelKind) -> Channel:
        """The session's channel of this kind, once it is open.

        Raises:
            RttError: It never will be.
        """
        ...

    def allows(self, type_name: str) -> bool:
        """Whether what a type needs was agreed (CIP-3)."""
        ...

    @property
    def up(self) -> bool:
        """Whether the session has a carrier now."""
        ...

    def sent(self, sealed: Sealed) -> None:
        """The transport has accepted a message."""
        ...


class Pump:
    """Sends a peer's entries in the order of its queue, as many at once as wait.

    Args:
        context: What the node's sessions share.
        peer: Whose outbox.
        line: Over what.
    """

    def __init__(self, context: CipContext, peer: Peer, line: Line) -> None:
        self._context = context
        self._peer = peer
        self._queue = peer.queue
        self._line = line
        options = context.options
        self._rate = Rate(options.messages_per_second, options.message_burst)
        self._again_ms = _AGAIN_MS
        self._oldest: str | None = None
        self._oldest_ms = 0

    async def run(self) -> None:
        """Send until the session is over. The journal's errors escape: what cannot be concluded is not done."""
        async with self._queue.turn:
            self._queue.rewind()
            try:
                while True:
                    await self._queue.changed(await self._once() / 1_000)
            except RttError:
                return  # what has no receipt goes over the next session (OUT-4)
            finally:
                self._queue.rewind()

    async def _once(self) -> float:
        """Send what may be sent now; milliseconds after which to look again."""
        queue = self._queue
        while True:
            now_ms = self._context.clock.wall_ms()
            # The wall clock may be set back a day meanwhile.
            ticks_ms = self._context.clock.monotonic_ns() // 1_000_000
            now = pace(self._peer.newest_state, self._peer.state_heard_ms, ticks_ms)
            wait_ms = max(now.wait_ms, queue.paused_until_ms - ticks_ms)
            if wait_ms > 0:
                return wait_ms
            again_ms = self._overdue(ticks_ms)
            batch = queue.next(_BATCH, _BATCH_BYTES, low=now.low)
            if not batch:
                return again_ms
            if await self._ended(batch, now_ms):
                continue
            count = self._rate.take(len(batch), self._context.clock.monotonic_ns(), half=now.half)
            if count:
                queue.fly(batch[:count])
                await self._say(batch[:count], now_ms)
            if count < len(batch):
                return min(again_ms, self._rate.retry_after_ms(half=now.half))

    def _overdue(self, now_ms: int) -> float:
        """Say everything again if its oldest has waited too long for a receipt; how long it may wait still."""
        oldest = next(iter(self._queue.flying), None)
        if oldest is None:
            self._oldest, self._again_ms = None, _AGAIN_MS
            return float("inf")
        if oldest != self._oldest or not self._line.up:  # nobody can have receipted it meanwhile
            self._oldest, self._oldest_ms, self._again_ms = oldest, now_ms, _AGAIN_MS
        left_ms = self._oldest_ms + self._again_ms - now_ms
        if left_ms > 0:
            return left_ms
        self._oldest_ms, self._again_ms = now_ms, min(2 * self._again_ms, _AGAIN_MOST_MS)
        self._queue.rewind()
        return self._again_ms

    async def _ended(self, batch: list[Queued], now_ms: int) -> bool:
        """Conclude what is too old, and what this peer does not take (OUT-5, OUT-7); whether there was any."""
        ttl_ms = self._context.options.outbox.ttl_ms
        expired = [one.msg_id for one in batch if one.at_ms + ttl_ms <= now_ms]
        barred = {kind for kind in {one.type for one in batch} if not self._line.allows(kind)}
        foreign = [one.msg_id for one in batch if one.type in barred] if barred else []
        if not (expired or foreign):
            return False
        lane = self._peer.lane
        if expired:
            lane.handle(Conclude(at_ms=now_ms, msg_ids=tuple(expired), outcome="expired"))
        if foreign:
            lane.handle(
                Conclude(at_ms=now_ms, msg_ids=tuple(foreign), outcome="refused", reason="capability")
            )
        await lane.durable()
        return True

    async def _say(self, batch: list[Queued], now_ms: int) -> None:
        flying = self._queue.flying
        for kind, entries in groupby(batch, key=_channel):
            channel = await self._line.channel(kind)
            # What ended meanwhile is not said any more: it may have been revoked (HCP-3).
            sealed = await self._sealed([one for one in entries if one.msg_id in flying], now_ms)
            sealed = [one for one in sealed if one.msg_id in flying]
            if not sealed:
                continue
            try:
                await channel.send_many([one.data for one in sealed])
            except (BatchTooLargeError, MessageTooLargeError):
                await self._singly(channel, sealed, now_ms)
            else:
                for one in sealed:
                    self._line.sent(one)

    async def _sealed(self, entries: list[Queued], now_ms: int) -> list[Sealed]:
        """Give entries a fresh timestamp and a signature (OUT-2)."""
        identity, limit = self._context.identity, self._context.options.envelope_bytes
        bodies = [
            one.body.encode() if one.body is not None else await self._peer.lane.blob(one.blob or "")
            for one in entries
        ]
        stamps = [timestamp(self._queue.stamp_ms(one, now_ms)) for one in entries]
        return attempts(identity, list(zip(entries, bodies, strict=True)), stamps, limit)

    async def _singly(self, channel: Channel, sealed: list[Sealed], now_ms: int) -> None:
        for one in sealed:
            if one.msg_id not in self._queue.flying:
                continue
            try:
                await channel.send(one.data)
            except MessageTooLargeError:
                too_large = Conclude(
                    at_ms=now_ms, msg_ids=(one.msg_id,), outcome="refused", reason="too_large"
                )
                self._peer.lane.handle(too_large)
                await self._peer.lane.durable()
            else:
                self._line.sent(one)


def _channel(entry: Queued) -> ChannelKind:
    return entry.channel
