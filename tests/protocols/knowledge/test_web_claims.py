"""Web claims in the ledger: sources, tiers, corroborators, the learning gate (LIP-1 to LIP-6)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.protocols.knowledge.book import DAY, Book, cited, fp, triple
from web4.foundation.clock import parse_timestamp
from web4.protocols.knowledge import commands, handlers
from web4.protocols.knowledge.errors import MissingProvenance
from web4.protocols.knowledge.form import decode_state, encode_state
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.ledger import events
from web4.protocols.knowledge.ledger.claims import Cited
from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
from web4.protocols.knowledge.sources.domains import registrable_domain, source_domain
from web4.protocols.lip.ledger_rechecks import LedgerRechecks
from web4.protocols.messages.cip import FetchEvidence, HumanEvidence
from web4.protocols.messages.fields import Provenance
from web4.protocols.messages.lip import LipAccept, LipEvidence, LipReject, WebClaim

SKY = "the sky is blue"


def trusting(**limits: Any) -> Book:
    book = Book(**limits)
    book.know("trusted", "b", "c", "d", "e")
    book.know("probing", "p", "q")
    return book


def provenance(uri: str = "https://news.example.com/a", **fields: Any) -> Provenance:
    given: dict[str, Any] = {
        "final_uri": uri,
        "retrieved_at": "2026-11-21T20:00:00.000Z",
        "status": 200,
        "content_type": "text/html",
        "body_blake3": "ab" * 32,
        "body_bytes": 10,
    } | fields
    return Provenance(uri=uri, **given)


@pytest.mark.parametrize("corroborators", [0, 1, 2])
@pytest.mark.parametrize("tier", ["unknown", "low", "medium", "high", "blocked"])
def test_lip_tier_rules(tier: str, corroborators: int) -> None:
    """LIP-3: a tier of medium or above, or two corroborators; blocked never."""
    book = trusting()
    book.tier("first.org", tier)
    book.found("p", SKY, "first.org")
    for who, page in (("b", "second.org"), ("c", "third.org"))[:corroborators]:
        book.found(who, SKY, page)
    expected = "accepted" if tier in {"medium", "high"} or corroborators == 2 else "pending"
    if tier == "blocked" and not corroborators:
        expected = "rejected(blocked)"
    assert book.status(SKY) == expected
    if tier == "blocked":
        # Whoever brings it from elsewhere brings another source: the blocked one counts nothing.
        assert book.state.ledger.source("first.org").tier == "blocked"
        assert book.claim(SKY).basis in {None, "confirmers"}


def test_blocked_is_never_accepted() -> None:
    """LIP-3, KNOW-6 (b): not with any number of confirmations that rest on the blocked source."""
    book = trusting()
    book.tier("bad.org", "blocked")
    book.found("p", SKY, "bad.org")
    for who in ("b", "c", "d", "e"):
        book.found(who, SKY, "bad.org")
        book.confirm(who, SKY, route="lip", evidence=cited(who, "bad.org"), sent=book.at + 1)
    assert book.status(SKY) == "rejected(blocked)"
    book.tier("bad.org", "medium")
    assert book.status(SKY) == "accepted"
    book.tier("bad.org", "blocked")
    assert book.status(SKY) == "disputed(source_blocked)"
    book.tier("bad.org", "unknown")
    assert book.status(SKY) == "accepted"


def test_lip_tier_rules_of_several_sources() -> None:
    """LIP-3: evidence is as good as its worst source, a claim as its best evidence; a blocked source corroborates
    nothing."""
    book = trusting()
    book.tier("good.org", "medium")
    book.found("p", SKY, "good.org", "new.org")
    assert book.status(SKY) == "pending"
    book.found("q", SKY, "good.org")
    assert book.status(SKY) == "accepted"

    book.tier("bad.org", "blocked")
    book.found("p", "grass is green", "first.org")
    book.found("b", "grass is green", "bad.org")
    book.found("c", "grass is green", "third.org")
    assert book.status("grass is green") == "pending"
    book.found("d", "grass is green", "fourth.org")
    assert book.status("grass is green") == "accepted"
    assert book.claim("grass is green").confirmers == (fp("c"), fp("d"))


def test_lip_missing_provenance() -> None:
    """LIP-1: evidence that says not where it is from is refused before anything enters."""
    limits, said = KnowledgeLimits(), {"at_ms": 0, "cause": "c", "peer": fp("b"), "msg_id": "m", "sent_ms": 0}
    claims = (WebClaim(statement=SKY, domain="physics"),)
    for evidence in ((), (provenance(""),), (provenance("ftp://a.org/b"),), (provenance(body_blake3=""),)):
        payload = LipEvidence(claims=claims, evidence=evidence, confidence=1, extraction_notes="")
        with pytest.raises(MissingProvenance):
            handlers.proposed_web_claims(payload, limits, **said)
    accept: dict[str, Any] = {"claim_keys": ("a" * 64,), "reason": "", "corroborators": (fp("x"),) * 9}
    with pytest.raises(MissingProvenance):
        handlers.web_votes(LipAccept(decision="accept", evidence=(), **accept), limits, **said)
    (vote,) = handlers.web_votes(LipReject(decision="reject", evidence=(), **accept), limits, **said)
    assert vote.kind == "reject"
    with pytest.raises(MissingProvenance):
        handlers.cited_evidence((FetchEvidence(ref="r", provenance=provenance("about:blank")),))
    assert handlers.cited_evidence((HumanEvidence(ref="ada"),)) == Cited(pieces=1)


def test_lip_hearsay() -> None:
    """LIP-3: a long list of corroborators counts nothing; only those who cite pages of their own do."""
    accept = LipAccept(
        claim_keys=(claim_key("physics", SKY),),
        decision="accept",
        reason="",
        evidence=(provenance(),),
        corroborators=tuple(fp(f"x{number}") for number in range(100)),
    )
    book = trusting()
    book.found("p", SKY, "first.org")
    said = {"at_ms": book.at, "cause": book.next_id(), "peer": fp("b"), "msg_id": "m", "sent_ms": book.at}
    for command in handlers.web_votes(accept, KnowledgeLimits(), **said):
        book.tell(command)
    assert book.status(SKY) == "pending"
    assert list(book.claim(SKY).votes) == [fp("p"), fp("b")]
    book.confirm("c", SKY, route="lip", evidence=Cited(pieces=3))  # no page, no body
    assert book.status(SKY) == "pending"
    book.confirm("d", SKY, route="lip", evidence=cited("d", "third.org"))
    assert book.status(SKY) == "accepted"
    assert book.told() == [("p", "knowledge_verified")]


def test_corroborators_are_independent_of_the_first_source() -> None:
    """LIP-3, KNOW-3: the first source's domain and body count nothing more, and each other source once."""
    for other in ({}, {"cited": cited("c", "mirror.org", body="pfirst.org")}):
        book = trusting()
        book.found("p", SKY, "first.org")
        book.found("c", SKY, "first.org", **other)
        book.found("d", SKY, "third.org")
        book.found("b", SKY, "third.org")
        assert book.status(SKY) == "pending"
        book.found("e", SKY, "fourth.org")
        assert book.status(SKY) == "accepted"


def test_a_conflict_stays_open_until_withdrawn() -> None:
    """LIP-3: no open conflict; a probing peer's conflict is a note."""
    book = trusting()
    book.tier("first.org", "medium")
    book.challenge("d", SKY, route="lip")
    book.challenge("q", SKY, route="lip", note_only=True)
    book.found("p", SKY, "first.org")
    assert book.status(SKY) == "disputed(challenged)"
    book.confirm("d", SKY, route="lip", evidence=cited("d", "third.org"), sent=book.at + 1)
    assert book.status(SKY) == "accepted"


@pytest.mark.parametrize("presence", ["focused", "engaged", "diffuse", "overloaded"])
@pytest.mark.parametrize("lri", [49, 50])
@pytest.mark.parametrize("kernel_overload", [False, True])
def test_lip_learning_gate(presence: str, lri: int, *, kernel_overload: bool) -> None:
    """LIP-4: lri below 50, presence focused or engaged, no kernel_overload; closed, claims stay pending."""
    book = trusting()
    book.tier("first.org", "high")
    book.load(presence, lri, kernel_overload=kernel_overload)
    book.found("p", SKY, "first.org")
    is_open = presence in {"focused", "engaged"} and lri == 49 and not kernel_overload
    assert book.status(SKY) == ("accepted" if is_open else "pending(load)")
    book.load("engaged", 10)
    assert book.status(SKY) == "accepted"


def test_the_gate_is_for_web_claims() -> None:
    """LIP-4, KNOW-5 (5): facts wait for overload only."""
    book = trusting()
    book.load("diffuse", 70)
    book.propose("p", SKY)
    book.confirm("b", SKY)
    book.confirm("c", SKY)
    assert book.status(SKY) == "accepted"


def test_lip_dedup_expiry_bound() -> None:
    """LIP-5, KNOW-10: one entry per claim, its TTL, and evictions that are events."""
    book = trusting(open_claims=3, open_per_peer=3)
    for who in ("p", "q", "b"):
        book.found(who, SKY, f"{who}.org")
    assert len(book.state.ledger.claims) == 1
    assert len(book.claim(SKY).proposals) == 3
    book.found("p", "two", "p.org")
    book.found("p", "three", "p.org")
    book.found("p", "four", "p.org")
    assert book.status(SKY) == "rejected(evicted)"
    evicted = [one for one in book.events if isinstance(one, events.ClaimChanged)]
    assert [(one.key, one.reason) for one in evicted] == [(claim_key("physics", SKY), "evicted")]
    book.wait(DAY)
    assert book.status("two") == book.status("four") == "rejected(expired)"
    book.found("p", "two", "p.org")
    assert book.status("two") == "pending"


def test_lip_deferred_until_trusted() -> None:
    """LIP-5: evidence of a probing peer waits, over a restart too, until tier or corroborators suffice."""
    book = trusting()
    book.know("untrusted", "u")
    assert book.found("u", SKY, "first.org") == "not_admitted"
    assert book.found("stranger", SKY, "first.org") == "not_admitted"
    assert not book.state.ledger.claims
    book.found("p", SKY, "first.org")
    book.found("q", "another", "second.org")
    book.found("b", "another", "third.org")
    book.state = decode_state(encode_state(book.state))  # what a restart has
    assert [book.status(one) for one in (SKY, "another")] == ["pending", "pending"]
    book.tier("first.org", "medium")
    assert book.status(SKY) == "accepted"
    book.found("p", "another", "fourth.org")
    assert book.status("another") == "pending"
    book.know("trusted", "p")
    assert book.status("another") == "accepted"


def test_lip_only_accepted_in_memory() -> None:
    """KNOW-8: after a mixed run causal memory holds what was accepted, and nothing else."""
    book = trusting()
    book.tier("good.org", "medium")
    book.tier("bad.org", "blocked")
    book.found("p", "accepted by tier", "good.org")
    book.found("p", "pending", "new.org")
    book.found("p", "blocked", "bad.org")
    book.found("p", "disputed", "new.org")
    book.challenge("b", "disputed", route="lip")
    book.found("p", "retracted", "good.org")
    book.challenge("b", "retracted", route="lip")
    book.propose("p", "a fact")
    book.confirm("b", "a fact")
    book.confirm("c", "a fact")
    memory = book.state.memory
    named = ("accepted by tier", "pending", "blocked", "disputed", "retracted", "a fact")
    held = [one for one in named if memory.holds(claim_key("physics", one))]
    assert held == ["accepted by tier", "a fact"]
    assert sorted(memory.claims) == sorted(
        claim_key("physics", one) for one in ("accepted by tier", "retracted", "a fact")
    )


def test_support_makes_a_source_medium() -> None:
    """LIP-2: a claim of it supported by two other independent sources; a probing peer's word raises nothing."""
    book = trusting()
    book.found("p", SKY, "first.org")
    book.found("b", SKY, "second.org")
    book.found("c", SKY, "third.org")
    assert book.state.ledger.source("second.org").tier == "unknown"
    book.found("d", SKY, "fourth.org")
    tiers = {
        one: book.state.ledger.source(f"{one}.org").tier for one in ("first", "second", "third", "fourth")
    }
    assert tiers == {"first": "unknown", "second": "medium", "third": "medium", "fourth": "medium"}
    moved = [one for one in book.events if isinstance(one, events.TierChanged)]
    assert {one.rule for one in moved} == {"supported"}


def test_a_track_record_makes_a_source_high_and_is_lost() -> None:
    """LIP-2: 20 accepted claims, 95 % of them still accepted."""
    book = trusting()
    book.tier("good.org", "medium")
    for number in range(20):
        book.found("d", f"s{number}", "good.org")
        assert book.state.ledger.source("good.org").tier == ("high" if number == 19 else "medium")
    book.challenge("b", "s0", route="lip")
    assert book.state.ledger.source("good.org").tier == "high"
    book.challenge("b", "s1", route="lip")
    assert book.state.ledger.source("good.org").tier == "medium"
    assert book.state.ledger.source("good.org").standing == 18
    book.confirm("b", "s1", sent=book.at + 1)
    assert book.state.ledger.source("good.org").tier == "high"


def test_a_contradicted_source_is_low() -> None:
    """LIP-2: by an accepted claim; by a claim that a probing peer only says to be of the source, nothing happens."""
    book = trusting()
    book.propose("p", "it is 1", of=triple("it is 1"))
    book.confirm("b", "it is 1")
    book.confirm("c", "it is 1")
    book.found("q", "it is 2", "framed.org", of=triple("it is 2"))
    assert book.state.ledger.source("framed.org").tier == "unknown"
    book.found("d", "it is 3", "wrong.org", of=triple("it is 3"))
    assert book.state.ledger.source("wrong.org").tier == "low"
    assert book.status("it is 3") == "disputed(contradicted)"


@pytest.mark.parametrize("how", ["human", "votes"])
def test_a_retraction_blocks_the_source(how: str) -> None:
    """LIP-2: an accepted claim of it rejected by a human or voted down; only a human ends that."""
    book = trusting()
    book.tier("good.org", "medium")
    book.found("d", SKY, "good.org")
    book.found("d", "else", "good.org")
    if how == "human":
        book.human(SKY, "reject")
    else:
        book.reject("b", SKY, route="lip")
        book.reject("c", SKY, route="lip")
    assert book.state.ledger.source("good.org").tier == "blocked"
    assert book.status("else") == "disputed(source_blocked)"
    book.tier("good.org", "unknown")
    assert book.status("else") == "accepted"
    changed = [one for one in book.events if isinstance(one, events.TierChanged)]
    assert [(one.tier, one.rule, one.human) for one in changed] == [
        ("medium", "human", "ada"),
        ("blocked", "retracted", None),
        ("unknown", "human", "ada"),
    ]


def test_only_a_human_ends_a_block() -> None:
    """LIP-2: neither a record that is good all the same, nor a contradiction, makes a blocked source another."""
    book = trusting()
    book.tier("good.org", "medium")
    for number in range(21):
        book.found("d", f"s{number}", "good.org")
        book.found("b", f"s{number}", "other.org")  # by which it stands when the first is blocked
    book.human("s0", "reject")
    source = book.state.ledger.source("good.org")
    assert (source.tier, source.accepted, source.standing) == ("blocked", 21, 20)
    book.challenge("c", "s1", route="lip")
    book.confirm("c", "s1", sent=book.at + 1)
    assert book.status("s1") == "accepted"
    assert book.state.ledger.source("good.org") == source

    book.propose("p", "it is 1", of=triple("it is 1"))
    book.confirm("b", "it is 1")
    book.confirm("c", "it is 1")
    book.found("d", "it is 2", "good.org", of=triple("it is 2"))
    book.found("e", "it is 2", "another.org", of=triple("it is 2"))
    assert book.status("it is 2") == "disputed(contradicted)"
    assert book.state.ledger.source("another.org").tier == "low"
    assert book.state.ledger.source("good.org").tier == "blocked"


def test_nobody_ruins_a_source_it_only_names() -> None:
    """LIP-2, ENV-2: what a probing peer says of a source neither builds its record nor blocks it."""
    book = trusting()
    book.tier("good.org", "medium")
    book.found("p", SKY, "good.org")
    assert book.status(SKY) == "accepted"
    assert book.state.ledger.source("good.org").accepted == 0
    book.human(SKY, "reject")
    assert book.state.ledger.source("good.org").tier == "medium"


def test_a_recheck_without_support_disputes() -> None:
    """LIP-6: this node's own doubt stands until its own page supports the claim again."""
    book = trusting()
    book.tier("good.org", "medium")
    book.found("p", SKY, "good.org")
    key = claim_key("physics", SKY)
    assert list(book.state.ledger.rechecks) == [key]
    for supported, status in ((False, "disputed(challenged)"), (True, "accepted")):
        book.at += 1
        cause = book.next_id()
        book.tell(commands.Recheck(at_ms=book.at, cause=cause, key=key, supported=supported))
        assert book.status(SKY) == status
    assert not list(book.state.ledger.rechecks)
    assert [one.supported for one in book.events if isinstance(one, events.WebClaimRechecked)] == [False]


async def test_pages_of_others_are_fetched_again() -> None:
    """LIP-6: where this node read no page itself, the newest page that somebody cites for the claim is fetched."""
    book = trusting()
    book.tier("example.com", "medium")
    pages = (provenance(), provenance("https://b.example.com/", retrieved_at="2026-11-21T21:00:00.000Z"))
    book.found("p", SKY, cited=handlers.cited_pages(pages))
    claim = book.claim(SKY)
    assert claim.status == "accepted"

    class Ledger:
        async def due_for_recheck(self, limit: int = 16) -> list[Any]:
            return [claim]

        async def rechecked(self, key: str, **_: Any) -> None:
            raise AssertionError

    async def none_of_our_own(_body: str) -> tuple[()]:
        return ()

    rechecks = LedgerRechecks(Ledger(), none_of_our_own)
    (due,) = await rechecks.due(parse_timestamp("2026-11-21T21:00:00.000Z"))
    assert (due.claim_key, due.uri, due.body_blake3) == (claim.key, "https://b.example.com/", "ab" * 32)
    assert await rechecks.due(parse_timestamp("2026-11-21T20:59:59.999Z")) == []


def test_registrable_domains() -> None:
    """LIP-2: by the Public Suffix List, its private part too; addresses and unknown suffixes stand for themselves."""
    for host, domain in {
        "a.b.example.co.uk": "example.co.uk",
        "WWW.Example.COM.": "example.com",
        "alice.github.io": "alice.github.io",
        "x.alice.github.io": "alice.github.io",
        "github.io": "github.io",
        "10.0.0.1": "10.0.0.1",
        "[2001:DB8::0:1]": "2001:db8::1",
        "b\u00fccher.example.de": "example.de",
        "a.host.internalnet": "a.host.internalnet",
        "localhost": "localhost",
    }.items():
        assert registrable_domain(host) == domain
    assert registrable_domain("a..b") is None
    assert source_domain("https://user@news.example.com:8443/x?y#z") == "example.com"
    for odd in ("ftp://example.com", "example.com", "http://", "http://[::", "urn:x"):
        assert source_domain(odd) is None
