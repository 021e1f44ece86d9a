"""A graph that is valid, and what it can be asked (GRAPH-2, GRAPH-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.mesh.graph import paths
from web4.mesh.graph.errors import GraphError
from web4.mesh.graph.validation import validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from web4.mesh.graph.schema import GraphEdge, GraphNode, Relation
    from web4.mesh.graph.validation import Facts


class NetworkGraph:
    """The network at one moment. Immutable: what happens makes another one.

    Args:
        nodes, edges: In any order.
        facts: What this node knows for sure.

    Raises:
        GraphError: A rule is broken.
    """

    def __init__(self, nodes: Iterable[GraphNode], edges: Iterable[GraphEdge], facts: Facts) -> None:
        listed, joined = tuple(nodes), tuple(edges)
        validate(listed, joined, facts)
        self.own = facts.own
        """This node's fingerprint."""
        self._nodes = {one.id: one for one in sorted(listed, key=lambda one: one.id)}
        self._edges = {one.id: one for one in sorted(joined, key=lambda one: one.id)}
        self._links: dict[str, dict[str, float]] = {node: {} for node in self._nodes}
        self._trusted: set[str] = {self.own}
        for edge in self._edges.values():
            if edge.state == "active" and edge.relation == "routes":
                known = self._links[edge.source].get(edge.target)
                self._links[edge.source][edge.target] = (
                    edge.weight if known is None else min(known, edge.weight)
                )
            elif edge.state == "active" and edge.relation == "trusts":
                self._trusted.add(edge.target)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NetworkGraph):
            return NotImplemented
        mine = (self.own, self._nodes, self._edges)
        return mine == (other.own, other._nodes, other._edges)

    __hash__ = None  # type: ignore[assignment]  # equal by contents, which may be large

    @property
    def nodes(self) -> Mapping[str, GraphNode]:
        """By id, in the order of ids."""
        return self._nodes

    @property
    def edges(self) -> Mapping[str, GraphEdge]:
        """By id, in the order of ids."""
        return self._edges

    def neighbours(self, node: str, relation: Relation = "routes") -> tuple[str, ...]:
        """Where active edges of a relation lead from a node, sorted.

        Raises:
            GraphError: `unknown_node`.
        """
        self._check(node)
        if relation == "routes":
            return tuple(sorted(self._links[node]))
        return tuple(
            sorted(
                {
                    one.target
                    for one in self._edges.values()
                    if one.source == node and one.relation == relation and one.state == "active"
                }
            )
        )

    def reachable(self, node: str) -> frozenset[str]:
        """All nodes to which active links lead from a node, itself included.

        Raises:
            GraphError: `unknown_node`.
        """
        self._check(node)
        return paths.reachable(self._links, node)

    def shortest_trusted_path(self, target: str, source: str | None = None) -> tuple[str, ...] | None:
        """The path of least weight over active links that leads only over nodes which this node trusts.

        Args:
            target: Where it ends; it does not have to be trusted.
            source: Where it begins; this node when left out.

        Returns:
            The nodes from source to target; None if there is no such path.

        Raises:
            GraphError: `unknown_node`.
        """
        begin = self.own if source is None else source
        self._check(begin)
        self._check(target)
        found = paths.shortest_path(self._links, begin, target, passable=self._trusted.__contains__)
        return None if found is None else found[0]

    def articulation_points(self) -> frozenset[str]:
        """The nodes without which the network falls apart, by its active links in both directions."""
        return paths.articulation_points(self._links)

    def _check(self, node: str) -> None:
        if node not in self._nodes:
            raise GraphError("there is no such node", code="unknown_node", field=node[:200])
