"""Paths and articulation points on random graphs, against brute force (MESH-4, GRAPH-3)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from web4.mesh.graph.paths import articulation_points, reachable, shortest_path
from web4.mesh.routing.choice import Route, choose

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "200"))
Links = dict[str, dict[str, float]]


@st.composite
def links(draw: st.DrawFn, most: int = 7) -> Links:
    """Few nodes, many ties: quarters, as links cost."""
    nodes = [chr(ord("a") + number) for number in range(draw(st.integers(1, most)))]
    ends = st.tuples(st.sampled_from(nodes), st.sampled_from(nodes))
    found: Links = {one: {} for one in nodes}
    for source, target in draw(st.lists(ends, max_size=3 * most)):
        if source != target:
            found[source][target] = draw(st.integers(0, 8)) / 4
    return found


def simple_paths(found: Links, source: str, target: str) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every path that passes no node twice, and its weight: the plainest reference there is."""
    waiting: list[tuple[tuple[str, ...], float]] = [((source,), 0.0)]
    while waiting:
        path, weight = waiting.pop()
        if path[-1] == target:
            yield path, weight
            continue
        waiting += [
            ((*path, there), weight + cost) for there, cost in found[path[-1]].items() if there not in path
        ]


@settings(max_examples=ROUNDS, deadline=None, print_blob=True)
@given(links(), st.data())
def test_graph_routes_reference(found: Links, data: st.DataObject) -> None:
    """MESH-4: least cost, fewest hops, lowest next node; only over nodes that may be passed. The mesh chooses alike."""
    source, target = (data.draw(st.sampled_from(sorted(found))) for _ in range(2))
    passable = data.draw(st.sets(st.sampled_from(sorted(found))))
    allowed = [
        (path, weight)
        for path, weight in simple_paths(found, source, target)
        if all(one in passable for one in path[1:-1])
    ]
    best = min(allowed, key=lambda one: (one[1], len(one[0]), one[0]), default=None)
    assert shortest_path(found, source, target, passable=passable.__contains__) == best
    if source != target:
        chosen = choose([Route(path[1:], weight) for path, weight in allowed])
        told = None if chosen is None else (chosen.cost, chosen.hops, chosen.next)
        assert told == (None if best is None else (best[1], len(best[0]) - 2, best[0][1]))


@settings(max_examples=ROUNDS, deadline=None, print_blob=True)
@given(links())
def test_reachable_against_the_closure(found: Links) -> None:
    for start in found:
        closure, size = {start}, 0
        while size != len(closure):
            size = len(closure)
            closure |= {target for one in closure for target in found[one]}
        assert reachable(found, start) == closure


def pieces(around: dict[str, set[str]]) -> int:
    """Into how many parts a graph falls."""
    left, count = set(around), 0
    while left:
        count += 1
        waiting = [left.pop()]
        while waiting:
            near = around[waiting.pop()] & left
            left -= near
            waiting += near
    return count


@settings(max_examples=ROUNDS, deadline=None, print_blob=True)
@given(links(9))
def test_articulation_points_against_taking_each_node_out(found: Links) -> None:
    around: dict[str, Any] = {one: set() for one in found}
    for source, targets in found.items():
        for target in targets:
            around[source].add(target)
            around[target].add(source)
    whole = pieces(around)
    expected = set()
    for one in found:
        rest = {other: near - {one} for other, near in around.items() if other != one}
        alone = not around[one]
        if pieces(rest) > whole - alone:
            expected.add(one)
    assert articulation_points(found) == expected


def test_a_long_chain_needs_no_stack() -> None:
    chain: Links = {f"{number:06}": {f"{number + 1:06}": 1.0} for number in range(50_000)}
    last = f"{50_000:06}"
    assert len(articulation_points(chain)) == 49_999
    assert len(reachable(chain, "000000")) == 50_001
    chain = {one: to for one, to in chain.items() if one < "002000"}
    found = shortest_path(chain, "000000", "002000")
    assert found is not None
    assert found[1] == 2_000
    assert shortest_path(chain, "000000", last) is None
