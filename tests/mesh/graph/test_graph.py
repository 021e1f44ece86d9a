"""The network graph: every rule, exact JSON, and what it can be asked (GRAPH-1 to GRAPH-3)."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mesh.graph.made import OWN, A, B, C, D, Known, node, valid
from web4.foundation.digest import canonical
from web4.mesh.graph.errors import GraphError
from web4.mesh.graph.exporting import from_json, to_dot, to_json
from web4.mesh.graph.network import NetworkGraph
from web4.mesh.graph.schema import EdgeMetadata, GraphEdge, GraphNode, NodeMetadata, edge, service_id

replace = msgspec.structs.replace
NAN = float("nan")


def broken(nodes: list[GraphNode], edges: list[GraphEdge], known: Known) -> dict[str, tuple[Any, Any, Any]]:
    """One mutation for each rule of GRAPH-2: nodes, edges, and what is known."""
    link = edges[0]

    def first(**change: Any) -> list[GraphEdge]:
        return [replace(link, **change), *edges[1:]]

    def head(**change: Any) -> list[GraphNode]:
        return [*nodes[:-1], replace(nodes[-1], **change)]

    return {
        "duplicate_id of a node": ([*nodes, node(A)], edges, known),
        "duplicate_id of an edge": (nodes, [*edges, link], known),
        "unknown_kind": (head(kind="human"), edges, known),
        "unknown_relation": (nodes, first(relation="likes"), known),
        "unknown_state": (nodes, first(state="asleep"), known),
        "bad_weight below 0": (nodes, first(weight=-0.001), known),
        "bad_weight NaN": (nodes, first(weight=NAN), known),
        "bad_weight infinite": (nodes, first(weight=float("inf")), known),
        "unknown_endpoint source": (nodes, first(source="f" * 64), known),
        "unknown_endpoint target": (nodes, first(target="f" * 64), known),
        "bad_address": (head(address="10.0.0.7:7440"), edges, known),
        "bad_address scheme": (head(address="http://10.0.0.7"), edges, known),
        "self_trust": (nodes, [*edges, edge("trusts", OWN, OWN)], known),
        "no_handler here": (nodes, edges, replace_known(known, handlers=set())),
        "no_handler anywhere": ([*nodes, node(service_id("f" * 64, "x", "1.0"))], edges, known),
        "trust_mismatch not trusted": (nodes, edges, replace_known(known, trust={A: "probing"})),
        "trust_mismatch not said": (
            nodes,
            edges,
            replace_known(known, trust={A: "trusted", C: "trusted"}),
        ),
        "trust_mismatch inactive": (
            nodes,
            edges,
            replace_known(known, trust={A: "trusted", B: "trusted"}),
        ),
        "trust_mismatch another's": (nodes, [*edges, edge("trusts", A, B)], known),
    }


def replace_known(known: Known, **change: Any) -> Known:
    return Known(**{"trust": known.trust, "handlers": known.handlers, **change})


@pytest.mark.parametrize("name", sorted(broken(*valid()[1:], valid()[0])))
def test_graph_reject_matrix(name: str) -> None:
    """GRAPH-2: each rule under its own code; in a graph that is made, and in one that is read."""
    known, nodes, edges = valid()
    NetworkGraph(nodes, edges, known)
    bad_nodes, bad_edges, facts = broken(nodes, edges, known)[name]
    code = name.split(maxsplit=1)[0]
    with pytest.raises(GraphError) as caught:
        NetworkGraph(bad_nodes, bad_edges, facts)
    assert caught.value.code == code
    assert caught.value.field
    if "bad_weight" in name and "below" not in name:
        return  # JSON has no such numbers
    document = {"web4_graph": "1.0", "own": OWN, "nodes": bad_nodes, "edges": bad_edges}
    with pytest.raises(GraphError) as caught:
        from_json(msgspec.json.encode(document), facts)
    assert caught.value.code == code


def test_a_document_that_is_none() -> None:
    known, nodes, edges = valid()
    good = msgspec.json.decode(to_json(NetworkGraph(nodes, edges, known)))
    for data, code in (
        (b"{", "syntax"),
        (b"\xff", "syntax"),
        (b'{"a":' * 100_000, "syntax"),
        (b"[]", "version"),
        (b"{}", "version"),
        (canonical({**good, "web4_graph": "2.0"}), "version"),
        (canonical({**good, "more": 1}), "schema"),
        (canonical({**good, "nodes": [{**good["nodes"][0], "kind": 3}]}), "schema"),
        (canonical({**good, "edges": [{**good["edges"][0], "weight": "1"}]}), "schema"),
        (canonical({**good, "own": A}), "trust_mismatch"),
    ):
        with pytest.raises(GraphError) as caught:
            from_json(data, known)
        assert caught.value.code == code, data[:80]


def test_a_graph_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    known, nodes, edges = valid()
    for name in ("MAX_NODES", "MAX_EDGES"):
        with monkeypatch.context() as patch:
            patch.setattr(f"web4.mesh.graph.validation.{name}", 3)
            with pytest.raises(GraphError) as caught:
                NetworkGraph(nodes, edges, known)
            assert caught.value.code == "too_large"


_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_NUMBER = st.floats(min_value=0, allow_nan=False, allow_infinity=False) | st.just(1.0)
_IDS = st.integers(0, 15).map(lambda number: f"{number:x}" * 64)
_NODES = st.builds(
    node,
    _IDS,
    kind=st.sampled_from(["agent", "router"]),
    address=st.sampled_from([None, "tcp://[::1]:7440", "unix:///run/x.sock", "memory://a"]),
    capabilities=st.lists(_TEXT, max_size=2).map(tuple),
    metadata=st.builds(NodeMetadata, version=st.none() | _TEXT, tags=st.lists(_TEXT, max_size=2).map(tuple)),
)
_METADATA = st.builds(
    EdgeMetadata,
    latency_ms=st.none() | _NUMBER,
    bandwidth=st.none() | _NUMBER,
    service=st.none() | _TEXT,
    version=st.none() | _TEXT,
)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Known, list[GraphNode], list[GraphEdge]]:
    nodes = [node(OWN), *draw(st.lists(_NODES, max_size=8, unique_by=lambda one: one.id))]
    nodes = list({one.id: one for one in nodes}.values())
    ends = st.sampled_from([one.id for one in nodes])
    edges = draw(
        st.lists(
            st.builds(
                edge,
                st.sampled_from(["routes", "invokes"]),
                ends,
                ends,
                weight=_NUMBER,
                active=st.booleans(),
                metadata=_METADATA,
            ),
            max_size=12,
            unique_by=lambda one: one.id,
        )
    )
    trusted = draw(st.sets(ends)) - {OWN}
    edges += [edge("trusts", OWN, one) for one in trusted]
    return Known(trust=dict.fromkeys(trusted, "trusted")), nodes, edges


@settings(deadline=None, print_blob=True)
@given(graphs(), st.randoms(use_true_random=False))
def test_graph_roundtrip(made: tuple[Known, list[GraphNode], list[GraphEdge]], random: Any) -> None:
    """GRAPH-3: JSON in equals JSON out, byte for byte, and the graph is the same."""
    known, nodes, edges = made
    graph = NetworkGraph(nodes, edges, known)
    data = to_json(graph)
    again = from_json(data, known)
    assert again == graph
    assert to_json(again) == data
    random.shuffle(nodes)
    random.shuffle(edges)
    assert to_json(NetworkGraph(nodes, edges, known)) == data, "whatever order they came in"


def test_questions() -> None:
    """GRAPH-3: neighbours, reachable set, shortest trusted path, articulation points."""
    known, nodes, edges = valid()
    graph = NetworkGraph(nodes, edges, known)
    assert graph.neighbours(OWN) == (A,)
    assert graph.neighbours(OWN, "trusts") == (A,)
    assert graph.neighbours(OWN, "invokes") == (service_id(A, "echo", "2.1.0"),)
    assert graph.reachable(A) == {A, B, C, D}
    assert graph.reachable(D) == {D}
    assert graph.shortest_trusted_path(C) == (OWN, A, C)
    assert graph.shortest_trusted_path(D) is None, "the way leads over C, who is not trusted"
    assert graph.shortest_trusted_path(D, C) == (C, D)
    assert graph.articulation_points() == {A, C}
    trusted = replace_known(known, trust={A: "trusted", C: "trusted"})
    more = NetworkGraph(nodes, [*edges, edge("trusts", OWN, C)], trusted)
    assert more.shortest_trusted_path(D) == (OWN, A, C, D)
    for question in (graph.neighbours, graph.reachable, graph.shortest_trusted_path):
        with pytest.raises(GraphError) as caught:
            question("f" * 64)
        assert caught.value.code == "unknown_node"


def test_dot() -> None:
    """GRAPH-3: what other nodes call themselves cannot leave its quotes."""
    known, nodes, edges = valid()
    nasty = service_id(A, 'x"];evil[label="\\\n', "1.0")
    dot = to_dot(NetworkGraph([*nodes, node(nasty)], edges, known))
    assert dot.startswith("digraph web4 {\n")
    assert f'"{OWN}" -> "{A}" [label="routes 1.25" style=solid];' in dot
    assert f'"{OWN}" -> "{B}" [label="trusts" style=dotted];' in dot
    assert 'x\\"];evil[label=\\"\\\\?@1.0' in dot
    assert len(dot.splitlines()) == 3 + len(nodes) + 1 + len(edges)
    program = shutil.which("dot")
    if program is not None:
        drawn = subprocess.run([program, "-Tsvg"], input=dot.encode(), capture_output=True, check=False)
        assert drawn.returncode == 0, drawn.stderr
