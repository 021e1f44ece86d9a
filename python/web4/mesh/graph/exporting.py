"""A graph as versioned JSON, which round trips exactly, and as DOT (GRAPH-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from web4.foundation.codec import ENCODER
from web4.mesh.graph.errors import GraphError
from web4.mesh.graph.network import NetworkGraph
from web4.mesh.graph.schema import VERSION, GraphEdge, GraphNode

if TYPE_CHECKING:
    from web4.mesh.graph.validation import Facts

MAX_BYTES: Final = 64 * 1024 * 1024
_SHORT: Final = 12
"""Characters of a fingerprint that a picture shows."""
_STYLES: Final = {"routes": "solid", "trusts": "bold", "invokes": "dashed"}
_SHAPES: Final = {"agent": "ellipse", "service": "box", "router": "diamond"}


class _Head(msgspec.Struct, frozen=True):
    web4_graph: str


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    web4_graph: str
    own: str
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


def to_json(graph: NetworkGraph) -> bytes:
    """Write a graph as JSON, keys sorted, nodes and edges in the order of their ids. Equal graphs give equal bytes."""
    nodes, edges = tuple(graph.nodes.values()), tuple(graph.edges.values())
    return ENCODER.encode(_Document(web4_graph=VERSION, own=graph.own, nodes=nodes, edges=edges))


def from_json(data: bytes, facts: Facts) -> NetworkGraph:
    """Read what `to_json` wrote; every rule is checked. What it wrote here, it writes again byte for byte.

    Args:
        data: In any spelling and order.
        facts: What this node knows for sure. The graph has to be this node's own.

    Raises:
        GraphError: `syntax`, `version`, `schema`, or the rule of GRAPH-2 that is broken.
    """
    if len(data) > MAX_BYTES:
        raise GraphError(f"longer than {MAX_BYTES:,} bytes", code="too_large")
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.ValidationError:
        raise GraphError("it does not say that it is a graph", code="version", field="web4_graph") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise GraphError("it is no JSON", code="syntax") from None
    if head.web4_graph != VERSION:
        raise GraphError(f"only version {VERSION} is read here", code="version", field="web4_graph")
    try:
        document = msgspec.json.decode(data, type=_Document)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise GraphError(what, code="schema", field=where.rstrip("`") or None) from None
    if document.own != facts.own:
        raise GraphError("it is another node's view", code="trust_mismatch", field="own")
    return NetworkGraph(document.nodes, document.edges, facts)


def to_dot(graph: NetworkGraph) -> str:
    """Write a graph for Graphviz. Names come from other nodes: they are quoted, and cut."""
    lines = ["digraph web4 {", "  rankdir=LR;"]
    for node in graph.nodes.values():
        fingerprint, slash, service = node.id.partition("/")
        label = fingerprint[:_SHORT] + slash + service[:64]
        style = ' style="filled"' if node.id == graph.own else ""
        lines.append(f"  {_quoted(node.id)} [label={_quoted(label)} shape={_SHAPES[node.kind]}{style}];")
    for one in graph.edges.values():
        style = _STYLES[one.relation] if one.state == "active" else "dotted"
        label = f"{one.relation} {one.weight:g}" if one.relation == "routes" else one.relation
        ends = f"{_quoted(one.source)} -> {_quoted(one.target)}"
        lines.append(f"  {ends} [label={_quoted(label)} style={style}];")
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
