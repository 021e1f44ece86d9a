"""The causal graph against a plain model: no cycle, true means, nothing forgotten (MEM-2)."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from web4.protocols.knowledge.memory import graph as graphs
from web4.protocols.knowledge.memory.graph import CausalGraph, restored_graph

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "100"))
NODES = st.sampled_from("abcdefgh")
CLAIMS = st.sampled_from(["c1", "c2", "c3"])
WEIGHTS = st.sampled_from([0.0, 0.25, 0.5, 1.0])


class GraphMachine(RuleBasedStateMachine):
    """Edges are seen, told and taken back; the model is a dict of lists, its cycle check a walk over all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = CausalGraph()
        self.seen: dict[tuple[str, str], list[float]] = {}
        self.told: dict[tuple[str, str], dict[str, float]] = {}
        self.order: list[tuple[str, str]] = []

    def reaches(self, start: str, end: str) -> bool:
        found, waiting = {start}, [start]
        while waiting:
            node = waiting.pop()
            further = {effect for cause, effect in self.order if cause == node} - found
            found |= further
            waiting.extend(further)
        return end in found

    def closes(self, pair: tuple[str, str]) -> bool:
        return pair not in self.order and self.reaches(pair[1], pair[0])

    def touched(self, pair: tuple[str, str]) -> None:
        if pair in self.order:
            self.order.remove(pair)
        self.order.append(pair)

    @rule(cause=NODES, effect=NODES, weight=WEIGHTS)
    def see(self, cause: str, effect: str, weight: float) -> None:
        after = self.graph.seen(cause, effect, weight, 1)
        assert (after is None) == self.closes((cause, effect))
        assert self.graph.obstacle(cause, effect) == ("cycle" if after is None else None)
        if after is not None:
            self.graph = after
            self.seen.setdefault((cause, effect), []).append(weight)
            self.touched((cause, effect))

    @rule(cause=NODES, effect=NODES, weight=WEIGHTS, claim=CLAIMS)
    def tell(self, cause: str, effect: str, weight: float, claim: str) -> None:
        after = self.graph.seen(cause, effect, weight, 1, claim=claim)
        assert (after is None) == self.closes((cause, effect))
        if after is not None:
            self.graph = after
            self.told.setdefault((cause, effect), {})[claim] = weight
            self.touched((cause, effect))

    @rule(cause=NODES, effect=NODES, claim=CLAIMS)
    def untell(self, cause: str, effect: str, claim: str) -> None:
        pair = (cause, effect)
        self.graph = self.graph.untold(cause, effect, claim)
        told = self.told.get(pair, {})
        told.pop(claim, None)
        if pair in self.order and not told and not self.seen.get(pair):
            self.order.remove(pair)
            self.told.pop(pair, None)

    @rule(cause=NODES, effect=NODES)
    def forget(self, cause: str, effect: str) -> None:
        self.graph = self.graph.without(cause, effect)
        self.seen.pop((cause, effect), None)
        self.told.pop((cause, effect), None)
        if (cause, effect) in self.order:
            self.order.remove((cause, effect))

    @invariant()
    def same(self) -> None:
        assert list(self.graph.edges) == self.order
        for pair in self.order:
            edge = self.graph.edge(*pair)
            assert edge is not None
            seen = self.seen.get(pair, [])
            assert edge.count == len(seen)
            assert abs(edge.mean - (sum(seen) / len(seen) if seen else 0.0)) < 1e-12
            assert {one.claim: one.weight for one in edge.told} == self.told.get(pair, {})
        for node in "abcdefgh":
            assert self.graph.effects(node) == sorted(effect for cause, effect in self.order if cause == node)
            assert self.graph.causes(node) == sorted(cause for cause, effect in self.order if effect == node)
            assert not any(self.reaches(effect, node) for effect in self.graph.effects(node))

    def teardown(self) -> None:
        edges, ranks = self.graph.stored()
        assert restored_graph(edges, ranks) == self.graph


TestGraph: Any = GraphMachine.TestCase
TestGraph.settings = settings(max_examples=ROUNDS, stateful_step_count=40, deadline=None)


def test_graph_cycle_check_is_bounded(monkeypatch: Any) -> None:
    """MEM-2: an edge whose check would look at too much is refused; one that fits the ranks costs nothing to check."""
    graph: CausalGraph | None = CausalGraph()
    for at in range(200):
        assert graph is not None
        graph = graph.seen(f"a{at:03}", f"a{at + 1:03}", 1.0, 1)
    for at in range(200):
        assert graph is not None
        graph = graph.seen(f"b{at:03}", f"b{at + 1:03}", 1.0, 1)
    assert graph is not None
    monkeypatch.setattr(graphs, "MOST_LOOKED_AT", 100)
    assert graph.obstacle("a200", "b000") == "cycle_unproven"
    assert graph.seen("a200", "b000", 1.0, 1) is None
    assert graph.obstacle("b200", "a200") is None  # only one node stands above it
    assert graph.obstacle("a000", "b200") is None
    assert graph.obstacle("a010", "a000") == "cycle"
    monkeypatch.setattr(graphs, "MOST_LOOKED_AT", 1_000)
    assert graph.obstacle("a200", "b000") is None


def test_graph_keeps_few_tellers(monkeypatch: Any) -> None:
    """MEM-2: more claims than are kept apart cannot say one edge; one that says it already can again."""
    graph: CausalGraph | None = CausalGraph()
    for number in range(graphs.MOST_TELLERS):
        assert graph is not None
        graph = graph.seen("a", "b", 1.0, number, claim=f"c{number}")
    assert graph is not None
    assert graph.obstacle("a", "b", claim="another") == "full"
    assert graph.seen("a", "b", 1.0, 1, claim="another") is None
    assert graph.seen("a", "b", 0.5, 1, claim="c0") is not None
