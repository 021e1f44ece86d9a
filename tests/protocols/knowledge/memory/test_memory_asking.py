"""Questions to causal memory (MEM-2, MEM-3)."""

from __future__ import annotations

import random

import pytest

from tests.protocols.knowledge.memory.remembering import DAY_MS, Told, accepted, link, shared, triple
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.memory import Asking, FlagClaim, MemoryRefused, Record, experience
from web4.protocols.knowledge.memory.asking import faded
from web4.testing.clocks import START_MS


def asking(told: Told, days: int = 0, *, foreign: bool = True) -> Asking:
    return Asking(told.memory, START_MS + days * DAY_MS, foreign)


def test_causal_explain_path() -> None:
    """MEM-2: a path is explained: of each step what was seen, which claims say it, what others shared."""
    told = Told()
    told(
        link("deploy on friday", "long night", 1.0),
        link("deploy on friday", "long night", 0.5),
        accepted("long nights cause mistakes", "work", triple=triple("long night", "causes", "mistake")),
        link("mistake", "outage", 0.5),
        shared(1, choice="mistake", outcome="outage"),
        shared(2, choice="outage", outcome="postmortem"),
    )
    path = ["deploy on friday", "long night", "mistake", "outage", "postmortem"]
    way = asking(told).explain(path)
    first, second, third, fourth = way.steps
    assert (first.count, first.weight, first.claims, first.foreign) == (2, 0.75, (), 0)
    assert (second.count, second.weight) == (0, 1.0)
    assert second.claims == (claim_key("work", "long nights cause mistakes"),)
    assert (third.count, third.foreign) == (1, 1)
    assert third.weight == pytest.approx((0.5 + 0.5 * 1.0) / 1.5)
    assert (fourth.count, fourth.foreign, fourth.weight, fourth.strength) == (0, 1, 1.0, 0.5)
    assert way.strength == pytest.approx(0.75 * 1.0 * third.weight * 0.5)
    assert asking(told).way("deploy on friday", "postmortem") == way
    assert asking(told).upstream("postmortem") == tuple(reversed(path[:-1]))
    assert asking(told).downstream("deploy on friday") == tuple(path[1:])
    assert asking(told, foreign=False).downstream("deploy on friday") == tuple(path[1:4])
    with pytest.raises(MemoryRefused, match="unknown_reference"):
        asking(told).explain(["long night", "outage"])
    with pytest.raises(MemoryRefused, match="unknown_reference"):
        asking(told).explain(["long night"])


def test_foreign_experience_weight() -> None:
    """MEM-3: shared decisions weigh half of own experience, and half again when nothing else says so."""
    told = Told()
    told(link("retry", "worked", 0.0), shared(1))
    step = asking(told).step("retry", "worked")
    assert step is not None
    assert step.weight == pytest.approx(0.5 / 1.5)
    own = asking(told, foreign=False).step("retry", "worked")
    assert own is not None
    assert (own.weight, own.foreign) == (0.0, 0)
    told(shared(2))
    step = asking(told).step("retry", "worked")
    assert step is not None
    assert step.weight == pytest.approx(0.5)  # two of theirs are one of ours

    only = Told()
    only(shared(1))
    (way,) = asking(only).forecast("retry")
    assert way.strength == 0.5
    assert asking(only, foreign=False).forecast("retry") == ()


def test_records_are_found() -> None:
    """MEM-2: own experience by name and tag, the newest first."""
    told = Told()
    for number in range(6):
        own = experience(
            record_id=f"r{number}", name="ab"[number % 2], tags=("odd",) if number % 2 else (), at_ms=number
        )
        told(Record(experience=own, at_ms=number))
    found = asking(told).records
    assert [one.record_id for one in found()] == ["r5", "r4", "r3", "r2", "r1", "r0"]
    assert [one.record_id for one in found(name="b", most=2)] == ["r5", "r3"]
    assert [one.record_id for one in found(tag="odd")] == ["r5", "r3", "r1"]
    assert found(name="a", tag="odd") == ()


def test_memory_fades() -> None:
    """MEM-2: half after 90 days, worked out when it is read: the memory itself does not change."""
    told = Told()
    told(link("a", "b", 0.8))
    before = told.memory
    for days, left in ((0, 0.8), (90, 0.4), (180, 0.2), (-1, 0.8)):
        step = asking(told, days).step("a", "b")
        assert step is not None
        assert step.strength == pytest.approx(left)
        assert step.weight == 0.8
    told(link("a", "b", 0.8, START_MS + 90 * DAY_MS))
    step = asking(told, 90).step("a", "b")
    assert step is not None
    assert step.strength == pytest.approx(0.8)
    assert before != told.memory
    assert faded(45 * DAY_MS) == pytest.approx(0.5**0.5)


def test_forecast_is_by_the_strongest_way() -> None:
    """MEM-2: each effect once, by the product of its strongest way, the strongest first."""
    told = Told()
    told(
        link("a", "b", 0.9),
        link("a", "c", 0.5),
        link("b", "c", 0.9),
        link("c", "d", 0.1),
        link("a", "e", 0.0),
    )
    ways = asking(told).forecast("a")
    assert [(way.effect, round(way.strength, 4)) for way in ways] == [("b", 0.9), ("c", 0.81), ("d", 0.081)]
    assert [step.effect for step in ways[1].steps] == ["b", "c"]
    assert asking(told).forecast("a", most=1) == ways[:1]
    assert asking(told).forecast("nobody") == ()


def test_flagged_claims_say_nothing() -> None:
    """KNOW-7: an edge that only a flagged claim says is none; what follows from one is marked."""
    told = Told()
    base = claim_key("geo", "base")
    told(
        accepted("base"),
        accepted("rain wets roads", triple=triple("rain", "causes", "wet roads"), causal_links=(base,)),
    )
    step = asking(told).step("rain", "wet roads")
    assert step is not None
    assert not step.flagged
    told(FlagClaim(key=base, reason="disputed", at_ms=1))
    step = asking(told).step("rain", "wet roads")
    assert step is not None
    assert step.flagged
    (way,) = asking(told).forecast("rain")
    assert way.flagged
    told(FlagClaim(key=claim_key("geo", "rain wets roads"), reason="rejected", at_ms=2))
    assert asking(told).step("rain", "wet roads") is None
    assert asking(told).forecast("rain") == ()
    told(link("rain", "wet roads", 0.5))
    step = asking(told).step("rain", "wet roads")
    assert step is not None
    assert (step.weight, step.claims) == (0.5, ())


def test_questions_agree_with_a_plain_search() -> None:
    """MEM-2: over random graphs, reach and strengths are those of trying every path."""
    for seed in range(15):
        chance = random.Random(seed)
        told = Told()
        for _ in range(14):
            told(link(chance.choice("abcdefg"), chance.choice("abcdefg"), chance.choice([0.2, 0.5, 0.9])))
        edges = {pair: told.memory.graph.edges.get(pair) for pair in told.memory.graph.edges}

        def best(node: str, strength: float = 1.0, edges: dict = edges) -> dict[str, float]:  # type: ignore[type-arg]
            found: dict[str, float] = {}
            for (cause, effect), edge in edges.items():
                if cause == node:
                    here = strength * edge.mean
                    for other, value in {effect: here, **best(effect, here)}.items():
                        found[other] = max(found.get(other, 0.0), value)
            return found

        for node in "abcdefg":
            expected = best(node)
            assert set(asking(told).downstream(node)) == set(expected), f"seed {seed}"
            ways = asking(told).forecast(node)
            assert {way.effect: pytest.approx(way.strength) for way in ways} == expected, f"seed {seed}"
            strengths = [way.strength for way in ways]
            assert strengths == sorted(strengths, reverse=True)
            for effect in expected:
                assert node in asking(told).upstream(effect)
