"""What a link costs (MESH-4)."""

from __future__ import annotations

from typing import Final

LARGEST_COST: Final = 1e6
"""No way costs more: whoever says so is not believed."""

_STEP: Final = 0.25
_LOSS_WEIGHT: Final = 0.25


def link_cost(latency_ms: float, loss: float) -> float:
    """1 + latency_ms / 100 + 10 x loss; `loss` from 0 to 1."""
    return 1 + latency_ms / 100 + 10 * loss


class LinkMeter:
    """What is measured of one link. The cost moves in steps of a quarter, so that noise moves no route."""

    def __init__(self) -> None:
        self.latency_ms = 0.0
        """Half a round trip, smoothed."""
        self.loss = 0.0
        """The share of looks at the link that found it down, smoothed."""
        self.cost = link_cost(0, 0)
        """What the link counts for now."""

    def measured(self, latency_ms: float) -> bool:
        """Take in one measurement; whether the cost has changed."""
        self.latency_ms += (max(0.0, latency_ms) - self.latency_ms) / 2
        return self._settle()

    def looked(self, *, up: bool) -> bool:
        """Take in whether the link was up since the last look; whether the cost has changed."""
        self.loss += ((0.0 if up else 1.0) - self.loss) * _LOSS_WEIGHT
        return self._settle()

    def _settle(self) -> bool:
        exact = link_cost(self.latency_ms, self.loss)
        if abs(exact - self.cost) <= _STEP:
            return False
        before, self.cost = self.cost, round(exact / _STEP) * _STEP
        return before != self.cost
