"""The ledger as a value: its claims, and the indexes by which a change finds whom it concerns (KNOW-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from immutables import Map
from msgspec import field
from msgspec.structs import replace

from web4.protocols.knowledge.ledger.claims import Claim, Vote
from web4.protocols.knowledge.ledger.counting import UNSEEN, PeerSeen
from web4.protocols.knowledge.ledger.evaluation import Load
from web4.protocols.knowledge.memory.shelf import Shelf
from web4.protocols.knowledge.sources.tiers import NEW_SOURCE, Source

if TYPE_CHECKING:
    from collections.abc import Iterable

Keys = Map[str, None]
"""A set of claim keys. Its order differs from process to process: sort before it matters (WEB-2)."""
_NONE: Keys = Map()
Queue = Shelf[str, None]
"""Names in the order in which they came."""


def queued(queue: Queue, name: str) -> Queue:
    """The queue with `name` at its end; as it is if `name` is in it."""
    return queue if name in queue else queue.put(name, None)


class Indexes(msgspec.Struct, frozen=True):
    """Which claims are concerned by what. Rebuilt from the claims; never recorded.

    Args:
        peers: By fingerprint: the claims that it proposed or voted on.
        sources: By registrable domain: the claims whose proposals or votes name it.
        names: By the `msg_id` of a proposal: the claims that votes may name by it. A sender chooses its ids.
        slots: By what a triple gives an object of (MEM-4): the claims with such a triple.
        links: By claim or `msg_id`: the claims that say they follow from it.
        decisions: By proposer and its decision: the claims that it proposed by it with a triple (TRUST-4).
        open: By first proposer: its open claims (KNOW-10).
        loaded: Claims that wait for the load to fall.
        undecided: Claims that time can change: pending, or disputed and never accepted.
    """

    peers: Map[str, Keys] = field(default_factory=Map)
    sources: Map[str, Keys] = field(default_factory=Map)
    names: Map[str, Keys] = field(default_factory=Map)
    slots: Map[tuple[str, str, str], Keys] = field(default_factory=Map)
    links: Map[str, Keys] = field(default_factory=Map)
    decisions: Map[tuple[str, str], Keys] = field(default_factory=Map)
    open: Map[str, Keys] = field(default_factory=Map)
    loaded: Keys = field(default_factory=Map)
    undecided: Keys = field(default_factory=Map)


class LedgerState(msgspec.Struct, frozen=True):
    """What the ledger knows. Every change gives another one.

    Args:
        claims: By key.
        parked: By `fact_ref`: votes for claims that are not here (KNOW-2), by peer.
        waiting: The parked votes, as `peer fact_ref`, oldest first.
        peers: What is known of them.
        sources: By registrable domain.
        load: How this node is.
        aligned: By probing peer: claims of it that equal what was accepted here (TRUST-5).
        accepted: Claims that are accepted or were, oldest first: what is forgotten when there are too many.
        rejected: The same for claims that were rejected without ever being accepted.
        rechecks: Accepted web claims that are to be fetched again (LIP-6), oldest first.
        dirty: Claims that are to be looked at again, and were too many for one decision.
        order: The place of the next claim.
        index: See `Indexes`.
    """

    claims: Map[str, Claim] = field(default_factory=Map)
    parked: Map[str, Map[str, Vote]] = field(default_factory=Map)
    waiting: Queue = field(default_factory=Shelf)
    peers: Map[str, PeerSeen] = field(default_factory=Map)
    sources: Map[str, Source] = field(default_factory=Map)
    load: Load = field(default_factory=Load)
    aligned: Map[str, tuple[str, ...]] = field(default_factory=Map)
    accepted: Queue = field(default_factory=Shelf)
    rejected: Queue = field(default_factory=Shelf)
    rechecks: Queue = field(default_factory=Shelf)
    dirty: Queue = field(default_factory=Shelf)
    order: int = 0
    index: Indexes = field(default_factory=Indexes)

    # --- reading ----------------------------------------------------------------------------------------

    def peer(self, peer: str) -> PeerSeen:
        """What is known of a peer."""
        return self.peers.get(peer, UNSEEN)

    def source(self, domain: str) -> Source:
        """What is known of a source."""
        return self.sources.get(domain, NEW_SOURCE)

    def find(self, ref: str) -> Claim | None:
        """The claim of a `fact_ref`: its key, or the `msg_id` of a proposal; None for an id that two claims have."""
        named = self.index.names.get(ref, _NONE)
        return self.claims.get(ref) or (self.claims[next(iter(named))] if len(named) == 1 else None)

    def concerning_peer(self, peer: str) -> list[str]:
        """The claims that a change of a peer's trust or introducer can change, in the order of arrival."""
        return self.in_order(self.index.peers.get(peer, _NONE))

    def concerning_source(self, domain: str) -> list[str]:
        """The claims that a change of a source's tier can change, in the order of arrival."""
        return self.in_order(self.index.sources.get(domain, _NONE))

    def in_order(self, keys: Keys) -> list[str]:
        """These claims in the order of arrival: the same in every process."""
        claims = self.claims
        return sorted(keys, key=lambda key: (claims[key].order, key))

    @property
    def open_claims(self) -> int:
        """How many claims are open (KNOW-10)."""
        return len(self.index.undecided)

    # --- changing ---------------------------------------------------------------------------------------

    def with_(self, **changes: Any) -> LedgerState:
        """The state with these fields changed."""
        return replace(self, **changes)

    def put(self, claim: Claim) -> LedgerState:
        """The state with this claim instead of the one of its key, and the indexes to match."""
        old = self.claims.get(claim.key)
        accepted, rejected = self.accepted, self.rejected
        if claim.was_accepted:
            accepted, rejected = queued(accepted, claim.key), rejected.without(claim.key)
        elif claim.status == "rejected":
            rejected = queued(rejected, claim.key)
        else:
            rejected = rejected.without(claim.key)
        return replace(
            self,
            claims=self.claims.set(claim.key, claim),
            accepted=accepted,
            rejected=rejected,
            index=_reindexed(self.index, old, claim),
        )

    def forget(self, key: str) -> LedgerState:
        """The state without a claim."""
        claim = self.claims[key]
        return replace(
            self,
            claims=self.claims.delete(key),
            accepted=self.accepted.without(key),
            rejected=self.rejected.without(key),
            rechecks=self.rechecks.without(key),
            dirty=self.dirty.without(key),
            index=_reindexed(self.index, claim, None),
        )


def _reindexed(index: Indexes, old: Claim | None, new: Claim | None) -> Indexes:
    changes: dict[str, Any] = {}
    for name, names_of in _said_otherwise(old, new).items():
        before = names_of(old) if old is not None else frozenset()
        after = names_of(new) if new is not None else frozenset()
        if before != after:
            changes[name] = _moved(getattr(index, name), (old or new).key, before, after)  # type: ignore[union-attr]
    before, after = _opener(old), _opener(new)
    key = (new or old).key  # type: ignore[union-attr]
    if before != after:
        changes["open"] = _moved(index.open, key, before, after)
    for name, belongs in _SETS.items():
        keys: Keys = getattr(index, name)
        if new is not None and belongs(new):
            if key not in keys:
                changes[name] = keys.set(key, None)
        elif key in keys:
            changes[name] = keys.delete(key)
    return replace(index, **changes) if changes else index


def indexes_of(claims: Iterable[Claim]) -> Indexes:
    """The indexes of these claims, all at once."""
    found: dict[str, dict[Any, dict[str, None]]] = {name: {} for name in (*_BY_WHAT_WAS_SAID, "open")}
    sets: dict[str, dict[str, None]] = {name: {} for name in _SETS}
    for claim in claims:
        key = claim.key
        for name, names_of in _BY_WHAT_WAS_SAID.items():
            for one in names_of(claim):
                found[name].setdefault(one, {})[key] = None
        for opener in _opener(claim):
            found["open"].setdefault(opener, {})[key] = None
        for name, belongs in _SETS.items():
            if belongs(claim):
                sets[name][key] = None
    maps: dict[str, Any] = {
        name: Map({one: Map(keys) for one, keys in index.items()}) for name, index in found.items()
    }
    maps |= {name: Map(keys) for name, keys in sets.items()}
    return Indexes(**maps)


def _said_otherwise(old: Claim | None, new: Claim | None) -> dict[str, Any]:
    """The indexes that a change can touch. Most are votes, and those say nothing of what only proposals say."""
    if old is None or new is None or old.proposals is not new.proposals or old.triple is not new.triple:
        return _BY_WHAT_WAS_SAID
    return _BY_VOTES if old.votes is not new.votes else {}


def _moved(index: Map[Any, Keys], key: str, before: frozenset[Any], after: frozenset[Any]) -> Map[Any, Keys]:
    for name in before - after:
        left = index[name].delete(key)
        index = index.set(name, left) if left else index.delete(name)
    for name in after - before:
        index = index.set(name, index.get(name, _NONE).set(key, None))
    return index


def _peers(claim: Claim) -> frozenset[str]:
    return claim.proposers | frozenset(claim.votes)


def _sources(claim: Claim) -> frozenset[str]:
    return frozenset(domains_of(claim))


def domains_of(claim: Claim) -> set[str]:
    """The registrable domains that its proposals and votes name."""
    said = [one.cited for one in claim.proposals]
    said += [one.cited for one in claim.votes.values()]
    return {domain for cited in said for domain in cited.domains}


def _names(claim: Claim) -> frozenset[str]:
    return frozenset([name for one in claim.proposals for name in one.names])


def _slots(claim: Claim) -> frozenset[tuple[str, str, str]]:
    return frozenset() if claim.slot is None else frozenset((claim.slot,))


def _links(claim: Claim) -> frozenset[str]:
    return frozenset([link for one in claim.proposals for link in one.links])


def _decisions(claim: Claim) -> frozenset[tuple[str, str]]:
    return frozenset(
        [
            (one.peer, one.decision_id)
            for one in claim.proposals
            if one.decision_id is not None and one.triple is not None
        ]
    )


def _opener(claim: Claim | None) -> frozenset[str]:
    return frozenset((claim.proposals[0].peer,)) if claim is not None and claim.open else frozenset()


def _is_loaded(claim: Claim) -> bool:
    return claim.status == "pending" and claim.reason == "load"


def _is_undecided(claim: Claim) -> bool:
    return claim.open


_BY_VOTES: dict[str, Any] = {"peers": _peers, "sources": _sources}
_BY_WHAT_WAS_SAID: dict[str, Any] = {
    **_BY_VOTES,
    "names": _names,
    "slots": _slots,
    "links": _links,
    "decisions": _decisions,
}
_SETS = {"loaded": _is_loaded, "undecided": _is_undecided}
