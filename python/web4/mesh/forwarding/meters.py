"""How much of each origin is passed on, and how often: token buckets, bounded in number (MESH-7)."""

from __future__ import annotations

from collections import OrderedDict


class Bucket:
    """Lets `rate` a second through, and `burst` at once. What is larger than the burst passes when it is full."""

    __slots__ = ("_at_ms", "_burst", "_rate", "tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate / 1_000
        self._burst = burst
        self.tokens = burst
        self._at_ms: float | None = None

    def wait_ms(self, size: float, now_ms: float) -> float:
        """Milliseconds until `size` may pass; 0 if it may now."""
        if self._at_ms is not None:
            self.tokens = min(self._burst, self.tokens + (now_ms - self._at_ms) * self._rate)
        self._at_ms = now_ms
        missing = min(size, self._burst) - self.tokens
        return 0.0 if missing <= 0 else missing / self._rate

    def take(self, size: float) -> None:
        """Let `size` pass; the bucket may owe some of it."""
        self.tokens -= size


class OriginMeters:
    """One bucket for each origin, whatever neighbour it leaves by.

    Args:
        rate: Bytes a second.
        burst: Bytes at once.
        origins: How many are metered; the one that was quiet for longest is forgotten first.
    """

    def __init__(self, *, rate: float, burst: float, origins: int) -> None:
        self._rate = rate
        self._burst = burst
        self._origins = origins
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, origin: str) -> Bucket:
        """The bucket of an origin."""
        bucket = self._buckets.get(origin)
        if bucket is None:
            bucket = self._buckets[origin] = Bucket(self._rate, self._burst)
            if len(self._buckets) > self._origins:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(origin)
        return bucket
