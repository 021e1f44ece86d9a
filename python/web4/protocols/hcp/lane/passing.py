"""What becomes of a message that the gate is asked about: it passes, waits, is asked about, or is stopped. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.foundation.clock import has_passed
from web4.protocols.decisions import (
    DecisionEvidence,
    DecisionRecord,
    DecisionState,
    decision_record,
    derive_decision_id,
)
from web4.protocols.hcp.gate import Question, Verdict, gate
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane import events as e
from web4.protocols.hcp.lane.replies import Decided, Reply, decided
from web4.protocols.hcp.lane.states import MOST_KNOWN, MOST_WAITING, MOST_WAITING_BYTES, LaneState, LocalState
from web4.protocols.hcp.social import SIGNALS
from web4.protocols.hcp.values import CHECK_IN_MS, PACE_MS

if TYPE_CHECKING:
    from web4.protocols.hcp.lane.events import Action

AGAIN_MS: Final = 60_000
"""Within this time the same refusal of what came in is not recorded again."""


# --- a new message --------------------------------------------------------------------------------------------


def attempt(state: LaneState, local: LocalState, command: c.Attempt) -> Decided:  # noqa: PLR0911 - a result each
    """Ask the gate about a message, and do what it says. The same message again changes nothing (ROUTE-4).

    One that came in, passed, and comes again was not handled to its end: it needs no second turn, but a gate of now.
    """
    action = command.action
    known = _known(local, action)
    if known is not None:
        return decided(state, (), known)
    events: list[e.HumanEvent] = []
    if action.lane_id not in local.known:
        if len(local.known) >= MOST_KNOWN:
            return decided(state, (), Reply(status="too_many_humans"))
        met = e.Acquainted(lane_id=action.lane_id, peer=action.peer, human_id=action.human_id)
        events.append(met)
    verdict = asked(local, action, command.other, command.at)
    match verdict.result:
        case "DENY" | "DEFER":
            return _stop(state, local, command, verdict)
        case "CHECK_IN" if not _room(local, action):
            return decided(state, (), Reply(status="line_full", verdict=verdict))
        case "CHECK_IN":
            check_in = question(action, verdict, command.token, command.at)
            events.append(e.CheckInAsked(check_in=check_in))
            reply = Reply(status="asked", verdict=verdict, check_in_id=check_in.check_in_id)
            return decided(state, tuple(events), reply)
    if local.ending(action.action_id) == "paced":
        return decided(state, (), Reply(status="go", verdict=verdict))
    free_ms = turn(local, action, command.other, verdict, command.at)
    if behind(local, action) or free_ms > command.at:
        if not _room(local, action):
            return decided(state, (), Reply(status="line_full", verdict=verdict))
        events.append(e.Lined(action=action, not_before_ms=free_ms))
        return decided(state, tuple(events), Reply(status="waits", verdict=verdict))
    events += intents(action, command.goal)
    if action.direction == "out" and not _room(local, action):
        return decided(state, (), Reply(status="line_full", verdict=verdict))
    events += passes(local, action, verdict, command.at, waited=False)
    return decided(
        state, tuple(events), Reply(status="go" if action.direction == "in" else "requested", verdict=verdict)
    )


def _known(local: LocalState, action: Action) -> Reply | None:
    """The answer about a message that was here before."""
    how = local.ending(action.action_id)
    if how is not None and how != "paced":
        return Reply(status="ended", how=how)
    if any(one.is_message(action) for one in local.open.values()):
        return Reply(status="requested")
    for one in local.check_ins:
        if one.action.is_message(action):
            return Reply(status="asked", check_in_id=one.check_in_id)
    if any(one.action.is_message(action) for one in local.line):
        return Reply(status="waits")
    return None


def asked(local: LocalState, action: Action, other: c.Other, at_ms: int) -> Verdict:
    """What the gate says of a message now."""
    return gate(
        Question(
            type=action.type,
            topic=action.topic,
            trust=other.trust,
            social=other.social,
            local=local.facts,
            remote=other.facts,
            now_ms=at_ms,
            confirm=action.confirm,
            answered=action.answered,
        )
    )


def _stop(state: LaneState, local: LocalState, command: c.Attempt, verdict: Verdict) -> Decided:
    """Refuse. What comes in is refused as often as it comes, and recorded once a minute (LIM-1)."""
    action = command.action
    reply = Reply(status="stopped", verdict=verdict)
    if action.direction == "in":
        key = f"{action.lane_id} {action.type} {verdict.code}"
        if not has_passed(dict(local.noted).get(key, -AGAIN_MS), AGAIN_MS, command.at):
            return decided(state, (), reply)
        refused = e.Noted(key=key, at_ms=command.at)
        return decided(
            state, (refused, refusal(action, verdict, command.other, command.token, command.at)), reply
        )
    return decided(state, (refusal(action, verdict, command.other, command.token, command.at),), reply)


def refusal(action: Action, verdict: Verdict, other: c.Other, token: str, at_ms: int) -> DecisionRecord:
    """The record of a refusal of the gate (MEM-1)."""
    return decision_record(
        decision_id=derive_decision_id(token, action.action_id),
        kind="human",
        about=action.msg_id,
        choice="denied" if verdict.result == "DENY" else "deferred",
        alternatives=("allowed",),
        reasons=[f"{one.code}:{one.whose}" for one in verdict.reasons],
        context={"type": action.type, "direction": action.direction},
        evidence=(DecisionEvidence(kind="envelope", ref=action.msg_id),),
        state=DecisionState(trust=other.trust),
        at_ms=at_ms,
    )


def question(action: Action, verdict: Verdict, check_in_id: str, at_ms: int) -> e.CheckIn:
    """What the human is asked: who asks, that it is an agent, what about, and why (HCP-10)."""
    about = f" about {action.topic}" if action.topic else ""
    what = "proposes" if action.confirm else "asks"
    where = "from" if action.direction == "in" else "to"
    return e.CheckIn(
        check_in_id=check_in_id,
        question=f"Your agent {action.agent} {what}: may this {action.type}{about} {where} {action.human_id} pass?",
        reasons=tuple(f"{one.code}:{one.whose}" for one in verdict.reasons),
        asked_by=action.agent,
        action=action,
        asked_ms=at_ms,
        expires_ms=at_ms + CHECK_IN_MS,
    )


# --- its turn -------------------------------------------------------------------------------------------------


def _slow_lanes(local: LocalState, action: Action, verdict: Verdict) -> tuple[str, ...]:
    whose = {"local": local.human_id, "remote": action.lane_id}
    return tuple(whose[one] for one in verdict.slow if one in whose)


def turn(local: LocalState, action: Action, other: c.Other, verdict: Verdict, at_ms: int) -> int:
    """When the slow humans among the two may have the next message; 0 if neither is slow (HCP-7).

    What passed in a time that is not yet holds up nobody: the clock went back, and nobody waits for it to come there.
    """
    turns = [0]
    for lane in _slow_lanes(local, action, verdict):
        passed = [local.paced.get(lane, 0), other.paced_ms if lane == action.lane_id else 0]
        turns += [last + PACE_MS for last in passed if 0 < last <= at_ms]
    return max(turns)


def behind(local: LocalState, action: Action) -> bool:
    """Whether others go first: one message at a time is under way between two humans, and nobody overtakes.

    What only says how somebody is waits for nobody.
    """
    return action.type not in SIGNALS and (
        any(one.action.lane_id == action.lane_id for one in local.line) or local.busy(action)
    )


def _room(local: LocalState, action: Action) -> bool:
    waiting = local.waiting()
    size = sum(one.size for one in waiting)
    return len(waiting) < MOST_WAITING and size + action.size <= MOST_WAITING_BYTES


def passes(
    local: LocalState, action: Action, verdict: Verdict, at_ms: int, *, waited: bool
) -> list[e.HumanEvent]:
    """What lets a message pass. One that came in and waits nowhere is handled by whoever asked."""
    events: list[e.HumanEvent] = []
    slow = _slow_lanes(local, action, verdict)
    if slow:
        events.append(e.Paced(action_id=action.action_id, lanes=slow, at_ms=at_ms))
    if waited or action.direction == "out":
        events.append(e.ActionRequested(action_id=action.action_id, action=action))
    return events


def intents(action: Action, goal: str | None) -> list[e.HumanEvent]:
    """What later messages refer to, of an intent that passes."""
    if action.type != "HCP_INTENT" or action.topic is None:
        return []
    noted = e.IntentNoted(
        ref=action.msg_id, lane_id=action.lane_id, topic=action.topic, goal=goal or goal_of(action)
    )
    return [noted]


def goal_of(action: Action) -> str:
    """The goal of an intent, from what waits of it."""
    document = action.document.get("payload", action.document)
    return str(document.get("goal", ""))
