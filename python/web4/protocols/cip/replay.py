"""The ids and nonces heard from one peer, held as long as a replay could pass the clock (REP-1 to REP-3).

The window is a value: remembering gives a new one and leaves the old as it was, at the cost of one step in a
hash trie, so that a lane can drop a provisional state (ACT-2) with 150 000 ids in it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from immutables import Map

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUCKETS: Final = 8
"""In how many steps the window moves on: an id is held up to one such step longer than it must."""
MOST_BACK_MS: Final = 1_800_000
"""How far a clock may be set back, and what was let go stays refused. Further back, a node that hears no HELLO would be
worse than one that may hear one twice: only its signer can say it again, and its answers hold in no other session."""
NEVER_MS: Final = -(2**63)
"""The arrival time of what was let go, when nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayLimits:
    """Limits of the window.

    Args:
        skew_ms: How far timestamps may differ from the time here; ids are held for twice that.
        ids: Ids and nonces held per peer.
    """

    skew_ms: int = 120_000
    ids: int = 150_000

    def __post_init__(self) -> None:
        if self.skew_ms <= 0 or self.ids < 2:
            raise ValueError("skew_ms must be positive, and ids at least 2: a HELLO has a nonce, too")

    @property
    def retention_ms(self) -> int:
        """How long an id can still be replayed: a timestamp may lead by `skew_ms` and then lag by it."""
        return 2 * self.skew_ms

    @property
    def bucket_ms(self) -> int:
        """The span of arrival times that share a bucket."""
        return -(-self.retention_ms // _BUCKETS)


class Heard(msgspec.Struct, frozen=True, gc=False):
    """What was heard under an id: BLAKE3 of its content (SIG-5), and of the whole envelope."""

    content: bytes
    envelope: bytes


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What the window says about an id.

    Args:
        kind: `fresh`: never heard; `duplicate`: the same content; `equivocation`: another content;
            `full`: no room to remember it; `forgotten`: so old that its id may have been heard and let go.
        first: What was heard before, if anything.
        retry_after_ms: With `full`: when the oldest ids will have gone, in milliseconds.
    """

    kind: Literal["fresh", "duplicate", "equivocation", "full", "forgotten"]
    first: Heard | None = None
    retry_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """Ids that came by `ends_ms`, Unix milliseconds, and after the bucket before."""

    ends_ms: int
    heard: Map[bytes, Heard]


@dataclass(frozen=True, slots=True)
class ReplayWindow:
    """What one peer has said within the window. The default is one that heard nothing.

    `forgot_ms` is the latest arrival time of anything that was let go.
    """

    buckets: tuple[Bucket, ...] = ()
    forgot_ms: int = NEVER_MS

    def __len__(self) -> int:
        return sum(len(bucket.heard) for bucket in self.buckets)

    def find(self, key: bytes) -> Heard | None:
        """What was heard under `key`, or None."""
        for bucket in self.buckets:
            heard = bucket.heard.get(key)
            if heard is not None:
                return heard
        return None

    def judge(
        self,
        key: bytes,
        content: bytes,
        *,
        at_ms: int,
        timestamp_ms: int,
        limits: ReplayLimits,
        room_for: int = 1,
    ) -> Verdict:
        """Compare an id with what was heard. Changes nothing.

        Args:
            key: The id: 16 bytes of a UUID, or 32 of a nonce.
            content: Its content digest; for a nonce, itself.
            at_ms: Time of arrival.
            timestamp_ms: The envelope's own timestamp.
            limits: See `ReplayLimits`.
            room_for: How many entries it will need.
        """
        first = self.find(key)
        if first is not None:
            return Verdict("duplicate" if first.content == content else "equivocation", first)
        # Only after the clock was set back can a message be within the skew and yet this old.
        if timestamp_ms <= self.forgot_ms + limits.skew_ms and not self.is_ahead(at_ms):
            return Verdict("forgotten")
        live = tuple(self._live(at_ms, limits))
        if sum(len(bucket.heard) for bucket in live) + room_for > limits.ids:
            return Verdict("full", retry_after_ms=live[0].ends_ms + limits.retention_ms + 1 - at_ms)
        return Verdict("fresh")

    def is_ahead(self, at_ms: int) -> bool:
        """Whether what was let go came at a time so far from now that the clock was set back further than is borne."""
        return self.forgot_ms - at_ms > MOST_BACK_MS

    def remembering(
        self, key: bytes, heard: Heard, *, at_ms: int, limits: ReplayLimits, anew: bool = False
    ) -> ReplayWindow:
        """Give the window that holds `key` too, and has let go what can no longer be replayed.

        With `anew` it does not matter any more what was let go before: see `is_ahead`.
        """
        live, forgot_ms = self._parted(at_ms, limits)
        if anew:
            forgot_ms = NEVER_MS
        # By the end of their span, so that what a clock that was ahead left there does not hold back what comes.
        place = bisect_left(live, at_ms, key=lambda bucket: bucket.ends_ms)
        if place < len(live) and live[place].ends_ms < at_ms + limits.bucket_ms:
            bucket = Bucket(live[place].ends_ms, live[place].heard.set(key, heard))
            return ReplayWindow((*live[:place], bucket, *live[place + 1 :]), forgot_ms)
        bucket = Bucket(at_ms + limits.bucket_ms - 1, Map({key: heard}))
        return ReplayWindow((*live[:place], bucket, *live[place:]), forgot_ms)

    def without_stale(self, at_ms: int, limits: ReplayLimits) -> ReplayWindow:
        """Give the window that has let go what can no longer be replayed."""
        return ReplayWindow(*self._parted(at_ms, limits))

    def _parted(self, at_ms: int, limits: ReplayLimits) -> tuple[tuple[Bucket, ...], int]:
        """What is still held, and the latest arrival time of what no longer is."""
        live = tuple(self._live(at_ms, limits))
        gone = self.buckets[: len(self.buckets) - len(live)]
        return live, max(self.forgot_ms, gone[-1].ends_ms) if gone else self.forgot_ms

    def _live(self, at_ms: int, limits: ReplayLimits) -> Iterator[Bucket]:
        return (bucket for bucket in self.buckets if bucket.ends_ms + limits.retention_ms >= at_ms)

    def is_stale(self, at_ms: int, limits: ReplayLimits) -> bool:
        """Whether nothing that is held could still be replayed."""
        return not any(self._live(at_ms, limits))
