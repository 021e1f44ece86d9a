"""What causal memory decides. Pure: a part of the logic of lane `knowledge` (ACT-1, MEM-2 to MEM-4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from web4.foundation.logic import Decision
from web4.protocols.knowledge.memory import commands, entries, events
from web4.protocols.knowledge.memory.changes import changed, linked, without
from web4.protocols.knowledge.memory.state import CAUSES, CausalMemory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.protocols.knowledge.memory.commands import MemoryCommand
    from web4.protocols.knowledge.memory.entries import Kind, Remembered
    from web4.protocols.knowledge.memory.events import Forgotten, MemoryEvent
    from web4.protocols.knowledge.memory.graph import Obstacle

Refused = Literal["cycle", "cycle_unproven", "unknown_reference", "self_reference", "too_large", "unwritable"]
"""Codes of `CycleRefused` and `MemoryRefused`."""


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """Bounds of a causal memory. What is too much falls out, and is an event.

    Args:
        records: Accepted claims, own and foreign experience together (MEM-2).
        bytes: Their canonical bytes together.
        edges: Of each graph.
        contradictions: That are remembered.
    """

    records: int = 100_000
    bytes: int = 64 * 1024 * 1024
    edges: int = 100_000
    contradictions: int = 10_000

    def __post_init__(self) -> None:
        if (
            min(self.records, self.edges) < entries.MOST_LINKS + 2
            or self.bytes < 1024 * 1024
            or self.contradictions < 1
        ):
            raise ValueError("a memory holds 66 records and edges, 1 MiB and 1 contradiction at least")


@dataclass(frozen=True, slots=True)
class MemoryReply:
    """The answer to a command of memory.

    Args:
        refused: Why nothing was recorded: a code of `CycleRefused` or `MemoryRefused`; None if it was taken.
        known: It was there already; nothing was recorded.
        unlinked: Causes that it was not linked to, because that would have closed a cycle.
    """

    refused: Refused | None = None
    known: bool = False
    unlinked: tuple[str, ...] = ()


_MemoryDecision = Decision["MemoryEvent", MemoryReply]
_KNOWN: Final[_MemoryDecision] = Decision((), MemoryReply(known=True))


@dataclass(frozen=True)
class MemoryLogic:
    """Decisions of causal memory, for given limits."""

    limits: MemoryLimits = field(default_factory=MemoryLimits)
    initial: CausalMemory = field(default_factory=CausalMemory)

    def decide(self, state: CausalMemory, command: MemoryCommand) -> Decision[MemoryEvent, MemoryReply]:
        """See `LaneLogic.decide`."""
        match command:
            case commands.AcceptClaim():
                decision = self._accept(state, command)
            case commands.FlagClaim():
                decision = self._flag(state, command.key, command.reason[:64], command)
            case commands.UnflagClaim():
                decision = self._flag(state, command.key, None, command)
            case commands.Contradict():
                decision = self._contradict(state, command)
            case commands.Record():
                decision = self._record(state, command)
            case commands.Link():
                decision = self._link(state, command)
            case commands.ReceiveShare():
                decision = self._receive(state, command)
        return decision

    def apply(self, state: CausalMemory, event: MemoryEvent) -> CausalMemory:
        """See `LaneLogic.apply`. Needs no limits: what fell out is an event of its own."""
        return changed(state, event)

    # --- claims -----------------------------------------------------------------------------------------

    def _accept(self, state: CausalMemory, command: commands.AcceptClaim) -> _MemoryDecision:
        triple = command.triple
        named = _names(command.causal_links)
        claim = entries.RememberedClaim(
            key=command.key,
            domain=entries.stored_domain(command.domain),
            triple=triple,
            # Not known before it is linked; as many as there can be, so that there is room for them.
            follows_from=tuple(one for one in named if one in state.claims),
            at_ms=command.at_ms,
        )
        pairs = [(one, claim.key) for one in named]
        if triple is not None and triple.predicate == CAUSES:
            pairs.append((triple.subject, triple.object))
        after, room = self._with_room(state.untold(claim.key), claim, pairs, command.at_ms)
        graph, causes = linked(
            after.graph, named, claim.key, command.confidence, command.at_ms, claim=claim.key
        )
        claim = msgspec.structs.replace(
            claim, follows_from=tuple(one for one in causes if one in after.claims)
        )
        unlinked = tuple(one for one in named if one not in causes)
        if triple is not None and triple.predicate == CAUSES:
            said = (triple.subject,), triple.object
            _, fits = linked(graph, *said, command.confidence, command.at_ms, claim=claim.key)
            unlinked += () if fits else (triple.subject,)
        event = events.ClaimRemembered(
            key=claim.key,
            claim=claim,
            causes=causes,
            unlinked=unlinked,
            weight=command.confidence,
            decision_id=command.decision_id,
        )
        return Decision((*room, event), MemoryReply(unlinked=unlinked))

    def _flag(
        self,
        state: CausalMemory,
        key: str,
        reason: str | None,
        command: commands.FlagClaim | commands.UnflagClaim,
    ) -> _MemoryDecision:
        claim = state.claims.get(key)
        if claim is None:
            return _refused("unknown_reference")
        if claim.flag == reason:
            return _KNOWN
        event = events.ClaimFlagged(
            key=key, reason=reason, at_ms=command.at_ms, decision_id=command.decision_id
        )
        return Decision((event,), MemoryReply())

    def _contradict(self, state: CausalMemory, command: commands.Contradict) -> _MemoryDecision:
        source, target = command.source, command.target
        if source == target:
            return _refused("self_reference")
        if source not in state.claims and source not in state.experiences:
            return _refused("unknown_reference")
        if not 0 < len(target) <= entries.MOST_NAME:
            return _refused("too_large")
        if (source, target) in state.contradictions:
            return _KNOWN
        room: list[Forgotten] = []
        if len(state.contradictions) >= self.limits.contradictions:
            old = state.contradictions.first
            assert old is not None
            room.append(
                events.Forgotten(what="contradiction", name=old[0], other=old[1], at_ms=command.at_ms)
            )
        event = events.ContradictionSeen(
            source=source, target=target, at_ms=command.at_ms, decision_id=command.decision_id
        )
        return Decision((*room, event), MemoryReply())

    # --- experience -------------------------------------------------------------------------------------

    def _record(self, state: CausalMemory, command: commands.Record) -> _MemoryDecision:
        own = command.experience
        try:
            size = entries.size_of(own)
        except ValueError:
            return _refused("unwritable")
        if not 0 < len(own.record_id) <= entries.MOST_NAME or size > entries.MOST_BYTES:
            return _refused("too_large")
        if own.record_id in state.experiences:
            return _KNOWN
        named = _names(command.causes)
        pairs = [(one, own.record_id) for one in named]
        after, room = self._with_room(state, own, pairs, command.at_ms)
        _, causes = linked(after.graph, named, own.record_id, 1.0, own.at_ms)
        unlinked = tuple(one for one in named if one not in causes)
        event = events.ExperienceRecorded(
            record_id=own.record_id,
            experience=own,
            causes=causes,
            unlinked=unlinked,
            decision_id=own.decision_id or command.decision_id,
        )
        return Decision((*room, event), MemoryReply(unlinked=unlinked))

    def _link(self, state: CausalMemory, command: commands.Link) -> _MemoryDecision:
        pair = (command.cause, command.effect)
        if not all(0 < len(one) <= entries.MOST_NAME for one in pair):
            return _refused("too_large")
        after, room = self._with_room(state, None, [pair], command.at_ms)
        obstacle = after.graph.obstacle(*pair)
        if obstacle is not None:
            return _refused(obstacle)
        event = events.EdgeSeen(
            cause=command.cause,
            effect=command.effect,
            weight=command.weight,
            at_ms=command.at_ms,
            decision_id=command.decision_id,
        )
        return Decision((*room, event), MemoryReply())

    def _receive(self, state: CausalMemory, command: commands.ReceiveShare) -> _MemoryDecision:
        if command.msg_id in state.foreign.get(command.origin, {}):
            return _KNOWN
        try:
            context = entries.kept(command.context)
        except ValueError:
            return _refused("unwritable")
        shared = entries.ForeignExperience(
            msg_id=command.msg_id,
            origin=command.origin,
            decision_id=command.shared_decision_id,
            choice=entries.cut(command.choice) or "?",
            outcome=entries.cut(command.outcome) or "?",
            context=context,
            retrospective=entries.cut(command.retrospective, 512),
            at_ms=command.at_ms,
        )
        after, room = self._with_room(state, shared, [], command.at_ms)
        pair = (shared.choice, shared.outcome)
        full = pair not in after.foreign_graph.edges and len(after.foreign_graph) >= self.limits.edges
        if full:
            old = after.foreign_graph.edges.first
            assert old is not None
            gone = events.Forgotten(what="foreign_edge", name=old[0], other=old[1], at_ms=command.at_ms)
            after, room = self.apply(after, gone), [*room, gone]
        event = events.ExperienceShared(
            msg_id=shared.msg_id,
            experience=shared,
            linked=after.foreign_graph.obstacle(*pair) is None,
            decision_id=shared.decision_id,
        )
        return Decision((*room, event), MemoryReply())

    # --- bounds -----------------------------------------------------------------------------------------

    def _with_room(
        self, state: CausalMemory, entry: Remembered | None, pairs: Iterable[tuple[str, str]], at_ms: int
    ) -> tuple[CausalMemory, list[Forgotten]]:
        """The state with room for a record and for edges, and what falls out for that."""
        gone: list[Forgotten] = []

        def forget(one: Forgotten) -> None:
            nonlocal state
            state = without(state, one)
            gone.append(one)

        if entry is not None:
            size, more = entries.size_of(entry), _is_new(state, entry)
            while len(state) + more > self.limits.records or state.bytes + size > self.limits.bytes:
                forget(_oldest_of_most(state, at_ms))
        wanted = tuple(dict.fromkeys(pairs))
        # Counted anew each time: what falls out may be wanted.
        while (new := sum(pair not in state.graph.edges for pair in wanted)) and (
            len(state.graph) + new > self.limits.edges
        ):
            old = state.graph.edges.first
            assert old is not None  # more are allowed than a command brings
            forget(events.Forgotten(what="edge", name=old[0], other=old[1], at_ms=at_ms))
        return state, gone


def _refused(code: Refused | Obstacle) -> _MemoryDecision:
    assert code != "full"  # only of what claims say
    return Decision((), MemoryReply(refused=code))


def _names(named: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entries.cut(one) for one in named if one))[: entries.MOST_LINKS]


def _is_new(state: CausalMemory, entry: Remembered) -> bool:
    match entry:
        case entries.RememberedClaim():
            return entry.key not in state.claims
        case entries.Experience():
            return entry.record_id not in state.experiences
        case entries.ForeignExperience():
            return True  # one that is known is not stored again


def _oldest_of_most(state: CausalMemory, at_ms: int) -> Forgotten:
    """What falls out: the oldest of the kind there is most of; of what others shared, the one who shared most."""
    counts = state.counts()
    kind: Kind = max(counts, key=lambda one: (counts[one], one))
    if kind == "foreign":
        origin = max(state.foreign, key=lambda one: (len(state.foreign[one]), one))
        return events.Forgotten(what=kind, name=origin, other=state.foreign[origin].first, at_ms=at_ms)
    oldest = (state.experiences if kind == "experience" else state.claims).first
    assert oldest is not None  # there is most of it, and something has to go
    return events.Forgotten(what=kind, name=oldest, at_ms=at_ms)
