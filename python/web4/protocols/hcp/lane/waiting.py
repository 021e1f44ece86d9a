"""What becomes of what waits, when time passes or the human answers (HCP-5, HCP-7). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from web4.foundation.clock import has_passed
from web4.protocols.decisions import decision_record, derive_decision_id
from web4.protocols.hcp.lane import events as e
from web4.protocols.hcp.lane.applying import applied
from web4.protocols.hcp.lane.passing import asked, behind, intents, passes, question, refusal, turn
from web4.protocols.hcp.lane.replies import Decided, Reply, decided

if TYPE_CHECKING:
    from web4.protocols.hcp.gate import Verdict
    from web4.protocols.hcp.lane import commands as c
    from web4.protocols.hcp.lane.events import Action, CheckIn
    from web4.protocols.hcp.lane.states import LaneState, LocalState


def tick(state: LaneState, local: LocalState, command: c.Tick) -> Decided:
    """End questions whose time is over, and let pass whose turn it is."""
    events: list[e.HumanEvent] = [
        e.CheckInEnded(
            check_in_id=one.check_in_id,
            action_id=one.action.action_id,
            outcome="no_answer",
            reason="no_answer",
            at_ms=command.at,
            **_sender(one.action),
        )
        for one in local.check_ins
        if expired(one, command.at)
    ]
    now = state
    for event in events:
        now = applied(now, event)
    handed: set[str] = set()
    while step := _next(now.local, command, handed):
        for event in step:
            now = applied(now, event)
        events += step
    return decided(state, tuple(events), Reply(status="done"))


def expired(check_in: CheckIn, at_ms: int) -> bool:
    """Whether a human was given the time there is. A clock that was set back a day does not make it a day (HCP-5)."""
    return has_passed(check_in.asked_ms, check_in.expires_ms - check_in.asked_ms, at_ms)


def _next(local: LocalState | None, command: c.Tick, handed: set[str]) -> list[e.HumanEvent]:
    """What the first in a line leads to; nothing if none of them moves.

    Of what came in, one of each line is handed on at a time: those after it come with the next look.
    """
    for waiting in () if local is None else local.heads():
        other = command.others.get(waiting.action.lane_id)
        if local is None or other is None:  # nobody brought what is known of it: another time
            continue
        action, left = waiting.action, _left(waiting.action)
        if action.direction == "in" and action.lane_id in handed:
            continue
        verdict = asked(local, action, other, command.at)
        match verdict.result:
            case "DENY" | "DEFER":
                record = refusal(action, verdict, other, command.token, command.at)
                return [_left(action, ending(verdict)), record]
            case "CHECK_IN":
                check_in_id = derive_decision_id(command.token, "check_in", action.action_id)
                return [left, e.CheckInAsked(check_in=question(action, verdict, check_in_id, command.at))]
        at_ms = turn(local, action, other, verdict, command.at)
        if at_ms <= command.at:
            handed.add(action.lane_id)
            return [left, *intents(action, None), *passes(local, action, verdict, command.at, waited=True)]
        if at_ms != waiting.not_before_ms:
            return [e.LineMoved(action_id=action.action_id, not_before_ms=at_ms)]
    return []


def _left(action: Action, reason: str = "") -> e.LineLeft:
    return e.LineLeft(action_id=action.action_id, reason=reason, **(_sender(action) if reason else {}))


def _sender(action: Action) -> dict[str, str | None]:
    """Who is told that a message goes no further; nobody of one that was to go out."""
    if action.direction == "out":
        return {}
    return {"peer": action.peer, "corr_id": action.corr_id or action.msg_id}


def ending(verdict: Verdict) -> str:
    """How a message ends that the gate stops: why is the human's own affair, unless it is about consent (HCP-11)."""
    return verdict.code if verdict.result == "DENY" else "human_deferred"


def answer(state: LaneState, local: LocalState, command: c.AnswerCheckIn) -> Decided:
    """Take the human's word. A yes is to what was asked: the gate is asked again about all the rest."""
    check_in = next((one for one in local.check_ins if one.check_in_id == command.check_in_id), None)
    if check_in is None or expired(check_in, command.at):
        return decided(state, (), Reply(status="unknown_check_in"))
    events = _answered(local, check_in, command)
    if not command.yes:
        return decided(state, events, Reply(status="done"))
    action = replace(check_in.action, answered=True)
    other = command.others.get(action.lane_id)
    if other is None:
        return decided(state, (), Reply(status="unknown_human"))
    verdict = asked(local, action, other, command.at)
    if verdict.result in {"DENY", "DEFER"}:
        record = refusal(action, verdict, other, command.token, command.at)
        events = (*events, _left(action, ending(verdict)), record)
        return decided(state, events, Reply(status="stopped", verdict=verdict))
    at_ms = turn(local, action, other, verdict, command.at)
    if behind(local, action) or at_ms > command.at:
        lined = e.Lined(action=action, not_before_ms=at_ms)
        return decided(state, (*events, lined), Reply(status="waits", verdict=verdict))
    events = (*events, *intents(action, None), *passes(local, action, verdict, command.at, waited=True))
    return decided(state, events, Reply(status="requested", verdict=verdict))


def _answered(local: LocalState, check_in: CheckIn, command: c.AnswerCheckIn) -> tuple[e.HumanEvent, ...]:
    """The end of the question, and the record of the human's act."""
    choice = "yes" if command.yes else "no"
    ended = e.CheckInEnded(
        check_in_id=check_in.check_in_id,
        action_id=check_in.action.action_id,
        outcome="yes" if command.yes else "denied",
        reason="" if command.yes else "declined",
        door=command.door,
        at_ms=command.at,
        **({} if command.yes else _sender(check_in.action)),
    )
    record = decision_record(
        decision_id=answer_id(check_in.action.action_id),
        kind="human",
        about=check_in.action.msg_id,
        choice=choice,
        alternatives=("no" if command.yes else "yes",),
        reasons=("human_act",),
        context={"check_in": check_in.check_in_id, "door": command.door},
        actor=local.human_id,
        at_ms=command.at,
    )
    return ended, record


def answer_id(action_id: str) -> str:
    """The id of the human's decision about a message: there is one answer for each."""
    return derive_decision_id(action_id, "answer")
