"""A persistent map that remembers the order in which things were put: the oldest end falls out first."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from immutables import Map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class _Place(NamedTuple):
    before: Any
    after: Any
    item: Any


_END: Final = None


@dataclass(frozen=True, slots=True)
class Shelf(Generic[Key, Item]):
    """Items by key, oldest first. Every change gives another shelf and costs a few look-ups, however full it is.

    The order is a linked list through the map: numbers would leave holes that somebody has to walk over later. Make one
    with `shelf_of`, or begin with an empty one.
    """

    places: Map[Key, _Place] = field(default_factory=Map)
    first: Key | None = _END
    """The key that was put before all others; None if there is none."""
    last: Key | None = _END

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, key: Key) -> bool:
        return key in self.places

    def __iter__(self) -> Iterator[Key]:
        key = self.first
        while key is not _END:
            yield key
            key = self.places[key].after

    def __reversed__(self) -> Iterator[Key]:
        key = self.last
        while key is not _END:
            yield key
            key = self.places[key].before

    def get(self, key: Key) -> Item | None:
        """The item under `key`, if there is one."""
        place = self.places.get(key)
        return None if place is None else place.item

    def values(self) -> Iterator[Item]:
        """The items, oldest first."""
        for key in self:
            yield self.places[key].item

    def put(self, key: Key, item: Item) -> Shelf[Key, Item]:
        """Put `item` at the newest end, whatever was under `key` before."""
        shelf = self.without(key)
        places = shelf.places
        if shelf.last is not _END:
            before, _, held = places[shelf.last]
            places = places.set(shelf.last, _Place(before, key, held))
        places = places.set(key, _Place(shelf.last, _END, item))
        return Shelf(places, key if shelf.first is _END else shelf.first, key)

    def change(self, key: Key, item: Item) -> Shelf[Key, Item]:
        """Replace what is under `key` where it stands.

        Raises:
            KeyError: Nothing is.
        """
        return replace(self, places=self.places.set(key, self.places[key]._replace(item=item)))

    def without(self, key: Key) -> Shelf[Key, Item]:
        """Take away what is under `key`, if anything is."""
        place = self.places.get(key)
        if place is None:
            return self
        places, first, last = self.places.delete(key), self.first, self.last
        if place.before is _END:
            first = place.after
        else:
            places = places.set(place.before, places[place.before]._replace(after=place.after))
        if place.after is _END:
            last = place.before
        else:
            places = places.set(place.after, places[place.after]._replace(before=place.before))
        return Shelf(places, first, last)


def shelf_of(items: Iterable[tuple[Key, Item]]) -> Shelf[Key, Item]:
    """Give the shelf that holds `items`, oldest first."""
    listed = list(items)
    keys = [key for key, _ in listed]
    if not keys:
        return Shelf()
    befores, afters = [_END, *keys[:-1]], [*keys[1:], _END]
    places = {
        key: _Place(before, after, item)
        for (key, item), before, after in zip(listed, befores, afters, strict=True)
    }
    if len(places) != len(listed):
        raise ValueError("a key is there twice")
    return Shelf(Map(places), keys[0], keys[-1])
