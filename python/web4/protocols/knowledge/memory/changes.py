"""What each event makes of a causal memory: `apply` of its logic (ACT-1)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from web4.protocols.knowledge.memory import events
from web4.protocols.knowledge.memory.state import CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.protocols.knowledge.memory.entries import RememberedClaim
    from web4.protocols.knowledge.memory.events import Forgotten, MemoryEvent
    from web4.protocols.knowledge.memory.graph import CausalGraph
    from web4.protocols.knowledge.memory.state import CausalMemory


def changed(state: CausalMemory, event: MemoryEvent) -> CausalMemory:
    """Give the memory after `event`.

    The event is as persisted: a redaction may have replaced names in it, so that an edge does not fit any more. Then
    there is none.
    """
    match event:
        case events.ClaimRemembered():
            claim = msgspec.structs.replace(event.claim, key=event.key)  # which no redaction touches
            after = state.untold(event.key).with_claim(claim)
            after = replace(after, graph=_told(after.graph, claim, event.causes, event.weight))
        case events.ClaimFlagged():
            known = state.claims.get(event.key)
            after = state
            if known is not None:
                after = state.with_claim(msgspec.structs.replace(known, flag=event.reason))
        case events.ContradictionSeen():
            after = state.with_contradiction(event.source, event.target, event.at_ms)
        case events.ExperienceRecorded():
            own = msgspec.structs.replace(event.experience, record_id=event.record_id)
            graph, _ = linked(state.graph, event.causes, event.record_id, 1.0, own.at_ms)
            after = replace(state.with_experience(own), graph=graph)
        case events.EdgeSeen():
            graph, _ = linked(state.graph, (event.cause,), event.effect, event.weight, event.at_ms)
            after = replace(state, graph=graph)
        case events.ExperienceShared():
            shared = msgspec.structs.replace(event.experience, msg_id=event.msg_id)
            after = state.with_foreign(shared)
            if event.linked:
                graph, _ = linked(after.foreign_graph, (shared.choice,), shared.outcome, 1.0, shared.at_ms)
                after = replace(after, foreign_graph=graph)
        case events.Forgotten():
            after = without(state, event)
    return after


def linked(
    graph: CausalGraph,
    causes: Iterable[str],
    effect: str,
    weight: float,
    at_ms: int,
    *,
    claim: str | None = None,
) -> tuple[CausalGraph, tuple[str, ...]]:
    """Give the graph after each of `causes` was seen to lead to `effect`, and those of them for which that can be."""
    fitting = []
    for cause in causes:
        seen = graph.seen(cause, effect, weight, at_ms, claim=claim)
        if seen is not None:
            graph = seen
            fitting.append(cause)
    return graph, tuple(fitting)


def _told(graph: CausalGraph, claim: RememberedClaim, causes: Iterable[str], weight: float) -> CausalGraph:
    """The graph with what a claim says: what it follows from, and, if its triple is about causes, that."""
    graph, _ = linked(graph, causes, claim.key, weight, claim.at_ms, claim=claim.key)
    if claim.triple is not None and claim.triple.predicate == CAUSES:
        said = (claim.triple.subject,), claim.triple.object
        graph, _ = linked(graph, *said, weight, claim.at_ms, claim=claim.key)
    return graph


def without(state: CausalMemory, gone: Forgotten) -> CausalMemory:
    """Give the memory without what fell out of it."""
    other = gone.other or ""
    match gone.what:
        case "claim":
            after = state.without_claim(gone.name)
        case "experience":
            after = state.without_experience(gone.name)
        case "foreign":
            after = state.without_foreign(gone.name, other)
        case "edge":
            after = replace(state, graph=state.graph.without(gone.name, other))
        case "foreign_edge":
            after = replace(state, foreign_graph=state.foreign_graph.without(gone.name, other))
        case "contradiction":
            after = state.without_contradiction(gone.name, other)
    return after
