"""The logic of humans' lanes: pure, bounded, and in step with a plain model of consent (ACT-1, HCP-2 to HCP-8)."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from web4.foundation.digest import canonical
from web4.foundation.logic import replay
from web4.protocols.decisions import DecisionOutcome, DecisionRecord
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane import events as e
from web4.protocols.hcp.lane.logic import HumanLogic
from web4.protocols.hcp.lane.states import MOST_ENDED, MOST_INTENTS, MOST_KNOWN, MOST_WAITING, LaneState
from web4.protocols.hcp.values import PACE_MS, Contact, Facts, Said, remote_id
from web4.testing import check_lane_logic

NOW = 1_800_000_000_000
PEER = "ab" * 32
HAL = Contact(PEER, "hal")
LOGIC = HumanLogic()


def uid(number: int) -> str:
    return str(uuid.UUID(int=number, version=4))


def action(number: int, **more: Any) -> e.Action:
    fields: dict[str, Any] = {
        "action_id": uid(number),
        "direction": "out",
        "local": "grace",
        "peer": PEER,
        "human_id": "hal",
        "lane_id": HAL.lane_id,
        "type": "HCP_INTENT",
        "topic": "a",
        "document": {"goal": "align", "topic": "a", "priority": "normal"},
        "size": 50,
        "agent": "agent",
    }
    return e.Action(**(fields | more))


def other(**facts: Any) -> c.Other:
    said_ms = facts.pop("said_ms", NOW)
    return c.Other(
        trust="trusted", social="trusted", facts=Facts(consent="granted", said_ms=said_ms, **facts)
    )


def attempt(number: int, at: int = NOW, theirs: c.Other | None = None, **more: Any) -> c.Attempt:
    return c.Attempt(
        action=action(number, **more), other=theirs or other(said_ms=at), at=at, token=uid(10_000 + number)
    )


ADD = c.AddHuman(human_id="grace", name="Grace", role="gardener", at=NOW)


def give(consent: Any, number: int = 1, at: int = NOW, scope: tuple[str, ...] = ()) -> c.Give:
    return c.Give(consent=consent, scope=scope, door="test", at=at, token=uid(20_000 + number))


def run(*commands: c.HumanCommand, state: LaneState | None = None) -> tuple[LaneState, list[Any]]:
    """The state and the replies; checked on the way: what is written reads back the same."""
    now, replies = LOGIC.initial if state is None else state, []
    for command in commands:
        decision = LOGIC.decide(now, command)
        replies.append(decision.reply)
        now = replay(LOGIC, decision.events, base=now)
    assert msgspec.json.decode(canonical(now), type=LaneState) == now
    return now, replies


def test_hcp_lane_logic_is_pure() -> None:
    """ACT-1: of a human here."""
    tense = c.State(said=Said(affect="tense", pressure=90), door="test", at=NOW, token=uid(1))
    others = {HAL.lane_id: other(said_ms=NOW + 60_000)}
    commands: list[c.HumanCommand] = [
        ADD,
        give("granted"),
        attempt(1),
        c.ConcludeAction(action_id=uid(1), outcome="ok", at=NOW),
        tense,
        attempt(2),
        c.AnswerCheckIn(check_in_id=uid(10_002), yes=True, door="test", others=others, at=NOW, token=uid(3)),
        attempt(3),
        attempt(3),
        c.Tick(others=others, at=NOW + 60_000, token=uid(4)),
        c.Tick(others=others, at=NOW + 601_000, token=uid(5)),
        give("limited", 2, NOW + 601_000, ("topic:a",)),
        attempt(4, NOW + 601_000, topic="b"),
        c.EndFor(lane_id=HAL.lane_id, at=NOW + 601_000),
        give("revoked", 3, NOW + 601_000),
    ]
    state, events = check_lane_logic(LOGIC, commands)
    assert state.local is not None
    assert {one.reason for one in events if isinstance(one, e.CheckInEnded) and one.reason} == {"no_answer"}
    records = [one for one in events if isinstance(one, DecisionRecord)]
    assert [one.choice for one in records] == [
        "granted", "stated", "yes", "limited", "denied", "revoked",
    ]  # fmt: skip
    assert len({one.decision_id for one in records}) == len(records)


def test_hcp_lane_logic_is_pure_of_a_remote_human() -> None:
    """ACT-1: of a human at a peer."""
    hear: dict[str, Any] = {"peer": PEER, "human_id": "hal", "local": "grace", "said": Said(), "at": NOW}
    greet: dict[str, Any] = {"peer": PEER, "human_id": "hal", "local": "grace", "at": NOW}
    rate: dict[str, Any] = {
        "local": "grace",
        "intent": uid(1),
        "satisfaction": 80,
        "corrected": False,
        "at": NOW,
    }
    commands: list[c.HumanCommand] = [
        c.Hear(
            msg_id=uid(1), type="HCP_HELLO", consent="granted", scope=(), name="Hal", token=uid(1), **hear
        ),
        c.Greet(msg_id=uid(1), side="remote", **greet),
        c.Greet(msg_id=uid(2), side="local", **greet),
        c.Rate(msg_id=uid(3), side="local", **rate),
        c.Rate(msg_id=uid(4), side="remote", **rate),
        c.Rate(msg_id=uid(4), side="remote", **rate),
        c.Hear(msg_id=uid(5), type="HCP_STATE_UPDATE", consent="revoked", token=uid(5), **hear),
        c.Reopen(local="grace", causes=("remote",), door="test", at=NOW, token=uid(6)),
        c.Close(local="grace", cause="act", door="test", at=NOW, token=uid(7)),
    ]
    state, _ = check_lane_logic(LOGIC, commands)
    assert state.remote is not None
    assert state.remote.facts.consent == "revoked"
    assert state.remote.relation("grace").state == "restricted"


@pytest.mark.parametrize(
    "command", [give("granted"), attempt(1), c.Tick(at=NOW), c.EndFor(lane_id="x", at=NOW)]
)
def test_hcp_lane_of_nobody(command: c.HumanCommand) -> None:
    """HCP-4: a lane without a human, and one of a human at a peer, take no act and no message."""
    met = c.Greet(peer=PEER, human_id="hal", local="grace", msg_id=uid(1), side="remote", at=NOW)
    for before in ((), (met,)):
        state, replies = run(*before, command)
        assert replies[-1].status == "unknown_human"
        assert state.local is None
    _, replies = run(ADD, met)
    assert replies[-1].status == "unknown_human"


def test_hcp_lane_takes_no_act_without_a_door() -> None:
    """HCP-4, HCP-5: whoever asks; consent, state, and the answer to a question come through a door."""
    tense = c.State(said=Said(affect="tense"), door="test", at=NOW, token=uid(1))
    state, _ = run(ADD, give("granted"), tense, attempt(2))
    answer = c.AnswerCheckIn(
        check_in_id=uid(10_002), yes=True, door="", others={HAL.lane_id: other()}, at=NOW, token=uid(3)
    )
    for command in (
        answer,
        c.Give(consent="granted", scope=(), door="", at=NOW, token=uid(4)),
        c.State(said=Said(), door="", at=NOW, token=uid(5)),
    ):
        after, (reply,) = run(command, state=state)
        assert (reply.status, after) == ("door_required", state)


def test_hcp_lane_nobody_overtakes() -> None:
    """HCP-7: a message that comes when the turn is free, but another waits for it, goes behind that one."""
    slow = other(flags=("slow_pacing",))
    state, replies = run(
        ADD,
        give("granted"),
        attempt(2, theirs=slow),
        c.ConcludeAction(action_id=uid(2), outcome="ok", at=NOW),
        attempt(3, theirs=slow),
        attempt(4, NOW + PACE_MS, slow),
    )
    assert [replies[one].status for one in (2, 4, 5)] == ["requested", "waits", "waits"]
    assert state.local is not None
    assert [one.action.action_id for one in state.local.line] == [uid(3), uid(4)]
    tick = c.Tick(others={HAL.lane_id: slow}, at=NOW + PACE_MS, token=uid(5))
    state, _ = run(tick, state=state)
    assert state.local is not None
    assert set(state.local.open) == {uid(3)}


@pytest.mark.parametrize("how", ["ones_own", "theirs", "anothers"])
def test_hcp_lane_revocation_ends_all_that_waits(how: str) -> None:
    """HCP-3: what is on its way, in the line, and asked about ends, at that peer; what is another's stays."""
    slow = other(flags=("slow_pacing",))
    tense = c.State(said=Said(affect="tense"), door="test", at=NOW, token=uid(1))
    state, replies = run(
        ADD, give("granted"), attempt(2, theirs=slow), attempt(3, theirs=slow), tense, attempt(4, theirs=slow)
    )
    assert [replies[one].status for one in (2, 3, 5)] == ["requested", "waits", "asked"]
    ida = Contact("cd" * 32, "ida")
    commands: dict[str, c.HumanCommand] = {
        "ones_own": give("revoked", 9),
        "theirs": c.EndFor(lane_id=HAL.lane_id, at=NOW),
        "anothers": c.EndFor(lane_id=ida.lane_id, at=NOW),
    }
    state, _ = run(commands[how], state=state)
    assert state.local is not None
    left = (len(state.local.open), len(state.local.line), len(state.local.check_ins))
    assert left == ((1, 1, 1) if how == "anothers" else (0, 0, 0))
    if how != "anothers":
        assert {state.local.ending(uid(one)) for one in (2, 3, 4)} == {"consent_revoked"}


def test_hcp_lane_every_yes_has_its_outcome() -> None:
    """MEM-1: the record of the human's yes, and what came of it, under one id."""
    state, _ = run(
        ADD, give("granted"), c.State(said=Said(affect="tense"), door="test", at=NOW, token=uid(1))
    )
    state, _ = run(attempt(2), state=state)
    answer = c.AnswerCheckIn(
        check_in_id=uid(10_002),
        yes=True,
        door="test",
        others={HAL.lane_id: other()},
        at=NOW,
        token=uid(3),
    )
    (record,) = [one for one in LOGIC.decide(state, answer).events if isinstance(one, DecisionRecord)]
    state, _ = run(answer, state=state)
    concluded = LOGIC.decide(state, c.ConcludeAction(action_id=uid(2), outcome="outbox_full", at=NOW))
    (outcome,) = [one for one in concluded.events if isinstance(one, DecisionOutcome)]
    assert outcome.decision_id == record.decision_id
    assert (outcome.outcome, outcome.success) == ("outbox_full", False)


@pytest.mark.parametrize(
    ("after", "status", "left"), [(599_999, "requested", 1), (600_000, "unknown_check_in", 0)]
)
def test_hcp_lane_check_in_has_ten_minutes(after: int, status: str, left: int) -> None:
    """HCP-5: one millisecond before its time is over it waits and can be answered, at it not."""
    state, _ = run(
        ADD, give("granted"), c.State(said=Said(affect="tense"), door="test", at=NOW, token=uid(1))
    )
    state, _ = run(attempt(2), state=state)
    at, others = NOW + after, {HAL.lane_id: other(said_ms=NOW + after)}
    ticked, _ = run(c.Tick(others=others, at=at, token=uid(3)), state=state)
    assert ticked.local is not None
    assert len(ticked.local.check_ins) == left
    answer = c.AnswerCheckIn(
        check_in_id=uid(10_002), yes=True, door="test", others=others, at=at, token=uid(4)
    )
    assert run(answer, state=state)[1][-1].status == status


def test_hcp_lane_is_bounded() -> None:
    """LIM-1: whatever comes, a lane's state has its bounds, and reaching one is told."""
    state, _ = run(ADD, give("granted"))
    for number in range(MOST_ENDED + 50):
        state, (reply, _) = run(
            attempt(number), c.ConcludeAction(action_id=uid(number), outcome="ok", at=NOW), state=state
        )
        assert reply.status == "requested"
    assert state.local is not None
    assert len(state.local.ended) == MOST_ENDED
    assert len(state.local.intents) == MOST_INTENTS
    slow = other(flags=("slow_pacing",))
    statuses = []
    for number in range(1_000, 1_000 + MOST_WAITING + 5):
        state, (reply,) = run(attempt(number, theirs=slow), state=state)
        statuses.append(reply.status)
    assert statuses.count("line_full") == 5
    before = state
    big = attempt(5_000, theirs=slow, size=2 << 20)
    state, (reply,) = run(big, state=state)
    assert (reply.status, state) == ("line_full", before)
    known, _ = run(ADD, give("granted"))
    assert known.local is not None
    many = {f"{one:064x}": {"peer": PEER, "human_id": f"h{one}"} for one in range(MOST_KNOWN)}
    full = msgspec.convert(
        msgspec.to_builtins(known) | {"local": {**msgspec.to_builtins(known.local), "known": many}}, LaneState
    )
    _, (reply,) = run(attempt(1), state=full)
    assert reply.status == "too_many_humans"


def test_hcp_lane_records_a_repeated_refusal_once_a_minute() -> None:
    """LIM-1: who asks again and again does not fill a lane."""
    state, _ = run(ADD, give("limited"))
    events = 0
    for number in range(100):
        decision = LOGIC.decide(state, attempt(number, NOW + 1_000 * number, direction="in"))
        assert decision.reply.status == "stopped"
        state = replay(LOGIC, decision.events, base=state)
        events += len([one for one in decision.events if isinstance(one, DecisionRecord)])
    assert events == 2


def test_hcp_lane_names() -> None:
    """WEB-1: a remote human's lane is the hash of fingerprint and name, and never a local one."""
    assert remote_id(PEER, "hal") != remote_id(PEER, "ida") != remote_id("cd" * 32, "ida")
    assert len(remote_id(PEER, "hal")) == 64


class ConsentMachine(RuleBasedStateMachine):
    """Grace, and Hal at a peer, on their lanes, against variables that say what the specification says."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.number = NOW, 0
        self.here, _ = run(ADD)
        self.there, _ = run(
            c.Greet(peer=PEER, human_id="hal", local="grace", msg_id=uid(1 << 40), side="local", at=NOW)
        )
        self.mine: tuple[str | None, tuple[str, ...], int] = (None, (), 0)
        self.theirs: tuple[str | None, tuple[str, ...], int] = (None, (), 0)
        self.social, self.greeted = "untrusted", {"local"}
        self.causes: set[str] = set()
        self.affect = "calm"
        self.asked: dict[str, int] = {}

    def fresh(self) -> str:
        self.number += 1
        return uid(self.number)

    def tell_here(self, command: Any) -> Any:
        self.here, (reply,) = run(command, state=self.here)
        return reply

    def tell_there(self, command: Any) -> Any:
        self.there, (reply,) = run(command, state=self.there)
        return reply

    def other(self) -> c.Other:
        remote = self.there.remote
        assert remote is not None
        return c.Other(trust="trusted", social=remote.relation("grace").state, facts=remote.facts)

    # --- what happens -----------------------------------------------------------------------------------

    @rule(ms=st.sampled_from((0, 1, 30_000, 599_999, 600_000, 600_001)))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule(
        consent=st.sampled_from(("granted", "limited", "revoked")),
        scope=st.sampled_from(((), ("topic:a",), ("topic:*",))),
        door=st.sampled_from(("test", "")),
    )
    def grace_gives(self, consent: Any, scope: tuple[str, ...], door: str) -> None:
        token = self.fresh()
        reply = self.tell_here(c.Give(consent=consent, scope=scope, door=door, at=self.now, token=token))
        assert reply.status == ("done" if door else "door_required")
        if not door:
            return
        opened = self.mine[0] in {None, "revoked"} and consent != "revoked"
        self.mine = (consent, scope, self.now)
        if consent == "revoked":
            self.asked.clear()
            self.social = "restricted"
            self.causes.add("local")
            self.tell_there(c.Close(local="grace", cause="local", at=self.now, token=token))
        elif opened:
            self.tell_there(c.Reopen(local="grace", causes=("local",), door=door, at=self.now, token=token))
            if "local" in self.causes:
                self.causes.discard("local")
                self.social = self.social if self.causes else "probing"

    @rule(affect=st.sampled_from(("calm", "tense")))
    def grace_feels(self, affect: Any) -> None:
        self.tell_here(c.State(said=Said(affect=affect), door="test", at=self.now, token=self.fresh()))
        self.affect = affect
        self.mine = (*self.mine[:2], self.now)

    @rule(
        type_name=st.sampled_from(("HCP_HELLO", "HCP_STATE_UPDATE", "HCP_INTENT")),
        consent=st.sampled_from(("granted", "limited", "revoked")),
        scope=st.sampled_from(((), ("topic:a",))),
    )
    def hal_says(self, type_name: str, consent: Any, scope: tuple[str, ...]) -> None:
        msg_id, signal = self.fresh(), type_name != "HCP_INTENT"
        hear = c.Hear(
            peer=PEER,
            human_id="hal",
            local="grace",
            msg_id=msg_id,
            type=type_name,
            said=Said(intent=msg_id),  # always news
            consent=consent,
            scope=scope if signal else None,
            at=self.now,
            token=msg_id,
        )
        reply = self.tell_there(hear)
        assert self.tell_there(hear).status == "known"  # ROUTE-4
        if type_name == "HCP_HELLO":
            self.tell_there(
                c.Greet(peer=PEER, human_id="hal", local="grace", msg_id=msg_id, side="remote", at=self.now)
            )
        before = self.theirs[0]
        steps = {None: 0, "revoked": 0, "limited": 1, "granted": 2}
        if signal:
            self.theirs = (consent, scope, self.now)
        else:
            narrower = steps[consent] < steps[before] or (consent == "revoked")
            self.theirs = (consent if narrower else before, self.theirs[1], self.now)
        if self.theirs[0] == "revoked" and before != "revoked":
            assert any(isinstance(one, e.FollowUpRequested) for one in reply.events)
            self.tell_here(c.EndFor(lane_id=HAL.lane_id, at=self.now))
            self.asked.clear()
            self.social = "restricted"
            self.causes.add("remote")
        if type_name == "HCP_HELLO" and self.social == "untrusted":
            self.social = "probing"

    @rule()
    def grace_regrants(self) -> None:
        self.tell_there(
            c.Reopen(
                local="grace",
                causes=("act", "local", "remote"),
                door="test",
                at=self.now,
                token=self.fresh(),
            )
        )
        if self.causes:
            self.causes.clear()
            self.social = "probing"

    @rule(topic=st.sampled_from(("a", "a/b", "b")))
    def the_agent_asks(self, topic: str) -> None:
        expected = self.expected(topic)
        before = self.here
        number = self.fresh()
        asked = c.Attempt(
            action=action(0, action_id=number, topic=topic), other=self.other(), at=self.now, token=number
        )
        reply = self.tell_here(asked)
        assert reply.status == expected, (reply, self.mine, self.theirs, self.social, self.affect)
        if expected == "requested":
            self.tell_here(c.ConcludeAction(action_id=number, outcome="ok", at=self.now))
        elif expected == "asked":
            self.asked[number] = self.now + 600_000
        assert self.here.local is not None
        assert before.local is not None
        assert self.here.local.facts == before.local.facts  # HCP-4: asking widens nothing

    def expected(self, topic: str) -> str:
        if self.social not in {"probing", "trusted"}:
            return "stopped"
        for consent, scope, at in (self.mine, self.theirs):
            covered = "topic:*" in scope or ("topic:a" in scope and topic in {"a", "a/b"})
            open_to_all = consent == "granted" and self.now - at <= 600_000
            if consent in {None, "revoked"} or not (open_to_all or covered):
                return "stopped"
        return "asked" if self.affect == "tense" else "requested"

    @precondition(lambda self: self.asked)
    @rule(yes=st.booleans(), pick=st.integers(0, 10))
    def grace_answers(self, yes: bool, pick: int) -> None:
        self.tick()
        if not self.asked:
            return
        check_in = sorted(self.asked)[pick % len(self.asked)]
        local = self.here.local
        assert local is not None
        topic = next(one.action.topic for one in local.check_ins if one.check_in_id == check_in)
        reply = self.tell_here(
            c.AnswerCheckIn(
                check_in_id=check_in,
                yes=yes,
                door="test",
                others={HAL.lane_id: self.other()},
                at=self.now,
                token=self.fresh(),
            )
        )
        del self.asked[check_in]
        affect, self.affect = self.affect, "calm"
        expected = self.expected(topic or "") if yes else "done"
        self.affect = affect
        assert reply.status == expected
        if reply.status == "requested":
            self.tell_here(c.ConcludeAction(action_id=check_in, outcome="ok", at=self.now))

    @rule()
    def tick(self) -> None:
        self.tell_here(c.Tick(others={HAL.lane_id: self.other()}, at=self.now, token=self.fresh()))
        self.asked = {one: at for one, at in self.asked.items() if at > self.now}

    # --- what always holds ------------------------------------------------------------------------------

    @invariant()
    def as_the_model_says(self) -> None:
        local, remote = self.here.local, self.there.remote
        assert local is not None
        assert remote is not None
        assert (local.facts.consent, local.facts.said_ms) == (self.mine[0], self.mine[2])
        assert remote.facts.consent == self.theirs[0]
        assert remote.relation("grace").state == self.social
        assert set(remote.relation("grace").restricted_by) == self.causes
        assert {one.check_in_id for one in local.check_ins} == set(self.asked)
        assert local.line == ()
        assert local.open == {}


ConsentMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_hcp_consent_against_a_model = ConsentMachine.TestCase
