"""Who is in the ring, and which cables there are: plain arithmetic, so that every step knows what to expect."""

from __future__ import annotations

from collections import deque
from typing import Final

NAMES: Final = ("ada", "ben", "cleo", "dan", "eve", "fay", "gus", "hal", "ivy", "jon")
STRANGER: Final = "nia"
FEWEST, MOST = 4, len(NAMES)
_REACH: Final = 4
"""Links of the longest way: three hops lie between (MESH-3)."""
_RING_ALONE: Final = 2 * _REACH
"""Nodes of the longest ring in which a lost node leaves a way between any two others."""


class Layout:
    """A ring of `number` nodes. One of more than eight has a cable from each of its first half to the node across.

    Without those, a node that goes leaves others further apart than three hops, and nobody passes anything so far.
    """

    def __init__(self, number: int) -> None:
        self.names = NAMES[:number]
        pairs = [(place, (place + 1) % number) for place in range(number)]
        if number > _RING_ALONE:
            pairs += [(place, place + number // 2) for place in range(number // 2)]
        self.cables = [(self.names[first], self.names[second]) for first, second in pairs]
        """Who dials, and whom."""
        self.sees_all = number <= _RING_ALONE
        """Whether every node hears of every link by ways of three hops at most."""

    def neighbours(self, name: str) -> set[str]:
        """To whom a node has a cable."""
        return {one for pair in self.cables if name in pair for one in pair} - {name}

    def links(self) -> set[frozenset[str]]:
        """The cables without a direction."""
        return {frozenset(pair) for pair in self.cables}

    def apart(self) -> list[tuple[str, str]]:
        """The pairs that have no cable, first names first."""
        return [
            (one, other)
            for place, one in enumerate(self.names)
            for other in self.names[place + 1 :]
            if other not in self.neighbours(one)
        ]

    def drawing(self) -> str:
        """The ring in a line, and what lies across it."""
        across = [f"{one}-{other}" for one, other in self.cables[len(self.names) :]]
        around = " - ".join((*self.names, self.names[0]))
        return f"{around}; across {', '.join(across)}" if across else around

    def distance(self, first: str, second: str, without: str | None = None) -> int:
        """Links of the shortest way; more than there are nodes if there is none."""
        known, queue = {first: 0}, deque([first])
        while queue:
            at = queue.popleft()
            for following in self.neighbours(at) - known.keys() - {without}:
                known[following] = known[at] + 1
                queue.append(following)
        return known.get(second, len(self.names) + 1)

    def reached_around(self, first: str, second: str) -> bool:
        """Whether a node reaches a neighbour without their cable, over three hops at most."""
        others = self.neighbours(first) - {second}
        return any(1 + self.distance(other, second, without=first) <= _REACH for other in others)

    def far(self) -> str:
        """The node that is furthest from the first, of those whom it still reaches whichever node is lost."""
        first, *others = self.names

        def safe(name: str) -> bool:
            lost = (one for one in others if one != name)
            return all(self.distance(first, name, without=one) <= _REACH for one in lost)

        apart = [name for name in others if name not in self.neighbours(first) and safe(name)]
        return max(apart, key=lambda name: self.distance(first, name))

    def around(self, name: str) -> tuple[str, str]:
        """The two nodes of the ring between whom a node stands."""
        place = self.names.index(name)
        return self.names[place - 1], self.names[(place + 1) % len(self.names)]
