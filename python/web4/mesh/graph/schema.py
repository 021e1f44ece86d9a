"""Nodes and edges of the network graph (GRAPH-1). Every field is always there, so that JSON round trips exactly."""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

NodeKind = Literal["agent", "service", "router"]
Relation = Literal["routes", "trusts", "invokes"]
EdgeState = Literal["active", "inactive"]
KINDS: Final[frozenset[str]] = frozenset(get_args(NodeKind))
RELATIONS: Final[frozenset[str]] = frozenset(get_args(Relation))
STATES: Final[frozenset[str]] = frozenset(get_args(EdgeState))
VERSION: Final = "1.0"
"""Of the document that `to_json` writes."""
MAX_NODES: Final = 16_384
MAX_EDGES: Final = 131_072


class NodeMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a node: the version of a service, and words about it."""

    version: str | None
    tags: tuple[str, ...]


class GraphNode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A node.

    Args:
        id: An agent's or router's fingerprint; a service's `<fingerprint>/<name>@<version>`.
        kind: `router` is who is known only from ways that lead over it.
        address: Where it may be dialled first, if that is known.
        capabilities: What it says that it can do.
        metadata: See there.
    """

    id: str
    kind: str
    address: str | None
    capabilities: tuple[str, ...]
    metadata: NodeMetadata


class EdgeMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of an edge: what was measured of it; of `invokes`, what is invoked."""

    latency_ms: float | None
    bandwidth: float | None
    service: str | None
    version: str | None


class GraphEdge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A directed edge.

    Args:
        id: `<relation>:<source>:<target>` in graphs of this node.
        source, target: Ids of nodes.
        relation: `routes`: a link; `trusts`: by this node's TrustFSM; `invokes`: calls a service.
        weight: The cost of a link (MESH-4); 1 of what has none.
        state: An inactive edge is known, and leads nowhere now.
        metadata: See there.
    """

    id: str
    source: str
    target: str
    relation: str
    weight: float
    state: str
    metadata: EdgeMetadata


NO_METADATA: Final = EdgeMetadata(latency_ms=None, bandwidth=None, service=None, version=None)


def service_id(fingerprint: str, name: str, version: str) -> str:
    """The id of a service's node."""
    return f"{fingerprint}/{name}@{version}"


def provider_of(node_id: str) -> str:
    """The fingerprint of who offers the service with this id."""
    return node_id.partition("/")[0]


def edge(
    relation: Relation,
    source: str,
    target: str,
    *,
    weight: float = 1.0,
    active: bool = True,
    metadata: EdgeMetadata = NO_METADATA,
) -> GraphEdge:
    """An edge under the id that graphs of this node give it."""
    return GraphEdge(
        id=f"{relation}:{source}:{target}",
        source=source,
        target=target,
        relation=relation,
        weight=weight,
        state="active" if active else "inactive",
        metadata=metadata,
    )
