"""A causal graph as a value: edges cause -> effect with running means, never a cycle (MEM-2)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from immutables import Map

from web4.protocols.knowledge.memory.shelf import Shelf, shelf_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_LOOKED_AT: Final = 20_000
"""Nodes and edges that are looked at to make sure that one new edge closes no cycle."""
MOST_TELLERS: Final = 32
"""Claims whose word for one edge is kept apart."""

Obstacle = Literal["cycle", "cycle_unproven", "full"]
"""Why an edge is refused: it closes a cycle; whether it does would cost too much to tell; too many claims say it."""


class Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """That a claim says an edge: kept apart, so that it can stop to count when the claim does."""

    claim: str
    weight: float
    at_ms: int


class Edge(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """`cause` leads to `effect`.

    Args:
        cause: Name of a node.
        effect: Name of a node.
        mean: Running mean of the weights seen, 0 to 1.
        count: How often it was seen.
        last_ms: When it was seen last, Unix milliseconds.
        told: What claims say of it, one entry a claim, oldest first.
    """

    cause: str
    effect: str
    mean: float = 0.0
    count: int = 0
    last_ms: int = 0
    told: tuple[Told, ...] = ()


Pair = tuple[str, str]
_NONE: Final[Map[str, None]] = Map()


@dataclass(frozen=True, slots=True)
class CausalGraph:
    """Edges, the one longest unheard of first. Changes give another graph.

    Every node has a rank, and every edge leads from a lower to a higher one: that is what proves that there is no
    cycle. An edge that fits the ranks costs nothing to check; for another one, only the nodes between its ends are
    looked at, and they are moved up.
    """

    edges: Shelf[Pair, Edge] = field(default_factory=Shelf)
    _effects: Map[str, Map[str, None]] = field(default_factory=Map)
    _causes: Map[str, Map[str, None]] = field(default_factory=Map)
    _ranks: Map[str, int] = field(default_factory=Map)

    def __len__(self) -> int:
        return len(self.edges)

    def __contains__(self, node: str) -> bool:
        return node in self._ranks

    def edge(self, cause: str, effect: str) -> Edge | None:
        """The edge from `cause` to `effect`, if there is one."""
        return self.edges.get((cause, effect))

    def effects(self, cause: str) -> list[str]:
        """What `cause` leads to at once, sorted."""
        return sorted(self._effects.get(cause, _NONE))

    def causes(self, effect: str) -> list[str]:
        """What leads to `effect` at once, sorted."""
        return sorted(self._causes.get(effect, _NONE))

    # --- seeing edges -----------------------------------------------------------------------------------

    def obstacle(self, cause: str, effect: str, *, claim: str | None = None) -> Obstacle | None:
        """Why an edge cannot be seen; None if it can."""
        edge = self.edges.get((cause, effect))
        if edge is None:
            moved = self._moved(cause, effect)
            return moved if isinstance(moved, str) else None
        if (
            claim is not None
            and len(edge.told) >= MOST_TELLERS
            and all(one.claim != claim for one in edge.told)
        ):
            return "full"
        return None

    def seen(
        self, cause: str, effect: str, weight: float, at_ms: int, *, claim: str | None = None
    ) -> CausalGraph | None:
        """The graph after the edge was seen once more, or a claim said it; None if there is an obstacle."""
        pair = (cause, effect)
        edge = self.edges.get(pair)
        effects, causes, ranks = self._effects, self._causes, self._ranks
        if edge is None:
            moved = self._moved(cause, effect)
            if isinstance(moved, str):
                return None
            edge = Edge(cause=cause, effect=effect)
            effects = effects.set(cause, effects.get(cause, _NONE).set(effect, None))
            causes = causes.set(effect, causes.get(effect, _NONE).set(cause, None))
            ranks = ranks.update(moved) if moved else ranks
        if claim is None:
            count = edge.count + 1
            mean = edge.mean + (weight - edge.mean) / count
            edge = msgspec.structs.replace(edge, mean=mean, count=count, last_ms=max(at_ms, edge.last_ms))
        else:
            told = tuple(one for one in edge.told if one.claim != claim)
            if len(told) >= MOST_TELLERS:
                return None
            edge = msgspec.structs.replace(edge, told=(*told, Told(claim, weight, at_ms)))
        return CausalGraph(self.edges.put(pair, edge), effects, causes, ranks)

    def _moved(self, cause: str, effect: str) -> dict[str, int] | Obstacle:
        """The ranks that change so that `cause` may lead to `effect`, those of new nodes included."""
        if cause == effect:
            return "cycle"
        low, high = self._ranks.get(cause), self._ranks.get(effect)
        if low is None:
            return {cause: 0, effect: 1} if high is None else {cause: high - 1}
        if high is None:
            return {effect: low + 1}
        if low < high:
            return {}
        if cause not in self._causes:  # nothing stands below it
            return {cause: high - 1}
        return self._raised(cause, effect, low)

    def _raised(self, cause: str, effect: str, low: int) -> dict[str, int] | Obstacle:
        """Move `effect` above `cause`, and whatever then stands too low above it.

        In the order of the ranks: so each node is moved once, a cycle is met before anything beyond it, and every
        process comes to the same end.
        """
        raised = {effect: low + 1}
        waiting = [(self._ranks[effect], effect)]
        looked_at = 0
        while waiting:
            _, node = heappop(waiting)
            after = self._effects.get(node, _NONE)
            if cause in after:
                return "cycle"
            looked_at += 1 + len(after)
            if looked_at > MOST_LOOKED_AT:
                return "cycle_unproven"
            for one in after:
                rank = self._ranks[one]
                if raised.get(one, rank) <= raised[node]:
                    if one not in raised:
                        heappush(waiting, (rank, one))
                    raised[one] = raised[node] + 1
        return raised

    # --- letting go -------------------------------------------------------------------------------------

    def untold(self, cause: str, effect: str, claim: str) -> CausalGraph:
        """The graph after a claim says the edge no more; an edge that nothing else says is gone."""
        edge = self.edges.get((cause, effect))
        if edge is None:
            return self
        told = tuple(one for one in edge.told if one.claim != claim)
        if not told and not edge.count:
            return self.without(cause, effect)
        changed = msgspec.structs.replace(edge, told=told)
        return replace(self, edges=self.edges.change((cause, effect), changed))

    def without(self, cause: str, effect: str) -> CausalGraph:
        """The graph without an edge; nodes that have none left are gone with it."""
        if (cause, effect) not in self.edges:
            return self
        effects, causes = _less(self._effects, cause, effect), _less(self._causes, effect, cause)
        ranks = self._ranks
        for node in (cause, effect):
            if node not in effects and node not in causes:
                ranks = ranks.delete(node)
        return CausalGraph(self.edges.without((cause, effect)), effects, causes, ranks)

    # --- as it is stored --------------------------------------------------------------------------------

    def stored(self) -> tuple[tuple[Edge, ...], dict[str, int]]:
        """The edges in order, and the ranks."""
        return tuple(self.edges.values()), dict(self._ranks)


def restored_graph(edges: Iterable[Edge], ranks: dict[str, int]) -> CausalGraph:
    """Give the graph that `CausalGraph.stored` was called on.

    Raises:
        ValueError: An edge does not lead upwards, or the ranks are not those of the nodes.
    """
    shelf = shelf_of(((one.cause, one.effect), one) for one in edges)
    effects: dict[str, dict[str, None]] = {}
    causes: dict[str, dict[str, None]] = {}
    for cause, effect in shelf:
        if not ranks.get(cause, 0) < ranks.get(effect, 0):
            raise ValueError("an edge does not lead upwards")
        effects.setdefault(cause, {})[effect] = None
        causes.setdefault(effect, {})[cause] = None
    if ranks.keys() != effects.keys() | causes.keys():
        raise ValueError("the ranks are not those of the nodes")
    return CausalGraph(shelf, Map(_maps(effects)), Map(_maps(causes)), Map(ranks))


def _maps(sets: dict[str, dict[str, None]]) -> Iterator[tuple[str, Map[str, None]]]:
    for key, names in sets.items():
        yield key, Map(names)


def _less(sets: Map[str, Map[str, None]], key: str, name: str) -> Map[str, Map[str, None]]:
    names = sets[key].delete(name)
    return sets.set(key, names) if names else sets.delete(key)
