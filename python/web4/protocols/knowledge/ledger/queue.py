"""A first-in-first-out queue as a value: what is in it is found and removed from the middle, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from immutables import Map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Queue(NamedTuple):
    """Names in the order in which they came. Every change gives another queue.

    Args:
        names: By place.
        places: By name.
        first: No place before this one is taken.
        next: The place that the next name gets.
    """

    names: Map[int, str] = Map()
    places: Map[str, int] = Map()
    first: int = 0
    next: int = 0

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        """From the oldest on."""
        found = 0
        place = self.first
        while found < len(self.places):
            if (name := self.names.get(place)) is not None:
                found += 1
                yield name
            place += 1

    def with_(self, name: str) -> Queue:
        """The queue with `name` at its end, if it is not in it."""
        if name in self.places:
            return self
        return Queue(
            self.names.set(self.next, name), self.places.set(name, self.next), self.first, self.next + 1
        )

    def without(self, name: str) -> Queue:
        """The queue without `name`."""
        place = self.places.get(name)
        if place is None:
            return self
        names, first = self.names.delete(place), self.first
        if not names:
            return Queue()
        while first not in names:
            first += 1
        return Queue(names, self.places.delete(name), first, self.next)

    @classmethod
    def of(cls, names: Iterable[str]) -> Queue:
        """A queue of these, in this order."""
        queue = cls()
        for name in names:
            queue = queue.with_(name)
        return queue
