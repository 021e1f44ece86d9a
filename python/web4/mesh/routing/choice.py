"""The choice between ways: a pure function (MESH-4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Route:
    """A way to a destination.

    Args:
        path: The nodes on it, from the next one to the destination.
        cost: Of all its links.
    """

    path: tuple[str, ...]
    cost: float

    @property
    def next(self) -> str:
        """The neighbour to whom it begins."""
        return self.path[0]

    @property
    def destination(self) -> str:
        """Where it leads."""
        return self.path[-1]

    @property
    def hops(self) -> int:
        """Intermediate nodes on it."""
        return len(self.path) - 1


def choose(candidates: Iterable[Route], suspected: Iterable[str] = ()) -> Route | None:
    """The way to take: least cost, then fewest hops, then the lowest next fingerprint.

    A way through a `suspected` neighbour counts only if there is no other (MESH-5).
    """
    doubted = frozenset(suspected)
    return min(
        candidates,
        key=lambda route: (route.next in doubted, route.cost, route.hops, route.next),
        default=None,
    )
