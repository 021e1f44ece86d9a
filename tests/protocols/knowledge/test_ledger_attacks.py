"""What peers with bad intentions tell a ledger, and what must not come of it."""

from __future__ import annotations

import msgspec

from tests.protocols.knowledge.book import DAY, Book, fp, msg, triple
from web4.foundation.digest import canonical
from web4.protocols.knowledge import commands
from web4.protocols.knowledge.form import decode_state, encode_state, named_by_claims
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.sources.domains import source_domain

ICE = "ice is lighter than water"


def trusting(**limits: object) -> Book:
    """A ledger that trusts b to f, and knows p and q as probing."""
    book = Book(**limits)
    book.know("trusted", "b", "c", "d", "e", "f")
    book.know("probing", "p", "q")
    return book


def test_nobody_answers_for_the_triple_of_another() -> None:
    """TRUST-4: what p says of b's statements, as triples, makes no equivocation of b's decision."""
    book = trusting()
    book.propose("p", "one of b", of=triple("it is 1"), decision_id=msg("d1"))
    book.propose("p", "two of b", of=triple("it is 2"), decision_id=msg("d2"))
    book.propose("b", "one of b", decision_id=msg("d"))
    book.propose("b", "two of b", decision_id=msg("d"))
    book.propose("c", "one of b", of=triple("water is wet"), decision_id=msg("d"))
    book.propose("c", "two of b", of=triple("ice is cold"), decision_id=msg("d"))
    assert book.told() == []


def test_a_triple_said_second_is_held_against_its_peer() -> None:
    """TRUST-4: p, who is not first with a claim, is no less bound by what it says under one decision."""
    book = trusting()
    book.propose("b", "it is 1")
    book.propose("c", "it is 2")
    book.propose("p", "it is 1", of=triple("it is 1"), decision_id=msg("d"))
    book.propose("p", "it is 2", of=triple("it is 2"), decision_id=msg("d"))
    assert book.told() == [("p", "malicious_evidence")]


def test_a_dispute_by_the_triple_of_another_is_no_conflict() -> None:
    """TRUST-4: a claim that ends contradicted by p's triple is a conflict of p alone."""
    book = trusting()
    book.propose("p", "one of b", of=triple("it is 1"))
    book.propose("b", "one of b")
    book.propose("d", "it is 2", of=triple("it is 2"))
    book.confirm("e", "it is 2")
    book.confirm("f", "it is 2")
    assert book.status("one of b") == "disputed(contradicted)"
    book.wait(7 * DAY)
    assert book.status("one of b") == "rejected(unresolved)"
    assert ("b", "conflict") not in book.told()
    assert ("p", "conflict") in book.told()


def test_independence_by_a_chain_of_introducers() -> None:
    """KNOW-3: who is here by somebody that b brought is here by b: nobody leaves the group but by the operator."""
    book = trusting()
    book.know("trusted", "c", by="b")
    book.know("trusted", "d", by="c")
    book.know("trusted", "e", by="d")
    book.propose("p", ICE)
    for who in ("b", "d", "e"):
        book.confirm(who, ICE)
    assert book.status(ICE) == "pending"
    book.know("trusted", "c")  # the operator anchored the one in between: d and e are its group now
    assert book.status(ICE) == "accepted"


def test_introducers_in_a_circle() -> None:
    """KNOW-3: records that name each other end the walk, and are one group."""
    book = trusting()
    book.know("trusted", "b", by="d")
    book.know("trusted", "c", by="b")
    book.know("trusted", "d", by="c")
    book.propose("p", ICE)
    for who in ("b", "c", "d"):
        book.confirm(who, ICE)
    assert book.status(ICE) == "pending"
    book.confirm("e", ICE)
    assert book.status(ICE) == "accepted"


def test_demotion_takes_no_acceptance_back() -> None:
    """KNOW-7: that who proposed from a good source is demoted does not make a claim one of a blocked source."""
    book = trusting()
    book.found("b", ICE, "good.org")
    book.found("c", ICE, "bad.org")
    book.found("d", ICE, "third.org")
    assert book.status(ICE) == "accepted"
    book.tier("bad.org", "blocked")
    book.know("untrusted", "b")
    book.know("untrusted", "d")
    assert book.status(ICE) == "accepted"
    book.tier("good.org", "blocked")
    book.tier("third.org", "blocked")
    assert book.status(ICE) == "disputed(source_blocked)"


def test_old_names_of_a_claim_are_bounded() -> None:
    """KNOW-10: a peer that proposes again what fell out leaves nothing behind but the claims."""
    book = trusting(open_per_peer=2, rejected=2)
    for turn in range(40):
        book.propose("p", f"claim {turn % 8}", msg_id=msg(turn), complete=turn % 2 == 0)
        book.propose("p", f"claim {turn % 8}", msg_id=msg(f"{turn} more"))
    ledger = book.state.ledger
    assert set(ledger.index.names) == {
        name for claim in ledger.claims.values() for one in claim.proposals for name in one.names
    }


def test_an_id_of_anothers_claim_is_not_had_by_letting_ones_own_go() -> None:
    """KNOW-2: q, whose claim under p's id fell out, brings another under it: no vote for p's claim is drawn to that."""
    book = trusting(open_per_peer=1, rejected=1)
    book.propose("p", ICE, msg_id=msg("same"))
    book.propose("q", "a lie", msg_id=msg("same"))
    book.propose("q", "another")
    book.propose("q", "a third")
    assert claim_key("physics", "a lie") not in book.state.ledger.claims
    assert book.confirm("b", "", ref=msg("same")) == "voted"  # it is p's alone again
    assert set(book.claim(ICE).votes) == {fp("b")}
    book.propose("q", "a greater lie", msg_id=msg("same"))
    assert book.confirm("c", "", ref=msg("same")) == "parked"
    assert not book.claim("a greater lie").votes


def test_a_ledger_of_before_is_read() -> None:
    """JRN-7b: what a compacted lane kept of version 1 is brought up: ids are named by the claims that are here."""
    book = trusting()
    book.propose("p", ICE, msg_id=msg("one"))
    now = encode_state(book.state)
    before = msgspec.json.decode(now) | {"refs": {msg("one"): claim_key("physics", ICE), msg("two"): ""}}
    read = decode_state(canonical(named_by_claims(before)))
    assert read == book.state
    assert encode_state(read) == now
    found = read.ledger.find(msg("one"))
    assert found is not None
    assert found.key == claim_key("physics", ICE)


def test_votes_may_name_the_less_complete_proposal() -> None:
    """KNOW-2: a vote on what the proposer has completed meanwhile counts."""
    book = trusting()
    book.propose("p", ICE, msg_id=msg("less"), complete=False)
    book.propose("p", ICE, msg_id=msg("more"))
    book.confirm("b", ICE, ref=msg("less"))
    book.confirm("c", ICE, ref=msg("more"))
    assert book.status(ICE) == "accepted"


def test_a_recheck_counts_though_the_clock_went_back() -> None:
    """LIP-6: what this node says later counts, whatever its clock says (KNOW-2)."""
    book = trusting()
    book.tier("good.org", "medium")
    book.found("node", ICE, "good.org")
    assert book.status(ICE) == "accepted"
    book.at -= 5_000
    key = claim_key("physics", ICE)
    book.tell(commands.Recheck(at_ms=book.at, cause=msg("again"), key=key, supported=False))
    assert book.status(ICE) == "disputed(challenged)"
    assert book.claim(ICE).votes[fp("node")].kind == "challenge"


def test_all_that_a_claim_keeps_is_bounded() -> None:
    """KNOW-10: not its statement alone: what lower case makes longer than an event may be never gets there."""
    book = trusting()
    assert book.propose("p", ICE, domain="\u0130" * 90_000) == "claim_too_long"
    assert book.propose("p", ICE, links=("l" * 100_000,)) == "too_much_evidence"
    assert book.propose("p", "x" * 16_385) == "claim_too_long"
    assert book.propose("p", "x" * 16_384, domain="d" * 256, links=("l" * 256,)) == "proposed"
    for host in ("a." * 50_000 + "com", "a." * 50_000 + "nowhere", "a" * 256):
        assert source_domain(f"https://{host}/") is None
