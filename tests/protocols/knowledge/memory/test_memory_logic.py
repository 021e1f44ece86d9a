"""What causal memory decides: pure, bounded, and only what was accepted (ACT-1, KNOW-8, MEM-2, MEM-3)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.protocols.knowledge.memory.remembering import (
    Told,
    accepted,
    again,
    all_events,
    link,
    shared,
    triple,
)
from web4.foundation.logic import replay
from web4.journal import EventRegistry
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.memory import (
    MEMORY_EVENTS,
    Contradict,
    FlagClaim,
    Forgotten,
    MemoryLimits,
    MemoryLogic,
    Record,
    UnflagClaim,
    experience,
)
from web4.protocols.knowledge.memory.changes import changed
from web4.protocols.knowledge.memory.entries import size_of
from web4.protocols.knowledge.memory.events import ClaimRemembered, EdgeSeen
from web4.testing import check_lane_logic

if TYPE_CHECKING:
    from web4.protocols.knowledge.memory import CausalMemory, MemoryCommand
    from web4.protocols.knowledge.memory.entries import Remembered

SMALL = MemoryLimits(records=70, edges=80, contradictions=3, bytes=1024 * 1024)


def record(number: int, *causes: str, size: int = 0) -> Record:
    own = experience(
        record_id=f"r{number}", name="try", at_ms=number, success=number % 2 == 0, inputs={"x": "y" * size}
    )
    return Record(experience=own, causes=causes, at_ms=number)


def some(seed: int, count: int) -> list[MemoryCommand]:
    """Commands of all sorts, many about the same things."""
    chance = random.Random(seed)
    commands: list[MemoryCommand] = []
    for number in range(count):
        node = f"n{chance.randrange(8)}"
        key = claim_key("geo", f"s{chance.randrange(30)}")
        match chance.randrange(7):
            case 0 | 1:
                commands.append(
                    accepted(
                        f"s{chance.randrange(30)}",
                        triple=triple(f"n{chance.randrange(8)}", chance.choice(["causes", "is"]), node),
                        causal_links=(key, node),
                        confidence=chance.random(),
                    )
                )
            case 2:
                commands.append(FlagClaim(key=key, reason="disputed", at_ms=number))
            case 3:
                commands.append(UnflagClaim(key=key, at_ms=number))
            case 4:
                commands.append(record(chance.randrange(100), node, key, f"r{chance.randrange(100)}"))
            case 5:
                commands.append(link(node, f"n{chance.randrange(8)}", chance.random()))
                commands.append(Contradict(source=key, target=f"s{chance.randrange(30)}", at_ms=number))
            case 6:
                commands.append(shared(number, origin=chance.choice("ab") * 64, outcome=node))
    return commands


def test_logic_is_pure_and_replays() -> None:
    """ACT-1, WEB-2: the same events in another process, the same state from them and from its own spelling."""
    logic = MemoryLogic(SMALL)
    state, events = check_lane_logic(logic, some(1, 300))
    assert {type(event) for event in events} == {one.struct for one in MEMORY_EVENTS}
    assert again(state) == state
    registry = EventRegistry(MEMORY_EVENTS)
    read = [registry.reread(registry.type_of(event), registry.encode(event)) for event in events]
    assert replay(logic, read) == state
    half = len(events) // 2
    assert replay(logic, events[half:], base=again(replay(logic, events[:half]))) == state


@pytest.mark.parametrize("seed", range(5))
def test_memory_stays_within_its_bounds(seed: int) -> None:
    """MEM-2: records, edges and contradictions are bounded, and what falls out is an event."""
    told = Told(SMALL)
    for command in some(seed, 600):
        told(command)
        memory = told.memory
        assert len(memory) <= SMALL.records
        assert len(memory.graph) <= SMALL.edges
        assert len(memory.foreign_graph) <= SMALL.edges
        assert len(memory.contradictions) <= SMALL.contradictions
    assert memory.bytes == _bytes(memory)
    assert memory.flagged == sum(claim.flag is not None for claim in memory.claims.values())
    assert {one.what for one in all_events(told, Forgotten)} >= {"experience", "contradiction"}, (
        f"seed {seed}"
    )


def _bytes(memory: CausalMemory) -> int:
    entries: list[Remembered] = [*memory.claims.values(), *memory.experiences.values()]
    entries += [one for shelf in memory.foreign.values() for one in shelf.values()]
    return sum(size_of(one) for one in entries)


def test_oldest_of_most_falls_out() -> None:
    """MEM-2: a flood of one kind pushes out its own kind, and a peer that shares most loses its own."""
    told = Told(SMALL)
    for number in range(10):
        told(accepted(f"s{number}"))
    for number in range(5):
        told(shared(number, origin="a" * 64))
    for number in range(500):
        told(record(number))
    assert told.memory.counts() == {"claim": 10, "foreign": 5, "experience": 55}
    assert next(iter(told.memory.experiences)) == "r445"
    for number in range(500, 1_000):
        told(shared(number, origin="b" * 64))
    assert len(told.memory.foreign["a" * 64]) == 5
    assert told.memory.counts()["claim"] == 10
    assert sum(told.memory.counts().values()) == SMALL.records


def test_bytes_are_bounded() -> None:
    """MEM-2: large records count for what they are, and one that is too large is refused or told by its hash."""
    told = Told(MemoryLimits(records=100_000, bytes=1024 * 1024))
    for number in range(2_000):
        told(record(number, size=900))
    assert 1024 * 1024 - 2_000 < told.memory.bytes <= 1024 * 1024
    kept = experience(record_id="big", name="n", inputs={"x": "y" * 5_000}, at_ms=1)
    assert sorted(kept.inputs) == ["blake3", "bytes"]
    unkept = msgspec.structs.replace(kept, inputs={"x": "y" * 9_000})
    assert told(Record(experience=unkept, at_ms=1)).refused == "too_large"
    unwritable = msgspec.structs.replace(kept, inputs={"x": 2**60})
    assert told(Record(experience=unwritable, at_ms=1)).refused == "unwritable"


def test_cycle_is_refused_and_left_out() -> None:
    """MEM-2: an edge that closes a cycle is refused; a claim or record that names one enters without it."""
    told = Told()
    told(link("a", "b"), link("b", "c"))
    assert told(link("c", "a")).refused == "cycle"
    assert told(link("a", "a")).refused == "cycle"
    key, other = claim_key("geo", "s1"), claim_key("geo", "s2")
    told(accepted("s1", causal_links=(other,)))
    reply = told(accepted("s2", causal_links=(key, "a")))
    assert reply.unlinked == (key,)
    claim = told.memory.claims.get(other)
    assert claim is not None
    assert claim.follows_from == ()
    assert told.memory.graph.causes(other) == ["a"]
    assert told(record(1, "c", "r1")).unlinked == ("r1",)
    assert told(accepted("s3", triple=triple("c", "causes", "a"))).unlinked == ("c",)
    assert told.memory.graph.edge("c", "a") is None
    many = tuple(f"n{number}" for number in range(64))
    told(*(link(claim_key("geo", "s4"), one) for one in many))
    reply = told(accepted("s4", causal_links=many, triple=triple("c", "causes", "a")))
    assert reply.unlinked == (*many, "c")
    registry = EventRegistry(MEMORY_EVENTS)
    event = told.events[-1]
    assert registry.reread(registry.type_of(event), registry.encode(event)) == event


def test_forgotten_claim_takes_its_word_with_it() -> None:
    """KNOW-8: edges that only a claim says are gone with it; what was seen stays."""
    told = Told(SMALL)
    told(accepted("rain makes roads wet", triple=triple("rain", "causes", "wet roads", functional=False)))
    told(accepted("salt melts ice", triple=triple("salt", "causes", "melting", functional=False)))
    told(link("salt", "melting", 0.5))
    for number in range(200):
        told(accepted(f"s{number}"))
    assert told.memory.graph.edge("rain", "wet roads") is None
    edge = told.memory.graph.edge("salt", "melting")
    assert edge is not None
    assert (edge.told, edge.count, edge.mean) == ((), 1, 0.5)


def test_accepted_again_with_another_triple() -> None:
    """KNOW-7: a claim that comes back says what it says now, its flag is gone, and its place is kept."""
    told = Told()
    told(accepted("s", triple=triple("a", "causes", "b")), accepted("t"))
    key = claim_key("geo", "s")
    told(FlagClaim(key=key, reason="rejected", at_ms=1))
    told(accepted("s", triple=triple("a", "causes", "c")))
    assert told.memory.holds(key)
    assert list(told.memory.claims) == [key, claim_key("geo", "t")]
    assert told.memory.graph.effects("a") == ["c"]
    assert set(told.memory.objects("geo", triple("a", "causes", "?"))) == {"c"}


def test_redacted_events_still_apply() -> None:
    """JRN-19b: `apply` gets events as persisted; names that a hook replaced make no cycle and no failure."""
    logic = MemoryLogic()
    seen = EdgeSeen(cause="[redacted]", effect="[redacted]", weight=1.0, at_ms=1)
    assert logic.apply(logic.initial, seen) == logic.initial
    decision = logic.decide(
        logic.initial, accepted("s", causal_links=("a", "b"), triple=triple("a", "causes", "b"))
    )
    (event,) = decision.events
    assert isinstance(event, ClaimRemembered)
    redacted = msgspec.structs.replace(
        event,
        causes=("[redacted]", "[redacted]"),
        claim=msgspec.structs.replace(event.claim, key="[redacted]", domain="[redacted]"),
    )
    memory = changed(logic.initial, redacted)
    assert list(memory.claims) == [event.key]
    assert again(memory) == memory


def test_shares_are_foreign() -> None:
    """MEM-3: a share has its origin, is stored once, and is no own record and no own edge."""
    told = Told()
    told(shared(1))
    assert told(shared(1)).known
    told(shared(1, origin="c" * 64))
    memory = told.memory
    assert memory.counts() == {"claim": 0, "experience": 0, "foreign": 2}
    assert len(memory.graph) == 0
    edge = memory.foreign_graph.edge("retry", "worked")
    assert edge is not None
    assert edge.count == 2
    told(shared(2, choice="worked", outcome="retry"))  # they contradict each other, and nobody else
    assert len(told.memory.foreign_graph) == 1
    assert told(link("worked", "retry")).refused is None
    assert told.memory.first_hand("worked") == []


def test_first_hand() -> None:
    """KNOW-4: what a vote may cite is own experience that led to the claim, not that others say so."""
    told = Told()
    key = claim_key("geo", "s")
    told(record(1), record(2), accepted("s", causal_links=("r2", "d1")), shared(3, outcome=key))
    assert told.memory.first_hand(key) == []
    told(link("r1", key), link("somebody", key))
    assert told.memory.first_hand(key) == ["r1"]


def test_limits_are_checked() -> None:
    """LIM-1: limits that hold less than one command brings are refused."""
    with pytest.raises(ValueError, match="at least"):
        MemoryLimits(records=10)
