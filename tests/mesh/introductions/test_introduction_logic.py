"""The logic of introductions: pure, bounded, and against a plain model in any order (ACT-1, MESH-10, MESH-11)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.mesh.people import identity, pubkey
from web4.foundation.logic import replay
from web4.journal.event_types import EventRegistry
from web4.mesh.introductions import introduction_state as s
from web4.mesh.introductions.introduction_events import INTRODUCTION_EVENTS, TrustAsked
from web4.mesh.introductions.introduction_logic import IntroductionsLogic
from web4.mesh.introductions.part import INTRODUCTIONS, settled
from web4.testing import check_lane_logic
from web4.trust import Introduced, IntroducerLost, TrustFSM

if TYPE_CHECKING:
    import pytest

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "60"))
OWN = identity(1).fingerprint
ORIGINS = {number: identity(number).fingerprint for number in (2, 3)}
SUBJECTS = {number: identity(number).fingerprint for number in (4, 5)}
HOUR = 3_600_000


def intro(origin: int, subject: int, intro_id: str, at: int = 0, **more: Any) -> s.HearIntroduction:
    fields: dict[str, Any] = {
        "at": at,
        "origin": identity(origin).fingerprint,
        "origin_state": "trusted",
        "origin_unverified": False,
        "own": OWN,
        "intro_id": intro_id,
        "subject": identity(subject).fingerprint,
        "pubkey": pubkey(subject),
        "addresses": ("tcp://10.0.0.7:7440",),
        "expires_ms": at + HOUR,
        "envelope_id": f"of {intro_id}",
        "blake3": f"{origin} {subject} {intro_id} {at}",
        "envelope": '{"mesh":"1.0"}',
    }
    return s.HearIntroduction(**{**fields, **more})


def revoke(origin: int, subject: int, intro_id: str, at: int = 0) -> s.HearRevocation:
    return s.HearRevocation(
        at=at,
        origin=identity(origin).fingerprint,
        origin_state="trusted",
        intro_id=intro_id,
        subject=identity(subject).fingerprint,
        text="z" * 9_000,
    )


def test_logic_is_pure_and_replays() -> None:
    """ACT-1, WEB-2: alike in another process, from its events, and from its own encoding."""
    asked = IntroductionsLogic().decide(s.IntroductionsState(), intro(2, 4, "a")).events[1]
    assert isinstance(asked, TrustAsked)
    issue = s.Issue(at=5, intro_id="i", subject=OWN, pubkey=pubkey(1), addresses=(), expires_ms=HOUR)
    commands: list[Any] = [
        intro(2, 4, "a"),
        settled(asked, told="done", at=1),
        intro(3, 4, "b", pubkey=pubkey(5)),
        intro(3, 4, "b", pubkey=pubkey(5)),
        intro(3, 5, "c", 2),
        revoke(3, 4, "d", 3),
        revoke(2, 4, "a", 4),
        issue,
        s.Withdraw(at=6, intro_id="i", reason="over"),
        s.Withdraw(at=6, intro_id="i", reason="over"),
        s.EndIntroducer(at=7, origin=ORIGINS[3]),
        s.EndExpired(at=3 * HOUR),
    ]
    state, events = check_lane_logic(IntroductionsLogic(), commands)
    registry = EventRegistry(INTRODUCTION_EVENTS)
    reread: list[Any] = [registry.reread(registry.type_of(one), registry.encode(one)) for one in events]
    assert reread == events
    assert replay(IntroductionsLogic(), reread) == state
    assert INTRODUCTIONS.definition.decode(INTRODUCTIONS.definition.encode(state)) == state
    acts = [(one.act, one.peer) for one in events if isinstance(one, TrustAsked)]
    assert acts == [
        ("introduced", SUBJECTS[4]),
        ("forged", ORIGINS[3]),
        ("introduced", SUBJECTS[5]),
        ("introducer_lost", SUBJECTS[4]),
    ]


def run(state: s.IntroductionsState, *commands: Any) -> tuple[s.IntroductionsState, list[str]]:
    logic = IntroductionsLogic()
    verdicts: list[str] = []
    for command in commands:
        decision = logic.decide(state, command)
        verdicts.append(decision.reply)
        for event in decision.events:
            state = logic.apply(state, event)
    return state, verdicts


def test_all_of_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One introducer cannot take the room of the others; what ended is remembered, up to a bound."""
    monkeypatch.setattr(s, "MAX_HEARD_OF_ONE", 2)
    monkeypatch.setattr(s, "MAX_HEARD", 3)
    monkeypatch.setattr(s, "MAX_ENDED", 2)
    monkeypatch.setattr(s, "MAX_ISSUED", 1)
    monkeypatch.setattr(s, "MAX_NOTES", 1)
    state, verdicts = run(
        s.IntroductionsState(),
        *(intro(2, 4, f"{one}") for one in range(3)),
        *(intro(3, 5, f"{one}") for one in range(2)),
    )
    assert verdicts == ["asked", "asked", "full", "asked", "full"]
    state, verdicts = run(state, *(revoke(3, 4, f"x{one}") for one in range(3)))
    assert verdicts == ["noted", "noted", "full"]
    assert len(state.notes) == 1
    state, verdicts = run(state, revoke(3, 4, "x9", 25 * HOUR))
    assert (verdicts, len(state.ended)) == (["noted"], 1)
    state, verdicts = run(state, s.EndExpired(at=2 * HOUR))
    assert (verdicts, state.heard, len(state.ended)) == (["ended"], {}, 2)
    issue = s.Issue(at=0, intro_id="i", subject=OWN, pubkey=pubkey(1), addresses=(), expires_ms=HOUR)
    assert run(state, issue, issue)[1] == ["issued", "too_many"]


def test_an_answer_about_an_introduction_that_is_over_is_not_its_successors() -> None:
    """MESH-11, ROUTE-3: trust answers late, and the introduction's id is another's by then: whom nobody vouches for any
    more is not let stay."""
    logic = IntroductionsLogic()
    state, _ = run(logic.initial, intro(2, 4, "a", 0, blake3="1" * 64))
    state, _ = run(state, s.EndExpired(at=HOUR))
    state, verdicts = run(state, intro(2, 5, "a", HOUR, blake3="2" * 64))
    assert verdicts == ["asked"]
    first = s.SettleTrust(
        at=HOUR,
        effect_id="introductions:introduced:" + "1" * 64,
        told="done",
        act="introduced",
        introducer=ORIGINS[2],
        peer=SUBJECTS[4],
        intro_id="a",
    )
    decision = logic.decide(state, first)
    lost = [event for event in decision.events if isinstance(event, TrustAsked)]
    assert [(event.act, event.peer) for event in lost] == [("introducer_lost", SUBJECTS[4])]
    for event in decision.events:
        state = logic.apply(state, event)
    assert [one.standing for one in state.heard.values()] == ["asked"]


_ORIGIN = st.sampled_from(sorted(ORIGINS))
_SUBJECT = st.sampled_from(sorted(SUBJECTS))
_ID = st.sampled_from(["a", "b", "c"])


class IntroductionMachine(RuleBasedStateMachine):
    """What peers say, time, and when trust gets to hear of it, in any order; against a plain model."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes = 0
        self.logic = IntroductionsLogic()
        self.state = self.logic.initial
        self.events: list[Any] = []
        self.at = 0
        self.standing: dict[tuple[int, str], tuple[int, int]] = {}
        """The model: (origin, id) to (subject, expiry)."""
        self.over: dict[tuple[int, str], int] = {}
        self.trust = {number: TrustFSM(fingerprint) for number, fingerprint in SUBJECTS.items()}
        self.open: dict[str, TrustAsked] = {}

    def give(self, command: Any) -> str:
        decision = self.logic.decide(self.state, command)
        for event in decision.events:
            self.state = self.logic.apply(self.state, event)
            if isinstance(event, TrustAsked):
                assert event.effect_id not in self.open
                self.open[event.effect_id] = event
        self.events += decision.events
        return decision.reply

    @rule(minutes=st.integers(1, 30))
    def time_passes(self, minutes: int) -> None:
        self.at += minutes * 60_000

    @rule(origin=_ORIGIN, subject=_SUBJECT, intro_id=_ID)
    def introduced(self, origin: int, subject: int, intro_id: str) -> None:
        key = (origin, intro_id)
        self.envelopes += 1
        envelope = intro(origin, subject, intro_id, self.at, blake3=f"{self.envelopes:064x}")
        verdict = self.give(envelope)
        if key in self.standing or self.over.get(key, 0) > self.at:
            assert verdict == "duplicate"
        else:
            assert verdict == "asked"
            self.standing[key] = (subject, self.at + HOUR)

    @rule(origin=_ORIGIN, subject=_SUBJECT, intro_id=_ID)
    def revoked(self, origin: int, subject: int, intro_id: str) -> None:
        key = (origin, intro_id)
        verdict = self.give(revoke(origin, subject, intro_id, self.at))
        if self.standing.get(key, (0, 0))[0] == subject:
            assert verdict == "ended"
            self.over[key] = self.standing.pop(key)[1]
        elif key not in self.standing and verdict == "noted":
            self.over[key] = self.at + s.LIFETIME_MS + s.SKEW_MS
        else:
            assert verdict in {"not_trusted", "duplicate"}

    @rule()
    def expired(self) -> None:
        self.give(s.EndExpired(at=self.at))
        for key in [one for one, (_, until) in self.standing.items() if until <= self.at]:
            self.over[key] = self.standing.pop(key)[1]

    @rule(origin=_ORIGIN)
    def introducer_lost(self, origin: int) -> None:
        self.give(s.EndIntroducer(at=self.at, origin=ORIGINS[origin]))
        for key in [one for one in self.standing if one[0] == origin]:
            self.over[key] = self.standing.pop(key)[1]

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 20))
    def trust_hears(self, which: int) -> None:
        effect_id = sorted(self.open)[which % len(self.open)]
        asked = self.open.pop(effect_id)
        fsm = next(one for one in self.trust.values() if one.peer == asked.peer)
        if asked.act == "introduced":
            fsm.handle(Introduced(at_ms=self.at, introducer=asked.introducer, introducer_state="trusted"))
            told = "done" if fsm.record.introducer == asked.introducer else "nothing"
        else:
            fsm.handle(IntroducerLost(at_ms=self.at, introducer=asked.introducer))
            told = "done"
        assert self.give(settled(asked, told=told, at=self.at)) == "settled"

    @rule()
    def restart(self) -> None:
        """The lane alone gives the state again, from its events and from a snapshot."""
        assert replay(self.logic, self.events) == self.state
        self.state = INTRODUCTIONS.definition.decode(INTRODUCTIONS.definition.encode(self.state))

    @invariant()
    def what_stands_is_what_the_model_has(self) -> None:
        has = {(one.origin, one.intro_id): one.subject for one in self.state.heard.values()}
        assert has == {
            (ORIGINS[origin], intro_id): SUBJECTS[subject]
            for (origin, intro_id), (subject, _) in self.standing.items()
        }

    @invariant()
    def nobody_is_more_than_probing_and_nobody_without_a_voucher(self) -> None:
        for number, fsm in self.trust.items():
            assert fsm.state in {"unknown", "probing", "untrusted"}
            vouching = {
                ORIGINS[origin] for (origin, _), (subject, _) in self.standing.items() if subject == number
            }
            if not self.open and fsm.state == "probing":
                assert fsm.record.introducer in vouching
            if not self.open and fsm.state == "unknown":
                assert not vouching


TestIntroductionMachine = IntroductionMachine.TestCase
TestIntroductionMachine.settings = settings(
    max_examples=ROUNDS, stateful_step_count=40, deadline=None, print_blob=True
)
