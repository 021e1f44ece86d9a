"""How often is too often: token buckets and windows over a monotonic clock (LIM-2, CIP-2, VAL-4)."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

_SECOND_NS: Final = 1_000_000_000
_MINUTE_NS: Final = 60 * _SECOND_NS


class TokenBucket:
    """Lets `rate` a second through, and `burst` at once.

    Args:
        rate: Tokens that grow per second.
        burst: Tokens at most, and at the beginning.
    """

    def __init__(self, rate: float, burst: float) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("a bucket needs a positive rate and room for one")
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at_ns: int | None = None

    def take(self, now_ns: int) -> bool:
        """Take a token if there is one."""
        return self.take_some(1, now_ns) == 1

    def take_some(self, most: int, now_ns: int) -> int:
        """Take as many tokens as there are, up to `most`; how many those were."""
        if self._at_ns is not None:
            grown = (now_ns - self._at_ns) * self._rate / _SECOND_NS
            self._tokens = min(self._burst, self._tokens + grown)
        self._at_ns = now_ns
        taken = min(most, int(self._tokens))
        self._tokens -= taken
        return taken

    def take_several(self, most: int, now_ns: int) -> int:
        """Take as many tokens as there are, up to `most`; how many."""
        taken = 1 if self.take(now_ns) else 0
        if taken:
            taken += min(most - 1, int(self._tokens))
            self._tokens -= taken - 1
        return taken

    def retry_after_ms(self) -> int:
        """Milliseconds from the last `take` until there is a token again, at least 1."""
        return max(1, round((1 - self._tokens) / self._rate * 1_000))


class SlidingWindow:
    """Lets `count` through in any second, wherever it begins: a bucket that holds as many would let twice that through.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError("a window needs room for one")
        self._times: deque[int] = deque(maxlen=count)

    def take(self, now_ns: int) -> bool:
        """Take a place if there is one."""
        if len(self._times) == self._times.maxlen and now_ns - self._times[0] < _SECOND_NS:
            return False
        self._times.append(now_ns)
        return True


class FaultWindow:
    """Counts a peer's faulty envelopes and says when it has become too many (VAL-4).

    Args:
        per_minute: As many within 60 s are borne.
    """

    def __init__(self, per_minute: int) -> None:
        self._times: deque[int] = deque(maxlen=per_minute + 1)

    def __len__(self) -> int:
        """How many of the newest faults are held, at most one more than is borne."""
        return len(self._times)

    def count(self, now_ns: int) -> bool:
        """Count one; whether the bearable number is exceeded."""
        self._times.append(now_ns)
        return len(self._times) == self._times.maxlen and now_ns - self._times[0] < _MINUTE_NS


class Turns:
    """Takes turns: so many a second of all who ask together, and who asks first goes first. Nothing is refused.

    Args:
        rate: How many a second.
        burst: How many at once, after a pause.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._each_ns = _SECOND_NS / rate
        self._burst_ns = burst * self._each_ns
        self._until_ns = float("-inf")

    def take(self, count: int, now_ns: int) -> float:
        """Take as many; seconds to wait before the next."""
        self._until_ns = max(self._until_ns, now_ns - self._burst_ns) + count * self._each_ns
        return max(0.0, self._until_ns - now_ns) / _SECOND_NS


class AddressMeters:
    """Handshakes per network address: 5 a second, 20 at once (section 22).

    A key is proven before this is asked, so the address is all that can be limited; the least recently seen
    addresses are forgotten beyond `addresses`.
    """

    def __init__(self, rate: float, burst: float, *, addresses: int = 4_096) -> None:
        self._rate = rate
        self._burst = burst
        self._addresses = addresses
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, address: str, now_ns: int) -> bool:
        """Take a token of `address` if it has one."""
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = TokenBucket(self._rate, self._burst)
            if len(self._buckets) > self._addresses:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(address)
        return bucket.take(now_ns)
