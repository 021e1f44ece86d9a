"""A causal memory to try things with: alone, or on a lane `knowledge` that holds nothing else."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from web4.actors import LaneActors, open_lane_actors
from web4.actors.definition import LaneDefinition, Origin
from web4.foundation.digest import canonical
from web4.foundation.ids import SeededIds
from web4.journal import EventRegistry, open_journal
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.lane import KNOWLEDGE
from web4.protocols.decisions import DECISION_EVENTS
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.memory import (
    MEMORY_EVENTS,
    AcceptClaim,
    CausalMemory,
    Link,
    MemoryForm,
    MemoryLimits,
    MemoryLogic,
    MemoryReply,
    MemoryRuntime,
    ReceiveShare,
    StoredTriple,
    restored_memory,
    stored_memory,
)
from web4.testing.clocks import START_MS, ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from web4.journal.journal import Journal
    from web4.protocols.knowledge.memory import MemoryCommand, MemoryEvent

DAY_MS = 86_400_000


def triple(subject: str, predicate: str, object: str, *, functional: bool = True) -> StoredTriple:  # noqa: A002
    return StoredTriple(subject=subject, predicate=predicate, object=object, functional=functional)


def accepted(statement: str, domain: str = "geo", *, at_ms: int = START_MS, **more: Any) -> AcceptClaim:
    return AcceptClaim(key=claim_key(domain, statement), domain=domain, at_ms=at_ms, **more)


def shared(
    number: int,
    origin: str = "b" * 64,
    *,
    choice: str = "retry",
    outcome: str = "worked",
    at_ms: int = START_MS,
) -> ReceiveShare:
    return ReceiveShare(
        msg_id=f"m{number}",
        origin=origin,
        shared_decision_id="0" * 36,
        choice=choice,
        outcome=outcome,
        context={"n": number},
        at_ms=at_ms,
    )


def link(cause: str, effect: str, weight: float = 1.0, at_ms: int = START_MS) -> Link:
    return Link(cause=cause, effect=effect, weight=weight, at_ms=at_ms)


class Told:
    """A memory that is told things; what it recorded is kept."""

    def __init__(self, limits: MemoryLimits | None = None) -> None:
        self.logic = MemoryLogic(limits or MemoryLimits())
        self.memory = self.logic.initial
        self.events: list[MemoryEvent] = []

    def __call__(self, *told: MemoryCommand) -> MemoryReply:
        reply = MemoryReply()
        for command in told:
            decision = self.logic.decide(self.memory, command)
            for event in decision.events:
                self.memory = self.logic.apply(self.memory, event)
                self.events.append(event)
            reply = decision.reply
        return reply

    def stored(self) -> bytes:
        return canonical(stored_memory(self.memory))


def again(memory: CausalMemory) -> CausalMemory:
    """The memory, written and read."""
    return restored_memory(msgspec.json.decode(canonical(stored_memory(memory)), type=MemoryForm))


class MemoryLane(LaneDefinition[CausalMemory, Any, Any, MemoryReply]):
    """A lane `knowledge` that consists of causal memory alone."""

    def encode(self, state: CausalMemory) -> bytes:
        return canonical(stored_memory(state))

    def decode(self, data: bytes) -> CausalMemory:
        return restored_memory(msgspec.json.decode(data, type=MemoryForm))

    def origin(self, command: MemoryCommand) -> Origin:
        return Origin(command.at_ms)


def memory_lane(limits: MemoryLimits | None = None) -> MemoryLane:
    return MemoryLane(
        logic=MemoryLogic(limits or MemoryLimits()),
        state=CausalMemory,
        events=(*MEMORY_EVENTS, *DECISION_EVENTS),
    )


@asynccontextmanager
async def node(
    store: MemoryStore, clock: ManualClock | None = None, seed: int = 1
) -> AsyncIterator[tuple[Journal, LaneActors, MemoryRuntime]]:
    """A node whose lane `knowledge` is causal memory alone, on a journal in `store`."""
    clock = clock or ManualClock()
    definition = memory_lane()
    async with (
        open_memory(store) as backend,
        open_journal(backend, registry=EventRegistry(definition.events), clock=clock) as journal,
        open_lane_actors(journal, {"knowledge": definition}) as actors,
    ):
        lane = actors.lane(KNOWLEDGE)
        yield journal, actors, MemoryRuntime(lane.ask, lane.state, clock=clock, ids=SeededIds(seed))


def all_events(told: Told, kind: type) -> Sequence[Any]:
    return [event for event in told.events if isinstance(event, kind)]
