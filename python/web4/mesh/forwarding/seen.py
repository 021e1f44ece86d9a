"""Which envelopes were here already: (origin, id), as long as they live (MESH-3, step 3)."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Literal

Seen = Literal["new", "seen", "full"]


class SeenCache:
    """Remembers ids until their envelopes expire. It never forgets one that lives: it refuses more.

    Args:
        per_origin: Ids remembered of one origin.
        total: Ids remembered in all.
    """

    def __init__(self, *, per_origin: int, total: int) -> None:
        self._per_origin = per_origin
        self._total = total
        self._ids: set[tuple[str, str]] = set()
        self._expiries: list[tuple[int, str, str]] = []
        self._count: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._ids)

    def look(self, origin: str, id: str, now_ms: int) -> Seen:  # noqa: A002 - the field's name
        """Say whether this envelope is new here; changes nothing but to forget what has expired."""
        self._forget(now_ms)
        if (origin, id) in self._ids:
            return "seen"
        full = self._count[origin] >= self._per_origin or len(self._ids) >= self._total
        if not self._count[origin]:
            del self._count[origin]
        return "full" if full else "new"

    def remember(self, origin: str, id: str, expires_ms: int) -> None:  # noqa: A002
        """Remember an envelope that was new until it has expired."""
        self._ids.add((origin, id))
        self._count[origin] += 1
        heapq.heappush(self._expiries, (expires_ms, origin, id))

    def _forget(self, now_ms: int) -> None:
        while self._expiries and self._expiries[0][0] < now_ms:
            _, origin, id_ = heapq.heappop(self._expiries)
            self._ids.discard((origin, id_))
            self._count[origin] -= 1
            if not self._count[origin]:
                del self._count[origin]
