"""What memory says of a statement: supports, contradicts, or unknown (MEM-4). Microseconds, however much it holds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.memory.entries import stored_domain, stored_triple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.protocols.knowledge.memory.entries import SaysTriple, StoredTriple
    from web4.protocols.knowledge.memory.state import CausalMemory

Verdict = Literal["supports", "contradicts", "unknown"]
How = Literal["same_key", "functional_triple", "contradicts_edge"]

MOST_REFERENCES: Final = 16
"""References of a verdict."""
MOST_FOLLOWED: Final = 10_000
"""Claims that are looked at to see whether something follows from a flagged one."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a verdict rests on: the key of a claim or the id of an own record, and how it speaks of the statement."""

    ref: str
    how: How


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict on a statement.

    Args:
        verdict: A contradiction outweighs support.
        references: What it rests on, at most 16.
        flagged: It supports, but what it rests on follows from a claim that is flagged (KNOW-7).
    """

    verdict: Verdict
    references: tuple[Reference, ...] = ()
    flagged: bool = False


def check(memory: CausalMemory, statement: str, domain: str, triple: SaysTriple | None = None) -> Checked:
    """Ask memory about a statement (MEM-4). Pure.

    It contradicts by a recorded contradiction with a claim that is accepted and not flagged, or with an own record; or
    by such a claim's functional triple of equal domain, subject and predicate and another object. A claim is never held
    against itself. It supports if the same key is accepted and not flagged.

    Raises:
        ValueError: The statement or the domain has no canonical form.
    """
    return check_key(
        memory,
        claim_key(domain, statement),
        domain,
        None if triple is None else stored_triple(triple),
    )


def check_key(memory: CausalMemory, key: str, domain: str, triple: StoredTriple | None = None) -> Checked:
    """As `check`, for whoever has the key and the triple in normal form already."""
    references = tuple(islice(_against(memory, key, domain, triple), MOST_REFERENCES))
    if references:
        return Checked("contradicts", references)
    if memory.holds(key):
        return Checked("supports", (Reference(key, "same_key"),), follows_from_flagged(memory, key))
    return Checked("unknown")


def _against(memory: CausalMemory, key: str, domain: str, triple: StoredTriple | None) -> Iterator[Reference]:
    for ref in memory.against(key):
        yield Reference(ref, "contradicts_edge")
    if triple is None:
        return
    objects = memory.objects(stored_domain(domain), triple)
    for other in sorted(one for one in objects if one != triple.object):
        for ref in sorted(objects[other]):
            if ref != key:
                yield Reference(ref, "functional_triple")


def follows_from_flagged(memory: CausalMemory, key: str) -> bool:
    """Whether a claim in memory is flagged, or follows from one that is (KNOW-7).

    One that follows from more than 10 000 others counts as flagged if any claim is: it cannot be told in time.
    """
    if not memory.flagged:
        return False
    seen, waiting = {key}, [key]
    while waiting:
        claim = memory.claims.get(waiting.pop())
        if claim is None:
            continue
        if claim.flag is not None:
            return True
        further = [one for one in claim.follows_from if one not in seen]
        seen.update(further)
        waiting.extend(further)
        if len(seen) > MOST_FOLLOWED:
            return True
    return False


def dependants(memory: CausalMemory, key: str) -> list[str]:
    """The claims in memory that follow from a claim, at once or through others, sorted; at most 10 000."""
    seen, waiting = {key}, [key]
    while waiting and len(seen) <= MOST_FOLLOWED:
        node = waiting.pop()
        for effect in memory.graph.effects(node):
            claim = memory.claims.get(effect)
            if claim is not None and node in claim.follows_from and effect not in seen:
                seen.add(effect)
                waiting.append(effect)
    return sorted(seen - {key})
