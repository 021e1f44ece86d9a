"""What the lane of a human of this node decides: consent, state, and the end of what waits (HCP-3, HCP-4). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.protocols.decisions import DecisionRecord, decision_outcome, decision_record, derive_decision_id
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane import events as e
from web4.protocols.hcp.lane import passing, waiting
from web4.protocols.hcp.lane.replies import Decided, Reply, decided
from web4.protocols.hcp.scope import wider
from web4.protocols.hcp.social import ALWAYS

if TYPE_CHECKING:
    from web4.protocols.hcp.lane.states import LaneState, LocalState


def decide_local(state: LaneState, command: c.LocalCommand) -> Decided:  # noqa: PLR0911 - a case each
    """See `LaneLogic.decide`."""
    if isinstance(command, c.AddHuman):
        return _add(state, command)
    local = state.local
    if local is None:
        return decided(state, (), Reply(status="unknown_human"))
    match command:
        case c.Give() | c.State() | c.AnswerCheckIn() if not command.door:
            return decided(state, (), Reply(status="door_required"))
        case c.Give():
            return _give(state, local, command)
        case c.State():
            return _state(state, local, command)
        case c.AnswerCheckIn():
            return waiting.answer(state, local, command)
        case c.Attempt():
            return passing.attempt(state, local, command)
        case c.Tick():
            return waiting.tick(state, local, command)
        case c.EndFor():
            return decided(state, ended(local, command.lane_id, command.at), Reply(status="done"))
        case c.Record():
            return _record(state, local, command)
        case c.ConcludeAction():
            return _conclude(state, local, command)


def _add(state: LaneState, command: c.AddHuman) -> Decided:
    added = e.Added(human_id=command.human_id, name=command.name, role=command.role, flags=command.flags)
    local = state.local
    if local is not None:
        same = (local.name, local.role, local.facts.flags) == (added.name, added.role, added.flags)
        return decided(state, () if same else (added,), Reply(status="known" if same else "done"))
    return decided(state, (added,), Reply(status="done"))


def _give(state: LaneState, local: LocalState, command: c.Give) -> Decided:
    """The human's word on what it consents to. Said again, it is fresh again (HCP-2)."""
    facts = local.facts
    given = e.Consented(consent=command.consent, scope=command.scope, door=command.door, at_ms=command.at)
    events: list[e.HumanEvent] = [given, _act(local, command, command.consent, _CHOICES - {command.consent})]
    if command.consent == "revoked":
        events += ended(local, None, command.at)
        events.append(_follow_up(local, command, "revoked"))
    else:
        opened = wider(command.consent, command.scope, facts.consent, facts.scope)
        events.append(_follow_up(local, command, "granted" if opened else "said"))
    return decided(state, tuple(events), Reply(status="done"))


_CHOICES = frozenset({"granted", "limited", "revoked"})


def _state(state: LaneState, local: LocalState, command: c.State) -> Decided:
    stated = e.Stated(said=command.said, door=command.door, at_ms=command.at)
    follow_up = _follow_up(local, command, "said")
    return decided(state, (stated, _act(local, command, "stated", ()), follow_up), Reply(status="done"))


def _follow_up(local: LocalState, command: c.Give | c.State, what: e.FollowUp) -> e.FollowUpRequested:
    return e.FollowUpRequested(
        effect_id=f"{command.token}/{what}", of=local.human_id, what=what, door=command.door
    )


def _act(
    local: LocalState, command: c.Give | c.State, choice: str, alternatives: frozenset[str] | tuple[str, ...]
) -> DecisionRecord:
    """The record of an act of the human (MEM-1). How the human is stands in the event alone (HCP-11)."""
    return decision_record(
        decision_id=derive_decision_id(command.token, choice, local.human_id),
        kind="human",
        about=local.human_id,
        choice=choice,
        alternatives=sorted(alternatives),
        reasons=("human_act",),
        context={"door": command.door},
        actor=local.human_id,
        at_ms=command.at,
    )


def ended(local: LocalState, lane_id: str | None, at_ms: int) -> tuple[e.HumanEvent, ...]:
    """The end of all that waits for a human at a peer, or for any: consent was revoked (HCP-3)."""
    questions = tuple(
        e.CheckInEnded(
            check_in_id=one.check_in_id,
            action_id=one.action.action_id,
            outcome="denied",
            reason="consent_revoked",
            at_ms=at_ms,
        )
        for one in local.check_ins
        if lane_id in {None, one.action.lane_id}
    )
    line = tuple(
        e.LineLeft(action_id=one.action.action_id, reason="consent_revoked")
        for one in local.line
        if lane_id in {None, one.action.lane_id}
    )
    # What is on its way is concluded here and now; its effect is cut off by that.
    cut = tuple(
        e.ActionConcluded(action_id=one, outcome="consent_revoked")
        for one, action in local.open.items()
        if lane_id in {None, action.lane_id} and action.type not in ALWAYS
    )
    return (*questions, *line, *cut)


def _conclude(state: LaneState, local: LocalState, command: c.ConcludeAction) -> Decided:
    """A message is over; what the human said yes to has its outcome (MEM-1)."""
    action = local.open.get(command.action_id)
    if action is None:
        return decided(state, (), Reply(status="known"))
    events: tuple[e.HumanEvent, ...] = (
        e.ActionConcluded(action_id=command.action_id, outcome=command.outcome),
    )
    if action.answered:
        outcome = decision_outcome(
            decision_id=waiting.answer_id(action.action_id),
            outcome=command.outcome,
            success=command.outcome == "ok",
            at_ms=command.at,
        )
        events = (*events, outcome)
    return decided(state, events, Reply(status="done"))


def _record(state: LaneState, local: LocalState, command: c.Record) -> Decided:
    key = f"decision {e.incoming_id(command.peer, command.msg_id)}"
    if key in dict(local.noted):
        return decided(state, (), Reply(status="known"))
    return decided(state, (e.Noted(key=key, at_ms=command.at), command.record), Reply(status="done"))
