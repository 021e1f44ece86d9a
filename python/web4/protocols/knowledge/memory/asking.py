"""Questions to causal memory: what led to this, what does it lead to, by which way, and what is to be expected (MEM-2).

Memory fades by half in 90 days. That is worked out when it is read, from the times that were recorded and the time that
the question brings.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final

from web4.protocols.knowledge.memory.checking import follows_from_flagged
from web4.protocols.knowledge.memory.errors import MemoryRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from web4.protocols.knowledge.memory.entries import Experience
    from web4.protocols.knowledge.memory.state import CausalMemory

HALF_LIFE_MS: Final = 90 * 86_400_000
"""What was not heard of for so long counts half (MEM-2)."""
FOREIGN_WEIGHT: Final = 0.5
"""What a peer shared counts half of what this node saw (MEM-3)."""
MOST_VISITED: Final = 10_000
"""Nodes that a question goes through."""


@dataclass(frozen=True, slots=True)
class Step:
    """One edge of a way, as it counts at the time of the question.

    Args:
        cause: Where it begins.
        effect: Where it leads.
        weight: Mean weight of all that says it; what others shared counts half.
        strength: The weight, faded, and halved if only others say it.
        count: How often this node saw it.
        claims: The accepted claims that say it.
        foreign: How often others shared it.
        last_ms: When it was last heard of, Unix milliseconds.
        flagged: One of the claims follows from one that does not count any more.
    """

    cause: str
    effect: str
    weight: float
    strength: float
    count: int
    claims: tuple[str, ...]
    foreign: int
    last_ms: int
    flagged: bool


@dataclass(frozen=True, slots=True)
class Way:
    """Steps that follow each other. `strength` is the product of theirs."""

    steps: tuple[Step, ...]
    strength: float

    @property
    def effect(self) -> str:
        """Where it leads."""
        return self.steps[-1].effect

    @property
    def flagged(self) -> bool:
        """Whether one of its steps is."""
        return any(step.flagged for step in self.steps)


@dataclass(frozen=True, slots=True)
class Asking:
    """Causal memory as it looks at one time.

    Args:
        memory: As it is durable.
        at_ms: The time, Unix milliseconds.
        foreign: Whether what others shared is looked at, too.
    """

    memory: CausalMemory
    at_ms: int
    foreign: bool = True

    def step(self, cause: str, effect: str) -> Step | None:
        """The edge from `cause` to `effect`; None if there is none, or nothing that counts says it."""
        own = self.memory.graph.edge(cause, effect)
        foreign = self.memory.foreign_graph.edge(cause, effect) if self.foreign else None
        told = [one for one in (own.told if own else ()) if self.memory.holds(one.claim)]
        count = own.count if own else 0
        heard = foreign.count if foreign else 0
        mass = count + len(told) + FOREIGN_WEIGHT * heard
        if not mass:
            return None
        total = sum(one.weight for one in told)
        last_ms = max((one.at_ms for one in told), default=0)
        if own is not None and count:
            total, last_ms = total + own.mean * count, max(last_ms, own.last_ms)
        if foreign is not None:
            total, last_ms = total + FOREIGN_WEIGHT * foreign.mean * heard, max(last_ms, foreign.last_ms)
        weight = total / mass
        known = 1.0 if count or told else FOREIGN_WEIGHT
        return Step(
            cause=cause,
            effect=effect,
            weight=weight,
            strength=weight * known * faded(self.at_ms - last_ms),
            count=count,
            claims=tuple(one.claim for one in told),
            foreign=heard,
            last_ms=last_ms,
            flagged=any(follows_from_flagged(self.memory, one.claim) for one in told),
        )

    def downstream(self, node: str, *, most: int = 100) -> tuple[str, ...]:
        """What `node` leads to, at once or through others: the nearest first, at most `most`."""
        return self._around(node, self._effects, lambda here, there: (here, there), most)

    def upstream(self, node: str, *, most: int = 100) -> tuple[str, ...]:
        """What leads to `node`, at once or through others: the nearest first, at most `most`."""
        return self._around(node, self._causes, lambda here, there: (there, here), most)

    def explain(self, path: Sequence[str]) -> Way:
        """Say of each step of a path what it rests on: what was seen, which claims say it, what others shared.

        Raises:
            MemoryRefused: `unknown_reference`: two nodes that follow each other in it have no edge.
        """
        steps = []
        for cause, effect in pairwise(path):
            step = self.step(cause, effect)
            if step is None:
                raise MemoryRefused("memory knows no edge between two nodes of the path", field="path")
            steps.append(step)
        if not steps:
            raise MemoryRefused("a path has two nodes at least", field="path")
        return _way(tuple(steps))

    def way(self, cause: str, effect: str) -> Way | None:
        """The strongest way from `cause` to `effect`; None if there is none among the 10 000 strongest."""
        return next((one for one in self._ways(cause) if one.effect == effect), None)

    def forecast(self, cause: str, *, most: int = 16) -> tuple[Way, ...]:
        """What is to be expected of `cause`: each effect by the strongest way to it, the strongest first."""
        return tuple(islice(self._ways(cause), most))

    def records(
        self, *, name: str | None = None, tag: str | None = None, most: int = 100
    ) -> tuple[Experience, ...]:
        """Own experience of a name and a tag, the newest first, at most `most`. Looks at all there is."""
        shelf = self.memory.experiences
        found = (shelf.get(record_id) for record_id in reversed(shelf))
        fitting = (
            one for one in found if one and name in {None, one.name} and (tag is None or tag in one.tags)
        )
        return tuple(islice(fitting, most))

    # --- walking ----------------------------------------------------------------------------------------

    def _effects(self, node: str) -> list[str]:
        return self._joined(self.memory.graph.effects(node), self.memory.foreign_graph.effects(node))

    def _causes(self, node: str) -> list[str]:
        return self._joined(self.memory.graph.causes(node), self.memory.foreign_graph.causes(node))

    def _joined(self, own: list[str], foreign: list[str]) -> list[str]:
        return sorted({*own, *foreign}) if self.foreign and foreign else own

    def _around(
        self,
        node: str,
        next_to: Callable[[str], list[str]],
        ends: Callable[[str, str], tuple[str, str]],
        most: int,
    ) -> tuple[str, ...]:
        found, ring = {node: None}, [node]
        while ring and len(found) <= min(most, MOST_VISITED):
            further: dict[str, None] = {}
            for here in ring:
                for there in next_to(here):
                    if there not in found and there not in further and self.step(*ends(here, there)):
                        further[there] = None
            ring = sorted(further)
            found |= dict.fromkeys(ring)
        return tuple(found)[1 : most + 1]

    def _ways(self, cause: str) -> Iterator[Way]:
        """Give each node that can be reached by the strongest way to it, the strongest first."""
        reached = {cause}
        waiting: list[tuple[float, tuple[str, ...], tuple[Step, ...]]] = []

        def look(steps: tuple[Step, ...], node: str, strength: float) -> None:
            for effect in self._effects(node):
                step = None if effect in reached else self.step(node, effect)
                if step is not None and step.strength > 0:
                    nodes = (*(one.effect for one in steps), effect)
                    heappush(waiting, (-strength * step.strength, nodes, (*steps, step)))

        look((), cause, 1.0)
        while waiting and len(reached) <= MOST_VISITED:
            strength, nodes, steps = heappop(waiting)
            if nodes[-1] in reached:
                continue
            reached.add(nodes[-1])
            yield Way(steps, -strength)
            look(steps, nodes[-1], -strength)


def faded(age_ms: int) -> float:
    """Give what is left of something so old: half after 90 days. What lies ahead has not begun to fade."""
    return float(2.0 ** (-max(0, age_ms) / HALF_LIFE_MS))


def _way(steps: tuple[Step, ...]) -> Way:
    strength = 1.0
    for step in steps:
        strength *= step.strength
    return Way(steps, strength)
