"""How fast outbox types may go to a peer: its own limits, and how it says it is (PACE-4, LIM-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from web4.protocols.cip.meters import TokenBucket

if TYPE_CHECKING:
    from web4.protocols.messages.cip import StateUpdate

SILENCE_MS: Final = 90_000
"""After so long without a STATE_UPDATE a peer counts as engaged."""
_OVERLOADED_LRI: Final = 85
_DIFFUSE_LRI: Final = 60
_SHARE: Final = 0.9
"""Of the rate at which a peer like this node would begin to drop messages: control goes beside the outbox."""


class Pace(NamedTuple):
    """`wait_ms`: nothing goes before. `low`: whether low priority goes. `half`: whether at half rate."""

    wait_ms: int = 0
    low: bool = True
    half: bool = False


def pace(update: StateUpdate | None, heard_ms: int, now_ms: int) -> Pace:
    """Say what a peer's last STATE_UPDATE, heard at `heard_ms`, asks for (PACE-4)."""
    if update is None or now_ms - heard_ms >= SILENCE_MS:
        return Pace()
    if update.presence == "overloaded" or update.lri >= _OVERLOADED_LRI:
        return Pace(wait_ms=heard_ms + SILENCE_MS - now_ms)
    if update.presence == "diffuse" or update.lri >= _DIFFUSE_LRI:
        return Pace(low=False, half=True)
    return Pace()


class Rate:
    """Keeps the outbox under what the peer takes, halved when it asks for it."""

    def __init__(self, per_second: float, burst: float) -> None:
        self._full = TokenBucket(per_second * _SHARE, max(1.0, burst * _SHARE))
        self._half = TokenBucket(per_second * _SHARE / 2, max(1.0, burst * _SHARE / 2))

    def take(self, count: int, now_ns: int, *, half: bool) -> int:
        """How many of `count` messages may go now."""
        return (self._half if half else self._full).take_some(count, now_ns)

    def retry_after_ms(self, *, half: bool) -> int:
        """Milliseconds until the next one may."""
        return (self._half if half else self._full).retry_after_ms()
