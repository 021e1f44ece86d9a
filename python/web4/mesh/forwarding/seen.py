"""Which envelopes were here already: (origin, id), as long as they live (MESH-3, step 3)."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Literal

Seen = Literal["new", "seen", "full"]


class SeenCache:
    """Remembers ids until their envelopes expire. It never forgets one that lives: it refuses more.

    Args:
        each: Ids remembered of one origin, and of what one neighbour hands over: who makes up origins, or passes on
            whatever it gets, fills its own share.
        total: Ids remembered in all.
        longest_ms: How much later than now an envelope can expire that is good now.
    """

    def __init__(self, *, each: int, total: int, longest_ms: int = 180_000) -> None:
        self._each = each
        self._total = total
        self._longest_ms = longest_ms
        self._latest_ms = 0
        self._ids: set[tuple[str, str]] = set()
        self._expiries: list[tuple[int, str, str, str]] = []
        self._of: Counter[str] = Counter()
        self._over: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._ids)

    def look(self, origin: str, id: str, over: str, now_ms: int) -> Seen:  # noqa: A002 - the field's name
        """Say whether this envelope, handed over by `over`, is new here; only forgets what has expired."""
        while self._expiries and self._expiries[0][0] < now_ms:
            self._forget(*heapq.heappop(self._expiries)[1:])
        if (origin, id) in self._ids:
            return "seen"
        if self._is_full(origin, over) and self._latest_ms > now_ms + self._longest_ms:
            self._forget_ahead(now_ms + self._longest_ms)
        return "full" if self._is_full(origin, over) else "new"

    def _is_full(self, origin: str, over: str) -> bool:
        most = max(self._of.get(origin, 0), self._over.get(over, 0))
        return most >= self._each or len(self._ids) >= self._total

    def remember(self, origin: str, id: str, over: str, expires_ms: int) -> None:  # noqa: A002
        """Remember an envelope that was new until it has expired."""
        self._ids.add((origin, id))
        self._of[origin] += 1
        self._over[over] += 1
        heapq.heappush(self._expiries, (expires_ms, origin, id, over))
        self._latest_ms = max(self._latest_ms, expires_ms)

    def _forget_ahead(self, latest_ms: int) -> None:
        """Make room: what expires later than anything that is good now came before the clock was set back."""
        ahead = [one for one in self._expiries if one[0] > latest_ms]
        self._expiries = [one for one in self._expiries if one[0] <= latest_ms]
        heapq.heapify(self._expiries)
        self._latest_ms = latest_ms
        for one in ahead:
            self._forget(*one[1:])

    def _forget(self, origin: str, id: str, over: str) -> None:  # noqa: A002
        self._ids.discard((origin, id))
        for counter, key in ((self._of, origin), (self._over, over)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
