"""What lane `governance` decides: pure, bounded, blocks and lets pass as DRIFT-3 says."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from tests.governance.missions import GRACE, OTHER, PEER, Said, adopt, decision, intent
from web4.foundation.digest import canonical
from web4.foundation.logic import replay
from web4.governance import GOVERNANCE_EVENTS, DriftRules, GovernanceLogic, GovernanceReply, GovernanceState
from web4.governance.commands import ApproveIntent
from web4.governance.events import (
    AlignmentScored,
    ApprovalDropped,
    Causer,
    FlipFlopSeen,
    IntentApproved,
    IntentBlocked,
    MissionAdopted,
    MissionDrift,
)
from web4.governance.state import MOST_APPROVALS, MOST_BLOCKED, MOST_PASSED
from web4.journal import EventRegistry
from web4.protocols.decisions import DecisionOutcome, DecisionRecord
from web4.testing import check_lane_logic

FIXED = DriftRules(baseline=0.9)


def approval(
    number: int, human: str = "grace", reason: str = "I asked for it", cause: Causer | None = PEER
) -> ApproveIntent:
    return ApproveIntent(
        id=f"i{number}", cause=cause, human=human, reason=reason, decision_id=f"{number:036}", at_ms=number
    )


class Told:
    """A governance that is told things, with a scorer that reads the score from the text."""

    def __init__(self) -> None:
        self.logic = GovernanceLogic(Said())
        self.state = self.logic.initial
        self.events: list[Any] = []

    def __call__(self, *commands: Any) -> GovernanceReply:
        reply = GovernanceReply()
        for command in commands:
            decided = self.logic.decide(self.state, command)
            for event in decided.events:
                self.state = self.logic.apply(self.state, event)
                self.events.append(event)
            reply = decided.reply
        return reply

    def kinds(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def blocked() -> Told:
    told = Told()
    told(adopt(rules=FIXED))
    told(*(intent(number, "0.9") for number in range(20)))
    told(*(intent(number, "0.1", OTHER) for number in range(20, 60)))
    assert told.state.level == "block"
    return told


def test_logic_is_pure_and_replays() -> None:
    """ACT-1, WEB-2: the same events in another process, the same state from them; no scorer is needed for that."""
    chance = random.Random(5)
    commands: list[Any] = [intent(1_000, "0.5"), adopt(rules=FIXED)]
    for number in range(400):
        score = str(chance.choice([0.0, 0.2, 0.9, 1.0]) if number % 90 > 40 else 0.9)
        commands.append(
            chance.choice(
                [
                    intent(number, score, chance.choice([PEER, OTHER, GRACE])),
                    decision(number, chance.choice("AB"), score=score),
                    approval(number),
                    approval(number, human=""),
                ]
            )
        )
    commands += [adopt(2), intent(2_000, "0.5"), adopt(2), approval(2_001), approval(2_001)]
    state, events = check_lane_logic(GovernanceLogic(Said()), commands)
    seen = {type(event) for event in events}
    assert seen == {one.struct for one in GOVERNANCE_EVENTS} - {DecisionOutcome, ApprovalDropped}
    registry = EventRegistry(GOVERNANCE_EVENTS)
    read = [registry.reread(registry.type_of(event), registry.encode(event)) for event in events]
    assert replay(GovernanceLogic(), read) == state
    assert msgspec.json.decode(canonical(state), type=GovernanceState) == state


def test_without_a_mission_nothing_is_scored() -> None:
    """DRIFT-1: a node without a mission has nothing to drift from."""
    told = Told()
    assert told(intent(1, "0")).allowed
    assert told(decision(1, "A")).score is None
    assert told.events == []


def test_every_accepted_intent_and_decision_is_scored_once() -> None:
    """DRIFT-2: a named, versioned scorer, the mission's version, and who caused it; again, nothing."""
    told = Told()
    told(adopt(4))
    assert told(intent(1, "0.5")).score == 0.5
    assert told(intent(1, "0.5")).score is None
    assert told(decision(2, "A", score="0.25")).score == 0.25
    assert told(decision(2, "B", score="0.25")).score is None
    scored = told.kinds(AlignmentScored)
    assert [(one.id, one.kind, one.score, one.choice) for one in scored] == [
        ("i1", "intent", 0.5, ""),
        ("d2", "decision", 0.25, "A"),
    ]
    assert {(one.scorer, one.scorer_version, one.mission_version, one.cause) for one in scored} == {
        ("said", 3, 4, PEER)
    }


def test_drift_detects_shift_names_contributors() -> None:
    """DRIFT-5: level, score, baseline, window and who contributed most, in the same batch as the score that did it."""
    told = blocked()
    warn, block = told.kinds(MissionDrift)
    assert (warn.level, block.level) == ("warn", "block")
    assert warn.baseline == 0.9
    assert 0.9 - warn.score > 0.15
    assert 0.9 - block.score > 0.30
    assert warn.window == warn.at_ms - intent(0, "").at_ms + 1
    (contributor,) = block.top_contributors
    assert contributor.cause == OTHER
    assert contributor.scores > 5
    assert abs(contributor.shortfall - 0.8 * contributor.scores) < 1e-9
    at = told.events.index(block)
    assert isinstance(told.events[at - 1], AlignmentScored)
    assert told.state.recent[-1].cause == OTHER


def test_drift_detects_shift_names_who_contributed_most() -> None:
    """DRIFT-5: the five to whom most of the shortfall is due, the first of them first; who was on course is none."""
    told = Told()
    told(adopt(rules=FIXED))
    told(*(intent(number, "0.9") for number in range(20)))
    causes = [Causer(kind="peer", id=f"{number}" * 64) for number in range(1, 8)]
    number = 20
    while told.state.level != "block":
        for at, cause in enumerate(causes):
            told(intent(number, f"{0.7 - 0.1 * at:.1f}", cause))
            number += 1
    drift = told.kinds(MissionDrift)[-1]
    falls = [one.shortfall for one in drift.top_contributors]
    assert falls == sorted(falls, reverse=True)
    recent = dict.fromkeys(causes, 0.0)
    for one in told.state.recent:
        if one.cause in recent:
            recent[one.cause] += 0.9 - one.score
    most = sorted(causes, key=lambda one: -recent[one])[:5]
    assert [one.cause for one in drift.top_contributors] == most


def test_block_lets_only_approved_intents_pass() -> None:
    """DRIFT-3: a human passes a block; the intent that passes is scored, and decisions still are."""
    told = blocked()
    before = len(told.kinds(AlignmentScored))
    assert not told(intent(100, "1.0")).allowed
    assert not told(intent(100, "1.0")).allowed
    assert len(told.kinds(IntentBlocked)) == len({one for one, _ in told.state.blocked})
    assert ("i100", PEER) in told.state.blocked
    assert len(told.kinds(AlignmentScored)) == before
    for human, reason, code in (("", "x", "approver_required"), ("grace", " ", "approval_reason")):
        assert told(approval(100, human, reason)).refused == code
    told(approval(100))
    assert told.state.approver("i100") == "grace"
    assert ("i100", PEER) not in told.state.blocked
    reply = told(intent(100, "1.0"))
    assert (reply.allowed, reply.approved_by, reply.level) == (True, "grace", "block")
    assert told(intent(100, "1.0")).allowed  # delivered again
    assert told(approval(100)).refused == "already_passed"
    assert not told(intent(101, "1.0")).allowed
    record = told.kinds(DecisionRecord)[-1]
    assert (record.kind, record.actor, record.about, record.choice) == (
        "human",
        "grace",
        "i100",
        "approve_intent",
    )


def test_block_is_not_passed_by_the_id_of_another() -> None:
    """DRIFT-3: senders choose the ids of intents: one that passed, or that a human approved, opens for its own only."""
    told = blocked()
    theirs = intent(19, "1.0")  # it passed before the block
    assert told(theirs).allowed
    assert not told(msgspec.structs.replace(theirs, cause=OTHER)).allowed
    mine = intent(100, "1.0")
    assert not told(mine).allowed
    told(approval(100, cause=None))
    assert not told(msgspec.structs.replace(mine, cause=OTHER)).allowed
    reply = told(mine)
    assert (reply.allowed, reply.approved_by) == (True, "grace")
    assert told.state.approved == ()


def test_an_approval_is_of_one_peers_intent() -> None:
    """DRIFT-3: what another has blocked, or had passed, under the same id draws no approval and refuses none."""
    told = blocked()
    theirs, mine = intent(100, "0.0", OTHER), intent(100, "1.0")
    assert not told(theirs).allowed  # first
    assert not told(mine).allowed
    assert told(approval(100, cause=None)).refused == "whose_intent"
    told(approval(100, cause=PEER))
    assert not told(theirs).allowed
    assert told(mine).approved_by == "grace"
    assert told(approval(100, cause=PEER)).refused == "already_passed"
    assert told(approval(100, cause=OTHER)).refused is None
    assert told(theirs).approved_by == "grace"
    assert (
        told(approval(200, cause=None)).refused == "whose_intent"
    )  # of none: whoever comes first would have it


def test_what_is_forgotten_is_one_peers() -> None:
    """DRIFT-3: a blocked intent or an approval that falls out takes none of another peer's with the same id along."""
    told = blocked()
    told.state = msgspec.structs.replace(told.state, blocked=())
    told(intent(1, "1", OTHER), intent(1, "1", GRACE))
    told(*(intent(number, "1") for number in range(1_000, 1_000 + MOST_BLOCKED - 1)))
    assert {cause for one, cause in told.state.blocked if one == "i1"} == {GRACE}
    told(approval(1, cause=OTHER), approval(1, cause=GRACE))
    told(*(approval(number) for number in range(5_000, 5_000 + MOST_APPROVALS - 1)))
    assert {cause for one, _, cause in told.state.approved if one == "i1"} == {GRACE}


def test_approvals_of_before_they_had_a_causer_replay() -> None:
    """JRN-9: events that name nobody mean what they meant then."""
    told = blocked()
    told(intent(100, "1.0"), intent(100, "1.0", OTHER))
    forgotten = ApprovalDropped(id="i100", what="blocked", at_ms=1)
    after = told.logic.apply(told.state, forgotten)
    assert "i100" not in {one for one, _ in after.blocked}
    after = told.logic.apply(told.state, IntentApproved(id="i101", human="grace", at_ms=1))
    assert after.approver("i101", OTHER) == "grace"
    assert (
        told.logic.apply(after, msgspec.structs.replace(forgotten, what="approval", id="i101")).approved == ()
    )


def test_a_decision_of_an_intent_is_scored_too() -> None:
    """DRIFT-2, DRIFT-4: what is decided about an intent bears its id: it is scored once, as the intent is."""
    told = Told()
    told(adopt(1, FIXED))
    for number, choice in enumerate("ABA"):
        told(intent(number, "0.9"), msgspec.structs.replace(decision(number, choice), id=f"i{number}"))
        told(msgspec.structs.replace(decision(number, choice), id=f"i{number}"))
    assert [one.kind for one in told.kinds(AlignmentScored)] == ["intent", "decision"] * 3
    assert len(told.kinds(FlipFlopSeen)) == 1


def test_block_is_cleared_by_better_decisions() -> None:
    """DRIFT-3: scores that come up again lift the block to a warning, and then that."""
    told = blocked()
    told(*(decision(number, "A", score="0.9") for number in range(200)))
    assert [one.level for one in told.kinds(MissionDrift)] == ["warn", "block", "warn", "cleared"]
    assert told(intent(500, "0.9")).allowed


def test_new_mission_begins_anew() -> None:
    """DRIFT-1: only a newer mission takes its place; then nothing is blocked, and a human is named."""
    told = blocked()
    told(approval(300))
    assert told(adopt(1)).refused == "mission_outdated"
    assert told(adopt(2)).refused is None
    assert (told.state.level, told.state.course.count, told.state.recent) == ("clear", 0, ())
    assert told.state.approver("i300") == "grace"
    assert told(intent(101, "0.1")).allowed
    assert told(intent(19, "0.1")).score is None  # passed under the old mission
    assert [one.choice for one in told.kinds(DecisionRecord)][:1] == ["adopt_mission"]
    assert len(told.kinds(MissionAdopted)) == 2


def test_drift_flip_flop() -> None:
    """DRIFT-4: A, B, A on one topic within 10 decisions, once for each time it is taken back."""

    def seen(*choices: tuple[str, str]) -> list[tuple[str, ...]]:
        told = Told()
        told(adopt())
        told(*(decision(number, choice, topic) for number, (topic, choice) in enumerate(choices)))
        return [one.choices for one in told.kinds(FlipFlopSeen)]

    a, b, c = ("t", "A"), ("t", "B"), ("t", "C")
    other = ("u", "A")
    assert seen(a, b, a) == [("A", "B", "A")]
    assert seen(a, a, b, b, a) == [("A", "B", "A")]
    assert seen(a, b, a, a) == [("A", "B", "A")]
    assert seen(a, b, a, b) == [("A", "B", "A"), ("B", "A", "B")]
    assert seen(a, b, c) == []
    assert seen(a, c, b, a) == [("A", "B", "A")]
    assert seen(a, ("u", "B"), a) == []
    assert seen(a, other, b, other, a) == [("A", "B", "A")]
    assert seen(a, b, *[other] * 7, a) == [("A", "B", "A")]
    assert seen(a, b, *[other] * 8, a) == []
    assert seen(("", "A"), ("", "B"), ("", "A")) == []


def test_drift_flip_flop_names_its_decisions() -> None:
    """DRIFT-4: the event says which decisions, and who caused the last."""
    told = Told()
    told(adopt(), decision(1, "A"), decision(2, "B"))
    (report,) = told(decision(3, "A")).reports
    assert isinstance(report, FlipFlopSeen)
    assert (report.decisions, report.cause, report.topic) == (("d1", "d2", "d3"), PEER, "weather")


def test_bounds() -> None:
    """Everything that waits for a human is bounded; what falls out is an event."""
    told = blocked()
    told(*(intent(number, "1") for number in range(1_000, 1_000 + MOST_BLOCKED + 5)))
    assert len(told.state.blocked) == MOST_BLOCKED
    told(*(approval(number) for number in range(5_000, 5_000 + MOST_APPROVALS + 5)))
    assert len(told.state.approved) == MOST_APPROVALS
    dropped = [one.what for one in told.kinds(ApprovalDropped)]
    assert dropped.count("approval") == 5
    assert dropped.count("blocked") >= 5
    told(*(decision(number, "A") for number in range(MOST_PASSED + 100)))
    assert len(told.state.passed) == MOST_PASSED
    assert len(told.state.recent) == 50
    assert len(told.state.chosen) == 10
