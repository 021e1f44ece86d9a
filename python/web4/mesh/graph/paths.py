"""Questions about graphs, answered: reachable sets, shortest paths, articulation points. Pure, on plain mappings.

The algorithms are the usual ones, written without recursion: a chain of nodes must not be limited by a stack.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Links = Mapping[str, Mapping[str, float]]
    """Node to where its edges lead, and what each weighs."""


def reachable(links: Links, start: str) -> frozenset[str]:
    """All nodes to which edges lead from `start`, itself included."""
    found = {start}
    waiting = [start]
    while waiting:
        for target in links.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return frozenset(found)


def shortest_path(
    links: Links, source: str, target: str, *, passable: Callable[[str], bool] = lambda _node: True
) -> tuple[tuple[str, ...], float] | None:
    """The path of the least weight, and that weight: of equals that with the fewest hops, then the lowest ids.

    Args:
        links: No weight is negative.
        source: Where it begins; it does not have to be passable.
        target: Where it ends; nor does this.
        passable: Whether a path may lead over a node.

    Returns:
        The nodes from `source` to `target`; None if there is no path.
    """
    # The heap's order is the order of choice: weight, hops, ids from the source on. The first that arrives is the best.
    waiting: list[tuple[float, int, tuple[str, ...]]] = [(0.0, 0, (source,))]
    settled: set[str] = set()
    while waiting:
        weight, hops, path = heapq.heappop(waiting)
        here = path[-1]
        if here == target:
            return path, weight
        if here in settled or (here != source and not passable(here)):
            continue
        settled.add(here)
        for there, cost in links.get(here, {}).items():
            if there not in settled:
                heapq.heappush(waiting, (weight + cost, hops + 1, (*path, there)))
    return None


def articulation_points(links: Links) -> frozenset[str]:
    """The nodes without which those that were connected would fall apart, edges taken in both directions.

    Depth first (Hopcroft and Tarjan): a node that is not where the search began is one if from below a child of it no
    edge leads above it; where the search began, if it has two children.
    """
    around = _undirected(links)
    depth: dict[str, int] = {}
    low: dict[str, int] = {}
    found: set[str] = set()
    for root in sorted(around):
        if root in depth:
            continue
        depth[root] = low[root] = 0
        children = 0
        way: list[tuple[str, str | None, Iterator[str]]] = [(root, None, iter(sorted(around[root])))]
        while way:
            here, parent, rest = way[-1]
            for there in rest:
                if there not in depth:
                    depth[there] = low[there] = len(way)
                    children += here == root
                    way.append((there, here, iter(sorted(around[there]))))
                    break
                if there != parent:
                    low[here] = min(low[here], depth[there])
            else:
                way.pop()
                if parent is not None:
                    low[parent] = min(low[parent], low[here])
                    if parent != root and low[here] >= depth[parent]:
                        found.add(parent)
        if children > 1:
            found.add(root)
    return frozenset(found)


def _undirected(links: Links) -> dict[str, set[str]]:
    around: dict[str, set[str]] = {}
    for source, targets in links.items():
        around.setdefault(source, set())
        for target in targets:
            if target != source:
                around[source].add(target)
                around.setdefault(target, set()).add(source)
    return around
