"""Graphs for tests, and what a node knows for sure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from web4.mesh.graph.schema import GraphEdge, GraphNode, NodeMetadata, edge, service_id

if TYPE_CHECKING:
    from web4.trust import TrustState

OWN, A, B, C, D = (letter * 64 for letter in "0abcd")


@dataclass
class Known:
    """See `Facts`."""

    own: str = OWN
    trust: dict[str, TrustState] = field(default_factory=dict)
    handlers: set[tuple[str, str]] = field(default_factory=lambda: {("sum", "1.0")})

    def state(self, peer: str) -> TrustState:
        return self.trust.get(peer, "unknown")

    def handles(self, name: str, version: str) -> bool:
        return (name, version) in self.handlers


def node(found: str, **more: Any) -> GraphNode:
    fields: dict[str, Any] = {
        "id": found,
        "kind": "service" if "/" in found else "agent",
        "address": None if "/" in found else "tcp://10.0.0.7:7440",
        "capabilities": ("state_exchange",),
        "metadata": NodeMetadata(version="1.0" if "/" in found else None, tags=("é", "b")),
    }
    return GraphNode(**{**fields, **more})


def valid() -> tuple[Known, list[GraphNode], list[GraphEdge]]:
    """A graph with a bit of everything, that is valid."""
    theirs = service_id(A, "echo", "2.1.0")
    nodes = [node(one) for one in (OWN, A, B, C, service_id(OWN, "sum", "1.0"), theirs)]
    nodes.append(node(D, kind="router", address=None))
    edges = [
        edge("routes", OWN, A, weight=1.25),
        edge("routes", A, B, weight=2),
        edge("routes", A, C),
        edge("routes", B, C),
        edge("routes", C, D, weight=1e-7),
        edge("routes", OWN, B, active=False),
        edge("trusts", OWN, A),
        edge("trusts", OWN, B, active=False),
        edge("invokes", OWN, theirs),
    ]
    return Known(trust={A: "trusted", B: "probing"}), nodes, edges
