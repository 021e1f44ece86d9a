"""What is counted of lane actors (ACT-4d)."""

from __future__ import annotations

from typing import Any


class Distribution:
    """How values are distributed, by powers of two: exact counts, within a factor of two."""

    __slots__ = ("_buckets", "count", "largest", "total")

    def __init__(self) -> None:
        self._buckets = [0] * 65
        self.count = 0
        self.total = 0
        self.largest = 0

    def add(self, value: int) -> None:
        """Count a value, 0 or more."""
        self._buckets[min(value.bit_length(), 64)] += 1
        self.count += 1
        self.total += value
        self.largest = max(self.largest, value)

    def quantile(self, share: float) -> int:
        """A value that `share` of the values do not pass."""
        wanted, seen = share * self.count, 0
        for bits, number in enumerate(self._buckets):
            seen += number
            if number and seen >= wanted:
                return min((1 << bits) - 1, self.largest)
        return self.largest

    def summary(self) -> dict[str, int]:
        """Count, sum, largest, and the quantiles 0.5 and 0.99."""
        return {
            "count": self.count,
            "sum": self.total,
            "max": self.largest,
            "p50": self.quantile(0.5),
            "p99": self.quantile(0.99),
        }


class ActorMetrics:
    """Figures of all lane actors of a node. Times are nanoseconds."""

    def __init__(self) -> None:
        self.wait = Distribution()
        """How long the first command of each round waited."""
        self.batch = Distribution()
        """Commands that a round decided."""
        self.commit = Distribution()
        """How long a round waited for its append."""
        self.started = 0
        self.passivated = 0
        self.crashes = 0
        self.refused = 0
        """Commands refused as `busy`."""
        self.effects = 0
        """Effects started."""
        self.late = 0
        """Results that came after their effect was concluded without them."""
        self.abandoned = 0
        """Effects that outlived their grace."""

    def summary(self) -> dict[str, Any]:
        """All of them, as JSON values."""
        numbers = ("started", "passivated", "crashes", "refused", "effects", "late", "abandoned")
        distributions = ("wait", "batch", "commit")
        return {name: getattr(self, name) for name in numbers} | {
            name: getattr(self, name).summary() for name in distributions
        }
