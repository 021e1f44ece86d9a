"""Web claims against a plain model of their rules: any order of evidence, votes, trust, tiers, load and time."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import hypothesis.strategies as st
from hypothesis import note, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.protocols.knowledge.book import NODE, Book, cited, fp, msg
from tests.protocols.knowledge.plain_web_model import PlainWeb, Word
from web4.foundation.logic import replay
from web4.protocols.knowledge.form import decode_state, encode_state
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.knowledge.ledger.claims import Cited
from web4.protocols.knowledge.sources import tiers

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "50"))
PEERS = ("b", "c", "d", "e", "p", "q")
STATEMENTS = ("tar", "salt", "ice", "sky")
PAGES = ("one.org", "two.org", "three.org", "four.org", "five.org")
ENOUGH = 2
"""Accepted claims that make a source `high` here: twenty would take more steps than a run has."""

people = st.one_of(st.sampled_from(PEERS), st.just("node"))
statements = st.sampled_from(STATEMENTS)
pages = st.lists(st.sampled_from(PAGES), min_size=1, max_size=2, unique=True)
bodies = st.sampled_from((None, None, None, None, "copy"))


class WebClaims(RuleBasedStateMachine):
    """Tells the ledger and the model the same, and looks at both (LIP-2 to LIP-5, KNOW-6, KNOW-7)."""

    @initialize()
    def begin(self) -> None:
        self.was_enough, tiers.ACCEPTED_FOR_HIGH = tiers.ACCEPTED_FOR_HIGH, ENOUGH  # type: ignore[misc]
        self.book = Book()
        self.model = PlainWeb(NODE, enough=ENOUGH)
        self.model.now = self.book.at
        self.number = self.told = 0
        for peer in PEERS:
            self.see(peer, "trusted" if peer in "bcde" else "probing", None)

    @rule(who=st.sampled_from("bcde"), statement=statements)
    def found_elsewhere(self, who: str, statement: str) -> None:
        """What makes corroborators likely: a trusted peer, and a page that no other of them reads."""
        self.found(who, statement, [PAGES["bcde".index(who) + 1]], None)

    @rule(who=people, statement=statements, on=pages, body=bodies)
    def found(self, who: str, statement: str, on: list[str], body: str | None) -> None:
        msg_id = self._next()
        read = cited(who, *on, body=body)
        self.book.found(who, statement, msg_id=msg_id, cited=read)
        word = Word(fp(who), "confirm", (self.book.at, msg_id), tuple(on), read.bodies[0])
        self.model.found(word, statement)

    @rule(
        who=people,
        statement=statements,
        kind=st.sampled_from(("confirm", "confirm", "confirm", "reject", "challenge")),
        on=st.one_of(st.just([]), pages),
        back=st.integers(0, 2),
    )
    def vote(self, who: str, statement: str, kind: Any, on: list[str], back: int) -> None:
        msg_id, sent = self._next(), self.book.at - back
        read = cited(who, *on) if on else Cited(pieces=1)
        self.book.vote(who, kind, statement, evidence=read, sent=sent, msg_id=msg_id, route="lip")
        body = read.bodies[0] if on else None
        self.model.vote(Word(fp(who), kind, (sent, msg_id), tuple(on), body), statement)

    @rule(
        peer=st.sampled_from(PEERS),
        state=st.sampled_from(("trusted",) * 5 + ("untrusted", "probing", "blacklisted")),
        by=st.sampled_from((None,) * 6 + PEERS),
    )
    def see(self, peer: str, state: Any, by: str | None) -> None:
        self.book.know(state, peer, by=by)
        self.model.see(fp(peer), state, None if by is None else fp(by))

    @rule(
        presence=st.sampled_from(("focused", "engaged", "engaged", "engaged", "diffuse", "overloaded")),
        lri=st.sampled_from((0, 0, 49, 50)),
        kernel=st.sampled_from((False, False, False, True)),
    )
    def load(self, presence: str, lri: int, kernel: bool) -> None:
        self.book.load(presence, lri, kernel_overload=kernel)
        self.model.load(presence, lri, kernel_overload=kernel)

    @rule(statement=st.sampled_from(("sky", "salt")), decision=st.sampled_from(("accept", "reject")))
    def human(self, statement: str, decision: Any) -> None:
        self.book.human(statement, decision)
        self.model.decide(statement, decision)

    @rule(
        page=st.sampled_from(PAGES),
        tier=st.sampled_from(("blocked", "low", "unknown", "unknown", "medium", "high")),
    )
    def tier(self, page: str, tier: str) -> None:
        self.book.tier(page, tier)
        self.model.set_tier(page, tier)

    @rule(hours=st.sampled_from((1, 23, 24, 168)))
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
        self.book.at += 1
        self.model.now += 1
        return msg(f"m{self.number:05}")

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "book"):
            return
        ledger = self.book.state.ledger
        found = {one.statement: (one.status, one.reason) for one in ledger.claims.values()}
        expected = {one.statement: (one.status, one.reason) for one in self.model.entries}
        of_sources = {page: ledger.source(page).tier for page in PAGES}
        note(f"{found} {of_sources}\n{expected} {self.model.tiers}")
        assert found == expected
        assert of_sources == {page: self.model.tiers.get(page, "unknown") for page in PAGES}
        records = {page: [ledger.source(page).accepted, ledger.source(page).standing] for page in PAGES}
        assert records == {page: self.model.record.get(page, [0, 0]) for page in PAGES}
        accepted = {key for key, one in ledger.claims.items() if one.status == "accepted"}
        assert {key for key in self.book.state.memory.claims if self.book.state.memory.holds(key)} == accepted
        ever = {claim_key("physics", one.statement) for one in self.model.entries if one.ever}
        assert set(ledger.rechecks) == ever, "each is fetched again, once (LIP-6)"
        self.agree_on_effects()

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
            tiers.ACCEPTED_FOR_HIGH = self.was_enough  # type: ignore[misc]
            again = replay(self.book.logic, self.book.events)
            assert encode_state(again) == encode_state(self.book.state)


WebClaims.TestCase.settings = settings(
    max_examples=ROUNDS, stateful_step_count=40, deadline=None, print_blob=True
)
TestWebClaimsModel = WebClaims.TestCase
