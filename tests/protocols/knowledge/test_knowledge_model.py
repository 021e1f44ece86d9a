"""The ledger against a plain model of its rules; order, purity and replay (KNOW-1 to KNOW-10, WEB-2, MESH-12)."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import hypothesis.strategies as st
from hypothesis import note, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.protocols.knowledge.book import NODE, Book, cited, fp, msg, triple
from tests.protocols.knowledge.plain_model import PlainLedger
from web4.foundation.logic import replay
from web4.protocols.knowledge.form import decode_state, encode_state
from web4.protocols.knowledge.keys import claim_key
from web4.testing.lane_logic import check_lane_logic

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "25"))
SEED = int(os.environ.get("WEB4_SEED", "7"))
PEERS = ("b", "c", "d", "e", "p", "q")
VALUES = ("1", "2", "3")
PLAIN = ("ice", "sky", "salt")
STATEMENTS = (*[f"it is {value}" for value in VALUES], *PLAIN)
STATES = ("untrusted", "probing", "trusted", "blacklisted")

peers = st.sampled_from(PEERS)
statements = st.sampled_from(STATEMENTS)


def triple_of(statement: str) -> Any:
    return triple(statement) if statement.startswith("it is ") else None


class Both(RuleBasedStateMachine):
    """Tells the ledger and the model the same, and looks at both."""

    @initialize(mode=st.sampled_from(("strict", "relaxed")))
    def begin(self, mode: str) -> None:
        self.book = Book(mode=mode)
        self.model = PlainLedger(NODE, mode=mode)
        self.model.now = self.book.at
        self.number = self.told = 0
        for peer in PEERS:
            self.see(peer, "trusted" if peer in "bcde" else "probing", None)

    @rule(
        peer=st.one_of(peers, st.just("node")),
        statement=statements,
        complete=st.sampled_from((True, True, True, False)),
        links=st.lists(statements, max_size=3),
    )
    def propose(self, peer: str, statement: str, complete: bool, links: list[str]) -> None:
        msg_id = self._next()
        self.book.propose(
            peer,
            statement,
            of=triple_of(statement),
            msg_id=msg_id,
            complete=complete,
            links=tuple(claim_key("physics", one) for one in links),
        )
        of: Any = tuple(statement.split(" ")) if statement.startswith("it is ") else None
        self.model.propose(fp(peer), statement, msg_id, of=of, complete=complete, links=tuple(links))

    @rule(
        peer=st.one_of(peers, st.just("node")),
        statement=statements,
        kind=st.sampled_from(("confirm", "confirm", "confirm", "reject", "challenge")),
        page=st.sampled_from((None, None, None, "one.org", "two.org")),
        back=st.integers(0, 3),
    )
    def vote(self, peer: str, statement: str, kind: Any, page: str | None, back: int) -> None:
        msg_id = self._next()
        sent = self.book.at + self.number - 4 * back
        evidence = cited(msg_id, page) if page is not None else None
        more: dict[str, Any] = {"reason": "conflict"} if kind == "challenge" else {}
        self.book.vote(peer, kind, statement, evidence=evidence, sent=sent, msg_id=msg_id, **more)
        self.model.vote(fp(peer), kind, statement, (sent, msg_id), () if page is None else (page,))

    @rule(peer=peers, state=st.sampled_from(STATES), by=st.one_of(st.none(), peers))
    def see(self, peer: str, state: Any, by: str | None) -> None:
        self.book.know(state, peer, by=by)
        self.model.see(fp(peer), state, None if by is None else fp(by))

    @rule(overloaded=st.booleans())
    def load(self, overloaded: bool) -> None:
        self.book.load("overloaded" if overloaded else "engaged")
        self.model.load(overloaded=overloaded)

    @rule(statement=statements, decision=st.sampled_from(("accept", "reject")))
    def human(self, statement: str, decision: Any) -> None:
        self.book.human(statement, decision)
        self.model.decide(statement, decision)

    @rule(hours=st.sampled_from((1, 13, 25, 170)))
    def wait(self, hours: int) -> None:
        self.book.wait(hours * 3_600_000)
        self.model.wait(hours * 3_600_000)

    @rule()
    def restart(self) -> None:
        data = encode_state(self.book.state)
        self.book.state = decode_state(data)
        assert encode_state(self.book.state) == data

    def _next(self) -> str:
        self.number += 1
        return msg(f"m{self.number:05}")

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "book"):
            return
        found = {one.statement: (one.status, one.reason) for one in self.book.state.ledger.claims.values()}
        expected = {one.statement: (one.status, one.reason) for one in self.model.entries}
        note(f"{found}\n{expected}")
        assert found == expected
        parked = {(ref, peer) for ref, votes in self.book.state.ledger.parked.items() for peer in votes}
        assert parked == {(claim_key("physics", ref), peer) for ref, peer in self.model.early}
        self.agree_on_effects()
        accepted = {key for key, one in self.book.state.ledger.claims.items() if one.status == "accepted"}
        memory = self.book.state.memory
        assert {key for key in memory.claims if memory.holds(key)} == accepted
        assert set(self.book.state.ledger.index.undecided) == {
            key for key, one in self.book.state.ledger.claims.items() if one.open
        }

    def agree_on_effects(self) -> None:
        """KNOW-9, TRUST-4: whoever is to hear something hears it, and of one command one thing only (ROUTE-3)."""
        told, self.told = self.book.told()[self.told :], len(self.book.told())
        effects, self.model.effects = self.model.effects, []
        wanted = [(bytes.fromhex(peer).rstrip(b"\0").decode(), what) for peer, what in effects]
        note(f"{told}\n{wanted}")
        mine = [one for one in told if one[1] in {"knowledge_verified", "conflict"}]
        assert not Counter(mine) - Counter(wanted)
        assert {peer for peer, _ in wanted} <= {peer for peer, _ in told}

    def teardown(self) -> None:
        if hasattr(self, "book"):
            again = replay(self.book.logic, self.book.events)
            assert encode_state(again) == encode_state(self.book.state)


Both.TestCase.settings = settings(max_examples=ROUNDS, stateful_step_count=40, deadline=None, print_blob=True)
TestKnowledgeModel = Both.TestCase


def messages(chance: random.Random) -> list[Any]:
    """What peers say of a few claims. Whoever proposes a claim confirms it nowhere, and cites the same each time.

    In these two respects the order matters by rule, because an acceptance is not taken back (KNOW-7): see the tests of
    what is not commutative below.
    """
    said: list[Any] = []
    stamp = 0
    for statement in PLAIN:
        proposers = chance.sample("pq", chance.randint(1, 2))
        for who in proposers:
            stamp += 1
            said.append(("propose", who, statement, stamp, None))
        for who in "bcdefg":
            page = chance.choice((None, f"{who}.org", "same.org"))
            for _ in range(chance.randint(0, 3)):
                stamp += 1
                kind = chance.choice(("confirm", "confirm", "reject", "challenge"))
                said.append((kind, who, statement, stamp, page))
    return said


def tell(book: Book, said: Any) -> None:
    kind, who, statement, stamp, page = said
    msg_id = msg(f"s{stamp:05}")
    if kind == "propose":
        book.propose(who, statement, msg_id=msg_id)
        return
    evidence = cited(who, page) if page else None
    more: dict[str, Any] = {"reason": "conflict"} if kind == "challenge" else {}
    book.vote(who, kind, statement, sent=book.at + stamp, msg_id=msg_id, evidence=evidence, **more)


def test_fact_order_independent() -> None:
    """KNOW-2, MESH-12: any permutation of the same messages gives the same states, with any trust."""
    for number in range(ROUNDS):
        chance = random.Random(SEED * 1000 + number)
        print("seed", SEED * 1000 + number)
        told = messages(chance)
        trust = [(who, chance.choice(("probing", "trusted", "trusted"))) for who in "bcdefg"]
        introduced = chance.choice((None, "b"))
        outcomes = set()
        for _ in range(6):
            order = chance.sample(told, len(told))
            book = Book()
            book.know("probing", "p", "q")
            for who, state in trust:
                book.know(state, who, by=introduced if who in "cd" else None)  # type: ignore[arg-type]
            for one in order:
                tell(book, one)
            outcomes.add(tuple((statement, book.status(statement)) for statement in PLAIN))
        assert len(outcomes) == 1, outcomes


def test_what_is_not_commutative() -> None:
    """KNOW-7: an acceptance stands, so what would have kept a claim from being accepted comes too late after it."""

    def ends(*, late: bool) -> str:
        book = Book()
        book.know("trusted", "b", "c")
        book.know("probing", "p")
        book.propose("p", "ice")
        book.confirm("b", "ice")
        if late:
            book.confirm("c", "ice")
        book.propose("c", "ice")
        book.confirm("c", "ice", sent=book.at + 1)
        return book.status("ice")

    assert (ends(late=False), ends(late=True)) == ("pending", "accepted")


def test_the_logic_is_pure() -> None:
    """ACT-1, WEB-2: no clock, no randomness, the same in another process with another hash seed."""
    chance = random.Random(SEED)
    book = Book()
    book.know("probing", "p", "q")
    book.know("trusted", *"bcdefg")
    for one in messages(chance):
        tell(book, one)
    book.found("p", "web", "one.org")
    book.found("b", "web", "two.org")
    book.found("c", "web", "three.org")
    book.found("d", "web", "four.org")
    book.confirm("b", "not here")
    book.tier("one.org", "high")
    book.load("overloaded", 95)
    book.load("engaged", 5)
    book.human("ice", "reject")
    book.know("blacklisted", "b")
    book.wait(25 * 3_600_000)
    state, events = check_lane_logic(book.logic, book.commands)
    assert events == book.events
    assert encode_state(state) == encode_state(book.state)
