"""Facts in the ledger, as KNOW-1 to KNOW-10 have it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.protocols.knowledge.book import DAY, HOUR, NODE, Book, cited, fp, msg, triple
from web4.protocols.decisions import DecisionRecord
from web4.protocols.knowledge.commands import Say
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.ledger import events
from web4.protocols.knowledge.ledger.claims import Cited
from web4.protocols.knowledge.ledger.events import Outgoing
from web4.protocols.knowledge.memory import checking
from web4.protocols.knowledge.memory.commands import Contradict

if TYPE_CHECKING:
    from web4.protocols.knowledge.ledger.claims import VoteKind

ICE = "ice is lighter than water"


def trusting(**limits: object) -> Book:
    """A ledger that trusts b, c, d, e, f, and knows p and q as probing."""
    book = Book(**limits)
    book.know("trusted", "b", "c", "d", "e", "f")
    book.know("probing", "p", "q")
    return book


def accepted(statement: str = ICE, **fields: object) -> Book:
    book = trusting()
    book.propose("p", statement, **fields)  # type: ignore[arg-type]
    book.confirm("b", statement)
    book.confirm("c", statement)
    assert book.status(statement) == "accepted"
    return book


def test_fact_accept_after_two() -> None:
    """KNOW-5, KNOW-6 (e): pending until the second independent confirmer."""
    book = trusting()
    assert book.propose("p", ICE) == "proposed"
    assert book.status(ICE) == "pending"
    book.confirm("b", ICE)
    assert book.status(ICE) == "pending"
    book.confirm("c", ICE)
    assert book.status(ICE) == "accepted"
    claim = book.claim(ICE)
    assert (claim.rule, claim.mode, claim.basis, claim.confirmers) == (
        "e",
        "strict",
        "confirmers",
        (fp("b"), fp("c")),
    )


def test_trust_two_confirmers() -> None:
    """KNOW-3: the same key twice, the proposer, this node, the untrusted and those without evidence do not count."""
    book = trusting()
    book.propose("d", ICE)
    for who in ("b", "b", "d", "p"):
        book.confirm(who, ICE)
    book.vote("", "confirm", ICE)
    book.confirm("c", ICE, evidence=Cited())
    assert book.status(ICE) == "pending"
    book.vote("node", "confirm", ICE)
    assert book.status(ICE) == "pending"
    book.confirm("c", ICE, sent=book.at + 1)
    assert book.status(ICE) == "accepted"


def test_trust_verified_promotes_proposer() -> None:
    """KNOW-9: the first proposer is told once; confirmers and later proposers get nothing."""
    book = trusting()
    book.propose("p", ICE)
    book.propose("q", ICE)
    book.confirm("b", ICE)
    book.confirm("c", ICE)
    assert book.told() == [("p", "knowledge_verified")]
    (effect,) = [one for one in book.events if isinstance(one, events.TrustEffectRequested)]
    assert effect.idempotent
    assert effect.cause == book.claim(ICE).votes[fp("c")].msg_id
    book.challenge("d", ICE)
    book.confirm("d", ICE, sent=book.at + 5)
    assert book.status(ICE) == "accepted"
    assert book.told() == [("p", "knowledge_verified")]


def test_trust_verified_once_for_a_claim() -> None:
    """KNOW-9: accepted again, by a human this time and with the confirmers it has, it verifies nobody a second time."""
    book = accepted()
    assert book.told() == [("p", "knowledge_verified")]
    book.challenge("d", ICE)
    book.human(ICE, "accept")
    assert (book.status(ICE), book.claim(ICE).basis) == ("accepted", "human")
    assert book.told() == [("p", "knowledge_verified")]


@pytest.mark.parametrize("late", [False, True])
def test_independence_by_introducer(*, late: bool) -> None:
    """KNOW-3: those here by the same introducer, and that introducer, are one; anchored, a peer leaves the group."""
    book = trusting()
    book.know("trusted", "c", "d", by="b")
    book.propose("p", ICE)
    for who in ("b", "c", "d"):
        book.confirm(who, ICE)
    assert book.status(ICE) == "pending"
    if late:
        book.know("trusted", "d")  # anchored: by no introducer any more
    else:
        book.confirm("e", ICE)
    assert book.status(ICE) == "accepted"


def test_independence_by_evidence() -> None:
    """KNOW-3: the same registrable domain, or the same body, is one; who agrees with two does not make them one."""
    book = trusting()
    book.propose("p", ICE)
    book.confirm("b", ICE, evidence=cited("b", "example.com"))
    book.confirm("c", ICE, evidence=cited("c", "example.com"))
    assert book.status(ICE) == "pending"
    book.confirm("c", ICE, evidence=cited("c", "other.org", body="bexample.com"), sent=book.at + 1)
    assert book.status(ICE) == "pending"
    book.confirm("e", ICE, evidence=cited("e", "example.com", "other.org"))
    assert book.status(ICE) == "pending"
    book.confirm("d", ICE, evidence=cited("d", "other.org"))
    assert book.status(ICE) == "accepted"


def test_fact_dispute_beats_confirms() -> None:
    """KNOW-6 (d): a trusted challenge outweighs any number of confirmations; one of a probing peer is a note."""
    book = trusting()
    book.propose("p", ICE)
    book.challenge("q", ICE, note_only=True)
    assert book.status(ICE) == "pending"
    book.challenge("f", ICE)
    for who in ("b", "c", "d", "e"):
        book.confirm(who, ICE)
    assert book.status(ICE) == "disputed(challenged)"
    book.confirm("f", ICE, sent=book.at + 1)
    assert book.status(ICE) == "accepted"


def test_fact_untrusted_source_rejected() -> None:
    """KNOW-6 (b): when no proposer is trusted or probing any more; another may propose it again."""
    book = trusting()
    book.propose("p", ICE)
    book.confirm("b", ICE)
    book.know("untrusted", "p")
    assert book.status(ICE) == "rejected(untrusted_source)"
    assert book.claim(ICE).rule == "b"
    book.confirm("c", ICE)
    assert book.status(ICE) == "rejected(untrusted_source)"
    assert book.propose("p", ICE) == "not_admitted"
    book.propose("q", ICE)
    assert book.status(ICE) == "accepted"
    assert book.told() == [("q", "knowledge_verified")]


def test_whose_claim_it_is_comes_before_its_votes() -> None:
    """KNOW-6 (b) before (c), (d): of a claim that nobody's weight stands behind, the votes are not looked at."""
    book = trusting()
    book.propose("p", ICE)
    book.know("untrusted", "p")
    assert book.status(ICE) == "rejected(untrusted_source)"
    book.reject("b", ICE)
    assert book.status(ICE) == "rejected(untrusted_source)"
    book.reject("c", ICE)
    assert book.status(ICE) == "rejected(untrusted_source)"
    assert ("p", "conflict") not in book.told()
    book.propose("q", "ice sinks")
    book.reject("b", "ice sinks")
    book.reject("c", "ice sinks")
    assert book.status("ice sinks") == "rejected(voted_down)"
    book.know("untrusted", "q")
    assert book.status("ice sinks") == "rejected(untrusted_source)"


def test_a_contradiction_that_came_later_is_charged_at_the_end() -> None:
    """KNOW-9, TRUST-4: a claim that was there first ends unresolved while memory still contradicts it."""
    book = trusting()
    book.propose("q", "water boils at 80", of=triple("water boils 80"))
    book.propose("p", "water boils at 100", of=triple("water boils 100"))
    book.confirm("b", "water boils at 100")
    book.confirm("c", "water boils at 100")
    assert book.status("water boils at 80") == "disputed(contradicted)"
    assert ("q", "conflict") not in book.told()
    book.wait(7 * DAY)
    assert book.status("water boils at 80") == "rejected(unresolved)"
    assert book.told().count(("q", "conflict")) == 1


def test_fact_overload_waits() -> None:
    """KNOW-6 (f): while this node is overloaded nothing is accepted, and nothing that waits for it is lost."""
    book = trusting()
    book.load("overloaded", 90)
    book.propose("p", ICE)
    book.confirm("b", ICE)
    assert book.status(ICE) == "pending"
    book.confirm("c", ICE)
    assert book.status(ICE) == "pending(load)"
    book.wait(30 * HOUR)
    assert book.status(ICE) == "pending(load)"
    book.load("engaged", 40)
    assert book.status(ICE) == "accepted"
    book.load("overloaded", 90)
    assert book.status(ICE) == "accepted"


def test_fact_shared_entry() -> None:
    """KNOW-1: two proposers of one statement, spelled in two ways, share one claim and its votes."""
    book = trusting()
    book.propose("p", "the caf\u00e9  is\topen", msg_id=msg("one"), domain="Physics")
    book.propose("q", " the cafe\u0301 is open ", msg_id=msg("two"))
    assert len(book.state.ledger.claims) == 1
    book.confirm("b", "", ref=msg("one"))
    book.confirm("c", "", ref=msg("two"))
    (claim,) = book.state.ledger.claims.values()
    assert claim.status == "accepted"
    assert [one.peer for one in claim.proposals] == [fp("p"), fp("q")]


def test_fact_retraction_flags() -> None:
    """KNOW-7: a late dispute flags what causal memory derived from the claim; nothing counts it any more."""
    book = accepted()
    key = claim_key("physics", ICE)
    book.propose("p", "ice swims", links=(key,))
    book.confirm("b", "ice swims")
    book.confirm("c", "ice swims")
    derived = claim_key("physics", "ice swims")
    memory = book.state.memory
    assert checking.dependants(memory, key) == [derived]
    assert not checking.follows_from_flagged(memory, derived)
    book.challenge("d", ICE)
    assert book.status(ICE) == "disputed(challenged)"
    memory = book.state.memory
    assert not memory.holds(key)
    assert checking.follows_from_flagged(memory, derived)
    assert book.status("ice swims") == "accepted"
    changes = [one for one in book.events if isinstance(one, events.ClaimChanged) and one.key == key]
    assert changes[-1].dependants == (derived,)


def test_fact_vote_withdrawn() -> None:
    """KNOW-7: when the challenger withdraws, the claim is accepted as before, and flags are lifted."""
    book = accepted()
    key = claim_key("physics", ICE)
    book.propose("p", "ice swims", links=(key,))
    book.confirm("b", "ice swims")
    book.confirm("c", "ice swims")
    book.challenge("d", ICE)
    book.challenge("e", ICE)
    book.confirm("d", ICE, sent=book.at + 1, evidence=Cited())
    assert book.status(ICE) == "disputed(challenged)"
    book.confirm("e", ICE, sent=book.at + 1, evidence=Cited())
    assert book.status(ICE) == "accepted"
    memory = book.state.memory
    assert memory.holds(key)
    assert not checking.follows_from_flagged(memory, claim_key("physics", "ice swims"))


@pytest.mark.parametrize("mode", ["strict", "relaxed"])
@pytest.mark.parametrize("how", ["triple", "edge"])
def test_fact_contradiction_blocks(mode: str, how: str) -> None:
    """KNOW-6 (d): five confirmers do not outweigh a causal contradiction, in either mode."""
    book = trusting(mode=mode)
    book.propose("p", "water boils at 100", of=triple("water boils 100"))
    book.confirm("b", "water boils at 100")
    book.confirm("c", "water boils at 100")
    first = claim_key("physics", "water boils at 100")
    other = "water boils at 80"
    if how == "edge":
        against = Contradict(at_ms=book.at, source=first, target=claim_key("physics", other))
        book.remember(against)
        book.propose("q", other)
    else:
        book.propose("q", other, of=triple("water boils 80"))
    for who in ("b", "c", "d", "e", "f"):
        book.confirm(who, other)
    assert book.status(other) == "disputed(contradicted)"
    assert book.status("water boils at 100") == "accepted"
    changed = [one for one in book.events if isinstance(one, events.ClaimChanged)][-1]
    assert changed.references == (first,)
    assert ("q", "conflict") in book.told()
    book.challenge("f", "water boils at 100")  # what contradicts it does not stand any more
    assert book.status(other) == "accepted"
    book.confirm("f", "water boils at 100", sent=book.at + 1)
    assert book.status("water boils at 100") == "disputed(contradicted)"


def supported(mode: str) -> tuple[Book, tuple[str, ...]]:
    """Two claims of others that are accepted, and their keys."""
    book = trusting(mode=mode)
    keys = []
    for statement in ("one", "two"):
        book.propose("p", statement)
        book.confirm("b", statement)
        book.confirm("c", statement)
        keys.append(claim_key("physics", statement))
    return book, tuple(keys)


def test_fact_relaxed_mode() -> None:
    """KNOW-5: two supporting accepted claims of others stand for the confirmers, of trusted proposers only."""
    for mode, state in (("strict", "pending"), ("relaxed", "accepted")):
        book, keys = supported(mode)
        book.propose("d", ICE, links=keys)
        assert book.status(ICE) == state
        book.propose("q", "of a probing peer", links=keys)
        book.propose("e", "with one support", links=(*keys[:1], keys[0]))
        book.know("trusted", "p")
        book.propose("p", "of the supports' own proposer", links=keys)
        book.propose("f", "without a trace", links=keys, complete=False)
        for statement in (
            "of a probing peer",
            "with one support",
            "of the supports' own proposer",
            "without a trace",
        ):
            assert book.status(statement) == "pending"
    assert book.claim(ICE).mode == "relaxed"
    assert book.claim(ICE).basis == "support"
    assert ("d", "knowledge_verified") not in book.told()
    book.know("trusted", "q")  # everything else differs from strict in nothing
    assert book.status("of a probing peer") == "accepted"


def test_support_stands_for_the_confirmers_of_its_own_proposal() -> None:
    """KNOW-5: in relaxed mode, too, what is accepted has its trace; that of another proposal does not complete it."""
    book, keys = supported("relaxed")
    book.propose("q", ICE)
    book.propose("f", ICE, links=keys, complete=False)
    assert book.status(ICE) == "pending"
    book.propose("d", ICE, links=keys)
    assert book.status(ICE) == "accepted"


def test_only_a_proposal_brings_back_what_was_never_resolved() -> None:
    """KNOW-7: no vote does, not even the withdrawal of the challenge; what was voted meanwhile counts then."""
    book = trusting()
    book.propose("p", ICE)
    book.challenge("d", ICE)
    book.wait(7 * DAY)
    for who in ("d", "b", "c"):
        book.confirm(who, ICE, sent=book.at + 1)
        assert book.status(ICE) == "rejected(unresolved)"
    book.propose("q", ICE)
    assert book.status(ICE) == "accepted"


def test_support_that_comes_later() -> None:
    """KNOW-7: in relaxed mode a claim is looked at again when what it follows from is accepted."""
    book = trusting(mode="relaxed")
    keys = tuple(claim_key("physics", one) for one in ("one", "two"))
    book.propose("d", ICE, links=keys)
    for statement in ("one", "two"):
        assert book.status(ICE) == "pending"
        book.propose("p", statement)
        book.confirm("b", statement)
        book.confirm("c", statement)
    assert book.status(ICE) == "accepted"


def test_voted_down() -> None:
    """KNOW-6 (c), TRUST-4: two independent rejections without a confirmation; the proposer is charged a conflict."""
    book = trusting()
    book.propose("p", ICE)
    book.reject("b", ICE)
    assert book.status(ICE) == "disputed(rejections)"
    book.reject("c", ICE)
    assert book.status(ICE) == "rejected(voted_down)"
    assert book.told() == [("p", "conflict")]
    assert book.propose("q", ICE) == "proposed"
    assert book.status(ICE) == "rejected(voted_down)"
    book.confirm("d", ICE)
    assert book.status(ICE) == "disputed(rejections)"


def test_a_retracted_acceptance_is_rejected_by_votes() -> None:
    """KNOW-7: to an accepted claim (c) applies when its confirmers change their minds."""
    book = accepted()
    book.reject("b", ICE, sent=book.at + 1)
    assert book.status(ICE) == "disputed(rejections)"
    book.reject("c", ICE, sent=book.at + 1)
    assert book.status(ICE) == "rejected(voted_down)"
    book.confirm("b", ICE, sent=book.at + 2)
    book.confirm("c", ICE, sent=book.at + 2)
    assert book.status(ICE) == "accepted"


def test_load_and_demotion_never_take_back() -> None:
    """KNOW-7: nor does the demotion of proposer or confirmers; blacklisting a confirmer does if too few remain."""
    book = accepted()
    book.load("overloaded", 99)
    book.know("untrusted", "p", "b", "c")
    assert book.status(ICE) == "accepted"
    book.know("blacklisted", "b")
    assert book.status(ICE) == "disputed(confirmer_blacklisted)"
    book.confirm("d", ICE)
    assert book.status(ICE) == "accepted"


def test_three_confirmers_survive_one_blacklisted() -> None:
    """KNOW-7: two that remain are enough."""
    book = accepted()
    book.confirm("d", ICE)
    book.know("blacklisted", "b")
    assert book.status(ICE) == "accepted"


def test_human_decides() -> None:
    """KNOW-6 (a): whatever else holds; each human act is recorded with its name (MEM-1)."""
    book = trusting()
    book.propose("p", ICE)
    for who in ("b", "c"):
        book.reject(who, ICE)
    book.human(ICE, "accept", "I weighed it")
    assert book.status(ICE) == "accepted"
    assert book.claim(ICE).basis == "human"
    record = [one for one in book.events if isinstance(one, DecisionRecord)][-1]
    assert (record.kind, record.choice, record.actor, record.reasons) == (
        "human",
        "accepted",
        "ada",
        ("a", "I weighed it"),
    )
    assert record.about == claim_key("physics", ICE)
    book.human(ICE, "accept", "once more")
    assert [one for one in book.events if isinstance(one, DecisionRecord)][-1].reasons == ("a", "once more")
    book.human(ICE, "reject")
    assert book.status(ICE) == "rejected(human)"
    assert ("p", "knowledge_verified") not in book.told()


def test_expired_and_proposed_again() -> None:
    """KNOW-6 (g), KNOW-7: after the TTL; the same message does not bring it back, another does, votes and all."""
    book = trusting()
    book.propose("p", ICE, msg_id=msg("first"))
    book.confirm("b", ICE)
    book.wait(DAY - 1)
    assert book.status(ICE) == "pending"
    book.wait(1)
    assert book.status(ICE) == "rejected(expired)"
    assert book.propose("p", ICE, msg_id=msg("first")) == "known"
    book.confirm("c", ICE)
    assert book.status(ICE) == "rejected(expired)"
    book.propose("p", ICE, msg_id=msg("again"))
    assert book.status(ICE) == "accepted"


def test_a_dispute_ends_unresolved() -> None:
    """KNOW-7: after 7 days, if it was never accepted; one that was stays disputed."""
    book = accepted("was accepted")
    book.propose("p", ICE)
    book.challenge("d", ICE)
    book.challenge("d", "was accepted")
    book.wait(7 * DAY)
    assert book.status(ICE) == "rejected(unresolved)"
    assert book.status("was accepted") == "disputed(challenged)"
    assert ("p", "conflict") not in book.told()
    book.propose("q", ICE)
    assert book.status(ICE) == "disputed(challenged)"


def test_parked_votes() -> None:
    """KNOW-2: by key and by msg_id; counted when the claim comes, gone after a day."""
    book = trusting()
    assert book.confirm("b", ICE) == "parked"
    assert book.confirm("c", "", ref=msg("late")) == "parked"
    assert book.confirm("c", "", ref=msg("late"), sent=book.at - 1) == "known"
    book.propose("p", ICE, msg_id=msg("late"))
    assert book.status(ICE) == "accepted"
    assert not book.state.ledger.parked
    assert len(book.state.ledger.waiting) == 0
    book.confirm("b", "never proposed")
    book.wait(DAY)
    assert not book.state.ledger.parked
    assert book.events[-1].reason == "expired"


def test_parked_votes_are_bounded() -> None:
    """KNOW-2: when there is no room, whoever parked most loses its oldest, as an event."""
    book = trusting(parked=4)
    for number in range(3):
        book.confirm("b", "", ref=fp(f"b{number}"))
    book.confirm("c", "", ref=fp("c"))
    book.confirm("d", "", ref=fp("d"))
    assert sorted(book.state.ledger.parked) == sorted([fp("b1"), fp("b2"), fp("c"), fp("d")])
    assert [one.ref for one in book.events if isinstance(one, events.VoteUnparked)] == [fp("b0")]


def test_many_parked_votes_are_counted_in_turns() -> None:
    """KNOW-2: more votes than one decision takes are counted by the next ones."""
    book = trusting()
    names = [f"v{number}" for number in range(300)]
    book.know("probing", *names)
    for name in names:
        book.confirm(name, ICE)
    book.propose("p", ICE)
    assert len(book.claim(ICE).votes) < 300
    book.settled()
    assert len(book.claim(ICE).votes) == 300
    assert not book.state.ledger.parked


def test_a_message_id_of_two_claims_refers_to_none() -> None:
    """KNOW-2: nobody draws another's votes to a claim of its own by using its msg_id."""
    book = trusting()
    book.propose("q", "a lie", msg_id=msg("same"))
    book.propose("p", ICE, msg_id=msg("same"))
    assert book.confirm("b", "", ref=msg("same")) == "parked"
    assert book.confirm("b", ICE) == "voted"
    assert not book.claim("a lie").votes


def test_the_greatest_vote_stands() -> None:
    """KNOW-2: by (timestamp, msg_id), in whatever order they come."""
    votes: list[tuple[VoteKind, int, str]] = [
        ("confirm", 5, msg("a")),
        ("reject", 5, msg("b")),
        ("confirm", 4, msg("z")),
        ("challenge", 3, msg("y")),
    ]
    for order in itertools.permutations(votes):
        book = trusting()
        book.propose("p", ICE)
        for kind, sent, msg_id in order:
            book.vote("b", kind, ICE, sent=sent, msg_id=msg_id)
        assert book.claim(ICE).votes[fp("b")].msg_id == msg("b")


def test_probing_votes_count_once_they_are_trusted() -> None:
    """TRUST-6, KNOW-7: kept with weight 0 until trusted; a change of trust looks at the claims it concerns."""
    book = trusting()
    book.propose("d", ICE)
    book.confirm("p", ICE)
    book.confirm("q", ICE)
    assert book.status(ICE) == "pending"
    book.know("trusted", "p")
    assert book.status(ICE) == "pending"
    book.know("trusted", "q")
    assert book.status(ICE) == "accepted"


def test_open_claims_are_bounded() -> None:
    """KNOW-10: the peer with most loses its oldest pending; the eviction is an event, and it may come again."""
    book = trusting(open_claims=5, open_per_peer=3)
    for number in range(4):
        book.propose("p", f"p{number}")
    assert book.status("p0") == "rejected(evicted)"
    for number in range(2):
        book.propose("q", f"q{number}")
    assert book.state.ledger.open_claims == 5
    book.propose("b", "b0")
    assert book.status("p1") == "rejected(evicted)"
    assert book.state.ledger.open_claims == 5
    assert len([one for one in book.events if getattr(one, "rule", "") == "evicted"]) == 2
    book.propose("p", "p0")
    assert book.status("p0") == "pending"
    assert book.status("p2") == "rejected(evicted)"
    assert book.told() == []


def test_disputes_are_not_evicted() -> None:
    """KNOW-10: only pending ones are; when there is none, the newcomer is refused."""
    book = trusting(open_claims=2, open_per_peer=2)
    for number in range(2):
        book.propose("p", f"p{number}")
        book.challenge("b", f"p{number}")
    assert book.propose("q", ICE) == "ledger_full"
    assert book.propose("p", ICE) == "ledger_full"
    assert claim_key("physics", ICE) not in book.state.ledger.claims


def test_a_full_claim_has_room_for_weight() -> None:
    """A flood of votes without weight keeps nobody who is trusted from voting."""
    book = trusting(votes_per_claim=3)
    names = ["v0", "v1", "v2", "v3"]
    book.know("probing", *names)
    book.propose("p", ICE)
    assert [book.confirm(name, ICE) for name in names] == ["voted", "voted", "voted", "claim_full"]
    assert [book.confirm(name, ICE) for name in ("b", "c", "d")] == ["voted"] * 3
    assert book.status(ICE) == "accepted"
    assert book.confirm("e", ICE) == "claim_full"


def test_decided_claims_are_bounded() -> None:
    """What was decided falls out when there is too much of it, oldest first, as an event."""
    book = trusting(accepted=2, rejected=1)
    for number in range(3):
        book.propose("p", f"a{number}")
        book.confirm("b", f"a{number}")
        book.confirm("c", f"a{number}")
    for number in range(2):
        book.propose("p", f"r{number}")
        book.human(f"r{number}", "reject")
    left = {one.statement for one in book.state.ledger.claims.values()}
    assert left == {"a1", "a2", "r1"}
    forgotten = [one.key for one in book.events if isinstance(one, events.ClaimForgotten)]
    assert forgotten == [claim_key("physics", "a0"), claim_key("physics", "r0")]


def test_unverifiable_is_charged_once_per_challenger() -> None:
    """TRUST-4: by a trusted peer, for cannot_verify and insufficient_evidence; a vote is never a conflict."""
    book = trusting()
    book.propose("p", ICE)
    book.challenge("q", ICE, reason="cannot_verify", note_only=True)
    book.challenge("b", ICE, reason="conflict")
    assert book.told() == []
    book.challenge("b", ICE, reason="cannot_verify", sent=book.at + 1)
    book.challenge("b", ICE, reason="cannot_verify", sent=book.at + 2)
    book.challenge("c", ICE, reason="insufficient_evidence")
    assert book.told() == [("p", "unverifiable"), ("p", "unverifiable")]
    causes = {one.cause for one in book.events if isinstance(one, events.TrustEffectRequested)}
    assert len(causes) == 2


def test_conflict_carries_what_grades_it() -> None:
    """TRUST-4: the confidence of the statement, and the independent confirmers of what it contradicts."""
    book = accepted("water boils at 100", of=triple("water boils 100"))
    book.propose("q", "water boils at 80", of=triple("water boils 80"), confidence=0.95)
    (conflict,) = [
        one.command
        for one in book.events
        if isinstance(one, events.TrustEffectRequested) and one.command.event == "conflict"
    ]
    assert (conflict.confidence, conflict.confirmers) == (0.95, 2)
    assert conflict.claim_key == claim_key("physics", "water boils at 100")
    assert conflict.evidence[0].msg_id == book.claim("water boils at 80").proposals[0].msg_id


def test_two_contradicting_facts_under_one_decision() -> None:
    """TRUST-4: equivocation of the proposer, with both envelopes; other peers' decisions are their own."""
    book = trusting()
    book.propose("p", "it is 1", of=triple("it is 1"), decision_id=msg("d"))
    book.propose("q", "it is 2", of=triple("it is 2"), decision_id=msg("d"))
    assert book.told() == []
    book.propose("p", "it is 2", of=triple("it is 2"), decision_id=msg("d"))
    assert book.told() == [("p", "malicious_evidence")]
    effect = book.events[-1] if isinstance(book.events[-1], events.TrustEffectRequested) else None
    effect = effect or next(one for one in book.events if isinstance(one, events.TrustEffectRequested))
    assert len(effect.command.evidence) == 2  # type: ignore[union-attr]


def test_local_alignment() -> None:
    """TRUST-5: two claims that equal what was accepted here before and that this node never sent to that peer."""
    book = trusting()
    for statement in ("one", "two", "three", "four"):
        book.propose("d", statement)
        if statement != "four":
            book.confirm("b", statement)
            book.confirm("c", statement)
    key = claim_key("physics", "one")
    to = (Outgoing(peer=fp("p"), msg_id=msg("s")),)
    book.tell(Say(at_ms=book.at, cause=msg("s"), keys=(key,), type="FACT_CONFIRM", payload={}, to=to))
    told = len(book.told())
    for statement in ("one", "four", "two", "two"):
        book.propose("p", statement)
    for statement in ("two", "three"):  # of one that is trusted it says nothing new
        book.propose("e", statement)
    assert len(book.told()) == told
    book.propose("p", "three")
    assert book.told()[told:] == [("p", "local_alignment")]
    (effect,) = [
        one for one in book.events if isinstance(one, events.TrustEffectRequested) and one.peer == fp("p")
    ]
    assert effect.command.claim_keys == tuple(  # type: ignore[union-attr]
        claim_key("physics", one) for one in ("two", "three")
    )


def test_own_claims_need_others() -> None:
    """KNOW-3, KNOW-5: this node's own claim is accepted on others' votes, and it is told nothing about itself."""
    book = trusting()
    book.propose("node", ICE)
    assert book.claim(ICE).proposals[0].peer == NODE
    book.confirm("b", ICE)
    assert book.status(ICE) == "pending"
    book.confirm("c", ICE)
    assert book.status(ICE) == "accepted"
    assert book.told() == []


def test_every_change_has_a_decision() -> None:
    """MEM-1, KNOW-9: one record for each change, under the id that the change names."""
    book = accepted()
    book.challenge("d", ICE)
    changes = [one for one in book.events if isinstance(one, events.ClaimChanged)]
    records = {one.decision_id: one for one in book.events if isinstance(one, DecisionRecord)}
    assert len(changes) == len(records) == 2
    for change in changes:
        record = records[change.decision_id]
        assert (record.about, record.choice) == (change.key, change.status)
        assert record.reasons[0] == change.rule
        assert record.alternatives
        assert record.evidence


def test_trust_of_many_claims_is_looked_at_in_turns() -> None:
    """KNOW-7: a change that concerns more claims than one decision takes is carried on by the next."""
    book = trusting(open_per_peer=1_000)
    for number in range(400):
        book.propose("d", f"s{number}")
        book.confirm("b", f"s{number}")
        book.confirm("p", f"s{number}")
    most = len(book.events)
    book.know("trusted", "p")
    assert len(book.events) - most < 512
    assert len(book.state.ledger.dirty) > 0
    book.settled()
    assert all(book.status(f"s{number}") == "accepted" for number in range(400))
