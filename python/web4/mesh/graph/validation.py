"""The rules of a graph, each with a code of its own (GRAPH-2)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn, Protocol

from web4.mesh.graph.errors import GraphError
from web4.mesh.graph.schema import KINDS, MAX_EDGES, MAX_NODES, RELATIONS, STATES, provider_of
from web4.mesh.registry.addresses import check_address
from web4.mesh.registry.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from web4.mesh.graph.schema import GraphEdge, GraphNode
    from web4.trust import TrustState


class Facts(Protocol):
    """What this node knows for sure, against which a graph is held."""

    @property
    def own(self) -> str:
        """This node's fingerprint."""
        ...

    def state(self, peer: str) -> TrustState:
        """How far the TrustFSM trusts a peer."""
        ...

    def handles(self, name: str, version: str) -> bool:
        """Whether this node has a handler for a service of its own."""
        ...


def validate(nodes: Iterable[GraphNode], edges: Iterable[GraphEdge], facts: Facts) -> None:
    """Hold a graph against every rule of GRAPH-2.

    Raises:
        GraphError: The first rule that is broken; `field` names the node or edge.
    """
    by_id: dict[str, GraphNode] = {}
    for node in nodes:
        _once(node.id, by_id, MAX_NODES)
        by_id[node.id] = node
    for node in by_id.values():
        _check_node(node, by_id, facts)
    trusted: set[str] = set()
    seen: set[str] = set()
    for edge in edges:
        _once(edge.id, seen, MAX_EDGES)
        seen.add(edge.id)
        _check_edge(edge, by_id)
        if edge.relation == "trusts":
            _check_trust(edge, facts)
            if edge.state == "active":
                trusted.add(edge.target)
    for node in by_id.values():
        peer = node.kind != "service" and node.id != facts.own
        if peer and node.id not in trusted and facts.state(node.id) == "trusted":
            _refuse("trust_mismatch", "it is trusted here, and no edge says so", node.id)


def _once(found: str, seen: Collection[str], most: int) -> None:
    if found in seen:
        _refuse("duplicate_id", "something else has this id", found)
    if len(seen) >= most:
        _refuse("too_large", f"more than {most:,} of a kind", found)


def _check_node(node: GraphNode, nodes: Mapping[str, GraphNode], facts: Facts) -> None:
    if node.kind not in KINDS:
        _refuse("unknown_kind", f"kinds are {', '.join(sorted(KINDS))}", node.id)
    if node.address is not None:
        try:
            check_address(node.address)
        except AddressError as error:
            _refuse("bad_address", str(error.args[0]), node.id)
    if node.kind != "service":
        return
    provider, _, service = node.id.partition("/")
    name, _, version = service.rpartition("@")
    if provider not in nodes or nodes[provider].kind == "service":
        _refuse("no_handler", "no node offers it", node.id)
    if provider == facts.own and not facts.handles(name, version):
        _refuse("no_handler", "this node has no handler for it", node.id)


def _check_edge(edge: GraphEdge, nodes: Mapping[str, GraphNode]) -> None:
    if edge.relation not in RELATIONS:
        _refuse("unknown_relation", f"relations are {', '.join(sorted(RELATIONS))}", edge.id)
    if edge.state not in STATES:
        _refuse("unknown_state", f"states are {', '.join(sorted(STATES))}", edge.id)
    if not math.isfinite(edge.weight) or edge.weight < 0:
        _refuse("bad_weight", "a weight is a finite number from 0", edge.id)
    for end in (edge.source, edge.target):
        if end not in nodes:
            _refuse("unknown_endpoint", "it begins or ends at no node", edge.id)


def _check_trust(edge: GraphEdge, facts: Facts) -> None:
    """Nobody can say whom another node trusts: such an edge is this node's own, and what its TrustFSM says."""
    if edge.source == edge.target:
        _refuse("self_trust", "a node does not trust itself", edge.id)
    if edge.source != facts.own or provider_of(edge.target) != edge.target:
        _refuse("trust_mismatch", "this node's TrustFSM knows only whom it trusts itself", edge.id)
    if (facts.state(edge.target) == "trusted") != (edge.state == "active"):
        _refuse("trust_mismatch", "the TrustFSM says otherwise", edge.id)


def _refuse(code: str, message: str, where: str) -> NoReturn:
    raise GraphError(message, code=code, field=where[:200])
