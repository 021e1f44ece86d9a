"""The state of causal memory: a value that is never changed, whatever is learnt (MEM-2)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from immutables import Map

from web4.protocols.knowledge.memory.entries import size_of
from web4.protocols.knowledge.memory.graph import CausalGraph, Pair
from web4.protocols.knowledge.memory.shelf import Shelf, shelf_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.protocols.knowledge.memory.entries import (
        Experience,
        ForeignExperience,
        Kind,
        RememberedClaim,
        StoredTriple,
    )

Names = Map[str, None]
_NO_NAMES: Final[Names] = Map()
_NO_OBJECTS: Final[Map[str, Names]] = Map()
CAUSES: Final = "causes"
"""The predicate of a triple that says an edge: its subject leads to its object."""


@dataclass(frozen=True, slots=True)
class CausalMemory:
    """What this node knows of causes, in one immutable value. `MemoryLogic` makes the next from it.

    Args:
        claims: Accepted claims by key, flagged ones included, oldest first.
        experiences: Own experience by id, oldest first.
        foreign: What each peer shared, by its fingerprint, then by `msg_id`, oldest first (MEM-3).
        graph: What leads to what by own experience and accepted claims.
        foreign_graph: What leads to what as others say.
        contradictions: Which two cannot both hold, oldest first; when that was seen.
        bytes: Canonical bytes of all records.
        flagged: How many claims are flagged.
    """

    claims: Shelf[str, RememberedClaim] = field(default_factory=Shelf)
    experiences: Shelf[str, Experience] = field(default_factory=Shelf)
    foreign: Map[str, Shelf[str, ForeignExperience]] = field(default_factory=Map)
    graph: CausalGraph = field(default_factory=CausalGraph)
    foreign_graph: CausalGraph = field(default_factory=CausalGraph)
    contradictions: Shelf[Pair, int] = field(default_factory=Shelf)
    bytes: int = 0
    flagged: int = 0
    _objects: Map[tuple[str, str, str], Map[str, Names]] = field(default_factory=Map)
    """Objects of functional triples of claims that count, and those claims, by domain, subject and predicate."""
    _against: Map[str, Names] = field(default_factory=Map)
    """What contradicts what, both ways."""

    def __len__(self) -> int:
        return sum(self.counts().values())

    def counts(self) -> dict[Kind, int]:
        """How many records there are of each kind."""
        return {
            "experience": len(self.experiences),
            "foreign": sum(len(shelf) for shelf in self.foreign.values()),
            "claim": len(self.claims),
        }

    # --- questions --------------------------------------------------------------------------------------

    def holds(self, key: str) -> bool:
        """Whether a claim is in memory and not flagged."""
        claim = self.claims.get(key)
        return claim is not None and claim.flag is None

    def against(self, key: str) -> list[str]:
        """What contradicts `key` at present, sorted: claims that count, and own records."""
        sources = self._against.get(key, _NO_NAMES)
        return sorted(one for one in sources if one in self.experiences or self.holds(one))

    def opposed(self, key: str) -> list[str]:
        """What `key` was ever seen to contradict, whichever way and whether it counts or not, sorted."""
        return sorted(self._against.get(key, _NO_NAMES))

    def objects(self, domain: str, triple: StoredTriple) -> Map[str, Names]:
        """The objects that functional triples of claims that count give, with those claims; see `stored_domain`."""
        return self._objects.get((domain, triple.subject, triple.predicate), _NO_OBJECTS)

    def first_hand(self, key: str) -> list[str]:
        """Own records that were seen to lead to `key`, sorted: what a vote may cite as memory (KNOW-4)."""
        return [one for one in self.graph.causes(key) if one in self.experiences and self._was_seen(one, key)]

    def _was_seen(self, cause: str, effect: str) -> bool:
        edge = self.graph.edge(cause, effect)
        return edge is not None and edge.count > 0

    # --- the next state ---------------------------------------------------------------------------------

    def with_claim(self, claim: RememberedClaim) -> CausalMemory:
        """Put a claim in, as the newest, or in the place of what was under its key."""
        before = self.claims.get(claim.key)
        claims = (self.claims.put if before is None else self.claims.change)(claim.key, claim)
        objects = self._objects
        if before is not None:
            objects = _unindexed(objects, before)
        return replace(
            self,
            claims=claims,
            bytes=self.bytes + size_of(claim) - (0 if before is None else size_of(before)),
            flagged=self.flagged
            + (claim.flag is not None)
            - (before is not None and before.flag is not None),
            _objects=_indexed(objects, claim),
        )

    def with_claims(self, claims: Iterable[RememberedClaim], *, bytes: int) -> CausalMemory:  # noqa: A002 - the field
        """Put the claims of a stored memory into one without any, whose records have `bytes` canonical bytes."""
        listed = list(claims)
        objects: Map[tuple[str, str, str], Map[str, Names]] = Map()
        for claim in listed:
            objects = _indexed(objects, claim)
        return replace(
            self,
            claims=shelf_of((one.key, one) for one in listed),
            bytes=bytes,
            flagged=sum(one.flag is not None for one in listed),
            _objects=objects,
        )

    def with_experience(self, experience: Experience) -> CausalMemory:
        """Put own experience in. One record an id: another under the same takes its place."""
        before = self.experiences.get(experience.record_id)
        added = size_of(experience) - (0 if before is None else size_of(before))
        experiences = self.experiences.put(experience.record_id, experience)
        return replace(self, experiences=experiences, bytes=self.bytes + added)

    def with_foreign(self, shared: ForeignExperience) -> CausalMemory:
        """Put in what a peer shared."""
        shelf = self.foreign.get(shared.origin, Shelf())
        before = shelf.get(shared.msg_id)
        added = size_of(shared) - (0 if before is None else size_of(before))
        foreign = self.foreign.set(shared.origin, shelf.put(shared.msg_id, shared))
        return replace(self, foreign=foreign, bytes=self.bytes + added)

    def with_contradiction(self, source: str, target: str, at_ms: int) -> CausalMemory:
        """Note that two cannot both hold."""
        against = self._against
        for one, other in ((source, target), (target, source)):
            against = against.set(one, against.get(one, _NO_NAMES).set(other, None))
        return replace(
            self, contradictions=self.contradictions.put((source, target), at_ms), _against=against
        )

    def untold(self, key: str) -> CausalMemory:
        """Take out of the graph what a claim says."""
        graph, claim = self.graph, self.claims.get(key)
        if claim is None:
            return self
        for cause in graph.causes(key):
            graph = graph.untold(cause, key, key)
        if claim.triple is not None and claim.triple.predicate == CAUSES:
            graph = graph.untold(claim.triple.subject, claim.triple.object, key)
        return replace(self, graph=graph)

    def without_claim(self, key: str) -> CausalMemory:
        """Let a claim go, with what it says."""
        claim = self.claims.get(key)
        if claim is None:
            return self
        return replace(
            self.untold(key),
            claims=self.claims.without(key),
            bytes=self.bytes - size_of(claim),
            flagged=self.flagged - (claim.flag is not None),
            _objects=_unindexed(self._objects, claim),
        )

    def without_experience(self, record_id: str) -> CausalMemory:
        """Let own experience go; what it taught stays in the graph."""
        gone = self.experiences.get(record_id)
        if gone is None:
            return self
        experiences = self.experiences.without(record_id)
        return replace(self, experiences=experiences, bytes=self.bytes - size_of(gone))

    def without_foreign(self, origin: str, msg_id: str) -> CausalMemory:
        """Let go what a peer shared; what it taught stays in the graph."""
        shelf = self.foreign.get(origin, Shelf())
        gone = shelf.get(msg_id)
        if gone is None:
            return self
        left = shelf.without(msg_id)
        foreign = self.foreign.set(origin, left) if left else self.foreign.delete(origin)
        return replace(self, foreign=foreign, bytes=self.bytes - size_of(gone))

    def without_contradiction(self, source: str, target: str) -> CausalMemory:
        """Forget that two cannot both hold."""
        pair = (source, target)
        if pair not in self.contradictions:
            return self
        contradictions, against = self.contradictions.without(pair), self._against
        if (target, source) not in contradictions:
            against = _less(_less(against, source, target), target, source)
        return replace(self, contradictions=contradictions, _against=against)


def _less(sets: Map[str, Names], key: str, name: str) -> Map[str, Names]:
    names = sets.get(key, _NO_NAMES)
    if name not in names:
        return sets
    left = names.delete(name)
    return sets.set(key, left) if left else sets.delete(key)


def _counted(claim: RememberedClaim) -> tuple[tuple[str, str, str], str] | None:
    """Where a claim's triple is looked up, and its object; None if it rules nothing out."""
    triple = claim.triple
    if triple is None or not triple.functional or claim.flag is not None:
        return None
    return (claim.domain, triple.subject, triple.predicate), triple.object


def _indexed(
    objects: Map[tuple[str, str, str], Map[str, Names]], claim: RememberedClaim
) -> Map[tuple[str, str, str], Map[str, Names]]:
    counted = _counted(claim)
    if counted is None:
        return objects
    place, of = counted
    known = objects.get(place, _NO_OBJECTS)
    return objects.set(place, known.set(of, known.get(of, _NO_NAMES).set(claim.key, None)))


def _unindexed(
    objects: Map[tuple[str, str, str], Map[str, Names]], claim: RememberedClaim
) -> Map[tuple[str, str, str], Map[str, Names]]:
    counted = _counted(claim)
    if counted is None:
        return objects
    place, of = counted
    left = _less(objects[place], of, claim.key)
    return objects.set(place, left) if left else objects.delete(place)
