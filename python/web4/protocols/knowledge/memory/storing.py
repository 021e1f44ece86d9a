"""The one spelling of a causal memory: part of the stored state of lane `knowledge` (JRN-7)."""

from __future__ import annotations

import gc

import msgspec
from immutables import Map

from web4.protocols.knowledge.memory.entries import Experience, ForeignExperience, RememberedClaim
from web4.protocols.knowledge.memory.graph import CausalGraph, Edge, restored_graph
from web4.protocols.knowledge.memory.shelf import shelf_of
from web4.protocols.knowledge.memory.state import CausalMemory


class _Form(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Equal values have equal spellings."""


class GraphForm(_Form, frozen=True, kw_only=True):
    """A graph: its edges in order, and what proves that it has no cycle."""

    edges: tuple[Edge, ...] = ()
    ranks: dict[str, int] = {}


class MemoryForm(_Form, frozen=True, kw_only=True):
    """A causal memory as it is stored: a JSON value that a lane's form holds as one of its fields."""

    claims: tuple[RememberedClaim, ...] = ()
    experiences: tuple[Experience, ...] = ()
    foreign: dict[str, tuple[ForeignExperience, ...]] = {}
    graph: GraphForm = GraphForm()
    foreign_graph: GraphForm = GraphForm()
    contradictions: tuple[tuple[str, str, int], ...] = ()
    bytes: int = 0


def stored_memory(memory: CausalMemory) -> MemoryForm:
    """Give a memory as it is stored."""
    return MemoryForm(
        claims=tuple(memory.claims.values()),
        experiences=tuple(memory.experiences.values()),
        foreign={origin: tuple(shelf.values()) for origin, shelf in memory.foreign.items()},
        graph=_graph_form(memory.graph),
        foreign_graph=_graph_form(memory.foreign_graph),
        contradictions=tuple(
            (source, target, memory.contradictions.get((source, target)) or 0)
            for source, target in memory.contradictions
        ),
        bytes=memory.bytes,
    )


def restored_memory(form: MemoryForm) -> CausalMemory:
    """Give the memory that `stored_memory` was called on.

    Raises:
        ValueError: The form holds what no memory does.
    """
    collecting = gc.isenabled()
    gc.disable()  # it would look at all of it again and again while it is made, and find nothing: twice the time
    try:
        return _restored(form)
    finally:
        if collecting:
            gc.enable()


def _restored(form: MemoryForm) -> CausalMemory:
    memory = CausalMemory(
        experiences=shelf_of((one.record_id, one) for one in form.experiences),
        foreign=Map(
            {origin: shelf_of((one.msg_id, one) for one in shared) for origin, shared in form.foreign.items()}
        ),
        graph=restored_graph(form.graph.edges, form.graph.ranks),
        foreign_graph=restored_graph(form.foreign_graph.edges, form.foreign_graph.ranks),
    )
    for source, target, at_ms in form.contradictions:
        memory = memory.with_contradiction(source, target, at_ms)
    return memory.with_claims(form.claims, bytes=form.bytes)


def _graph_form(graph: CausalGraph) -> GraphForm:
    edges, ranks = graph.stored()
    return GraphForm(edges=edges, ranks=ranks)
