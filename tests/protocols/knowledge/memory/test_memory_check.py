"""What memory says of a statement (MEM-4, KNOW-7, KNOW-8)."""

from __future__ import annotations

import random

import pytest

from tests.protocols.knowledge.memory.remembering import Told, accepted, again, shared, triple
from web4.protocols.knowledge.keys import claim_key, normal_text
from web4.protocols.knowledge.memory import (
    Contradict,
    FlagClaim,
    Record,
    UnflagClaim,
    check,
    dependants,
    experience,
    stored_triple,
)
from web4.protocols.messages.cip import Triple

OSLO = "Oslo is the capital of Norway"
CAPITAL = triple("Norway", "capital", "Oslo")


@pytest.mark.parametrize(
    ("statement", "domain", "asked", "verdict", "how"),
    [
        (OSLO, "geo", None, "supports", "same_key"),
        (f"  {OSLO.replace(' ', '  ')}\n", "GEO", None, "supports", "same_key"),
        (OSLO, "geography", None, "unknown", None),
        (OSLO.lower(), "geo", None, "unknown", None),
        ("another", "geo", None, "unknown", None),
        ("another", "geo", ("Norway", "capital", "Oslo", True), "unknown", None),
        ("another", "geo", ("Norway", "capital", "Bergen", True), "contradicts", "functional_triple"),
        ("another", "Geo", (" Norway ", "capital", "Bergen", False), "contradicts", "functional_triple"),
        ("another", "sport", ("Norway", "capital", "Bergen", True), "unknown", None),
        ("another", "geo", ("Sweden", "capital", "Bergen", True), "unknown", None),
        ("another", "geo", ("Norway", "largest_city", "Bergen", True), "unknown", None),
        (OSLO, "geo", ("Norway", "capital", "Bergen", True), "supports", "same_key"),
    ],
)
def test_check_matrix(
    statement: str, domain: str, asked: tuple[str, str, str, bool] | None, verdict: str, how: str | None
) -> None:
    """MEM-4: the same key supports; a functional triple with another object contradicts; all else is unknown."""
    told = Told()
    told(accepted(OSLO, triple=CAPITAL))
    said = None
    if asked is not None:
        said = Triple(subject=asked[0], predicate=asked[1], object=asked[2], functional=asked[3])
    for memory in (told.memory, again(told.memory)):
        found = check(memory, statement, domain, said)
        assert found.verdict == verdict
        assert [one.how for one in found.references] == ([] if how is None else [how])
        assert all(one.ref == claim_key("geo", OSLO) for one in found.references)


def test_check_functional_only_if_the_accepted_one_is() -> None:
    """MEM-4: a triple that allows several objects rules none out."""
    told = Told()
    told(accepted("Norway borders Sweden", triple=triple("Norway", "borders", "Sweden", functional=False)))
    assert check(told.memory, "x", "geo", triple("Norway", "borders", "Finland")).verdict == "unknown"


def test_check_contradicts_edge() -> None:
    """MEM-4: a recorded contradiction with an accepted claim, both ways, or with an own record."""
    told = Told()
    wet, dry = claim_key("weather", "wet"), claim_key("weather", "dry")
    told(accepted("wet", "weather"), Contradict(source=wet, target=dry, at_ms=1))
    assert check(told.memory, "dry", "weather").verdict == "contradicts"
    assert check(told.memory, "wet", "weather").verdict == "supports"
    told(accepted("dry", "weather"))  # by a human, say: the ledger would not
    assert check(told.memory, "wet", "weather").verdict == "contradicts"
    assert check(again(told.memory), "wet", "weather") == check(told.memory, "wet", "weather")

    told = Told()
    told(
        Record(experience=experience(record_id="r1", name="look outside", at_ms=1), at_ms=1),
        Contradict(source="r1", target=wet, at_ms=2),
        accepted("wet", "weather"),
    )
    found = check(told.memory, "wet", "weather")
    assert (found.verdict, found.references[0].ref) == ("contradicts", "r1")


def test_check_contradiction_outweighs_support() -> None:
    """MEM-4: what is accepted and contradicted is not supported; KNOW-6 d disputes it then."""
    told = Told()
    told(
        accepted("a", triple=triple("s", "p", "one")),
        accepted("b", triple=triple("s", "p", "two")),
    )
    assert check(told.memory, "a", "geo", triple("s", "p", "one")).verdict == "contradicts"
    told(FlagClaim(key=claim_key("geo", "b"), reason="disputed", at_ms=2))
    assert check(told.memory, "a", "geo", triple("s", "p", "one")).verdict == "supports"


def test_flagged_claim_counts_for_nothing() -> None:
    """KNOW-7: disputed, it says nothing; what follows from it shows that; lifted, all is as before."""
    told = Told()
    key = claim_key("geo", OSLO)
    told(
        accepted(OSLO, triple=CAPITAL),
        accepted("the parliament sits in Oslo", causal_links=(key,)),
        accepted(
            "trams pass the parliament", causal_links=(claim_key("geo", "the parliament sits in Oslo"),)
        ),
    )
    before = told.memory
    told(FlagClaim(key=key, reason="disputed", at_ms=5))
    assert check(told.memory, OSLO, "geo").verdict == "unknown"
    assert check(told.memory, "x", "geo", triple("Norway", "capital", "Bergen")).verdict == "unknown"
    follower = check(told.memory, "trams pass the parliament", "geo")
    assert (follower.verdict, follower.flagged) == ("supports", True)
    assert dependants(told.memory, key) == sorted(
        claim_key("geo", one) for one in ("the parliament sits in Oslo", "trams pass the parliament")
    )
    assert again(told.memory) == told.memory
    told(UnflagClaim(key=key, at_ms=6))
    assert told.memory == before
    assert not check(told.memory, "trams pass the parliament", "geo").flagged


def test_flags_and_contradictions_are_of_what_is_known() -> None:
    """MEM-4: a claim that is not in memory cannot be flagged, and nothing contradicts itself or out of nowhere."""
    told = Told()
    assert told(FlagClaim(key="nobody", reason="disputed", at_ms=1)).refused == "unknown_reference"
    assert told(Contradict(source="nobody", target="other", at_ms=1)).refused == "unknown_reference"
    told(accepted("a"))
    key = claim_key("geo", "a")
    assert told(Contradict(source=key, target=key, at_ms=1)).refused == "self_reference"
    assert told(Contradict(source=key, target="", at_ms=1)).refused == "too_large"
    assert told(Contradict(source=key, target="b", at_ms=1)).refused is None
    assert told(Contradict(source=key, target="b", at_ms=2)).known
    told(FlagClaim(key=key, reason="disputed", at_ms=3))
    assert told(FlagClaim(key=key, reason="disputed", at_ms=4)).known


def test_foreign_experience_supports_nothing() -> None:
    """MEM-3, KNOW-8: what others share is no accepted claim, and speaks neither for nor against a statement."""
    told = Told()
    told(shared(1, choice=OSLO, outcome="true"))
    assert check(told.memory, OSLO, "geo").verdict == "unknown"
    assert told(Contradict(source="m1", target="x", at_ms=2)).refused == "unknown_reference"


def test_check_agrees_with_a_plain_search() -> None:
    """MEM-4: over random memories, the indexed answer is that of looking at every claim."""
    for seed in range(20):
        chance = random.Random(seed)
        told = Told()
        claims: dict[str, tuple[tuple[str, str, str], bool]] = {}
        for number in range(60):
            spo = tuple(chance.choice("ab") for _ in range(3))
            functional = chance.random() < 0.7
            statement = f"s{chance.randrange(25)}"
            key = claim_key("d", statement)
            if chance.random() < 0.25 and claims:
                gone = chance.choice(sorted(claims))
                told(FlagClaim(key=gone, reason="disputed", at_ms=number))
                del claims[gone]
                continue
            told(accepted(statement, "d", triple=triple(*spo, functional=functional)))
            claims[key] = (spo, functional)  # type: ignore[assignment]
        for number in range(30):
            spo = tuple(chance.choice("ab") for _ in range(3))
            key = claim_key("d", f"s{number}")
            against = {
                one
                for one, (of, functional) in claims.items()
                if one != key and functional and of[:2] == spo[:2] and of[2] != spo[2]
            }
            expected = "contradicts" if against else "supports" if key in claims else "unknown"
            found = check(told.memory, f"s{number}", "d", triple(*spo))
            assert found.verdict == expected, f"seed {seed}"
            assert {one.ref for one in found.references} <= against | {key}, f"seed {seed}"


def test_check_tells_long_texts_apart() -> None:
    """MEM-4: texts that are longer than memory keeps are compared whole, by their hash."""
    told = Told()
    long = "x" * 300
    said = {"subject": long, "predicate": long + "p", "functional": True}
    told(accepted("s", long.upper(), triple=stored_triple(Triple(object=long + "a", **said))))  # type: ignore[arg-type]
    for domain, of, verdict in (
        (long, long + "a", "unknown"),
        (long, long + "b", "contradicts"),
        (long + "y", long + "b", "unknown"),
    ):
        asked = Triple(object=of, **said)  # type: ignore[arg-type]
        assert check(told.memory, "another", domain, asked).verdict == verdict


def test_normal_text() -> None:
    """KNOW-1: NFC, trimmed, white space runs as one space."""
    assert normal_text("  Cafe\N{COMBINING ACUTE ACCENT}\t\n\N{NO-BREAK SPACE} au  lait ") == "Café au lait"
    assert claim_key("A", "x  y") == claim_key("a", " x y")
    assert claim_key("a", "X") != claim_key("a", "x")
