"""How events build the state of a human's lane. Pure (ACT-1)."""

from __future__ import annotations

from typing import Final, TypeVar

from msgspec.structs import replace

from web4.protocols.hcp.lane import events as e
from web4.protocols.hcp.lane.states import (
    MOST_ENDED,
    MOST_INTENTS,
    MOST_NOTED,
    Intent,
    Known,
    LaneState,
    LocalState,
    RemoteState,
    Waiting,
    consented_facts,
    flagged_facts,
    said_facts,
)
from web4.protocols.hcp.values import PACE_MS, Facts

_MOST_HEARD: Final = 256
_T = TypeVar("_T")


def applied(state: LaneState, event: e.HumanEvent) -> LaneState:
    """The state after `event`. Decisions change none: they are read from the lane."""
    match event:
        case e.Added():
            return LaneState(local=_added(state.local, event))
        case e.Met():
            return LaneState(remote=RemoteState(peer=event.peer, human_id=event.human_id))
    if state.local is not None:
        return LaneState(local=_local(state.local, event))
    if state.remote is not None:
        return LaneState(remote=_remote(state.remote, event))
    return state


def _added(state: LocalState | None, event: e.Added) -> LocalState:
    facts = flagged_facts(Facts() if state is None else state.facts, event.flags)
    if state is None:
        return LocalState(human_id=event.human_id, name=event.name, role=event.role, facts=facts)
    return replace(state, name=event.name, role=event.role, facts=facts)


def _local(state: LocalState, event: e.HumanEvent) -> LocalState:  # noqa: PLR0911 - a case each
    match event:
        case e.Consented():
            facts = consented_facts(state.facts, event.consent, event.scope, event.at_ms)
            return replace(state, facts=facts)
        case e.Stated():
            return replace(state, facts=said_facts(state.facts, event.said, event.at_ms))
        case e.Acquainted():
            known = Known(peer=event.peer, human_id=event.human_id)
            return replace(state, known={**state.known, event.lane_id: known})
        case e.IntentNoted():
            intent = Intent(ref=event.ref, lane_id=event.lane_id, topic=event.topic, goal=event.goal)
            return replace(state, intents=(*state.intents, intent)[-MOST_INTENTS:])
        case e.Noted():
            others = tuple(one for one in state.noted if one[0] != event.key)
            return replace(state, noted=(*others, (event.key, event.at_ms))[-MOST_NOTED:])
        case e.FollowUpRequested():
            return replace(state, follow_ups={**state.follow_ups, event.effect_id: event.what})
        case e.FollowUpConcluded():
            return replace(state, follow_ups=_less(state.follow_ups, event.effect_id))
        case _:
            return _moved(state, event)


def _moved(state: LocalState, event: e.HumanEvent) -> LocalState:  # noqa: PLR0911 - a case each
    """After an event about a message."""
    match event:
        case e.CheckInAsked():
            return replace(state, check_ins=(*state.check_ins, event.check_in))
        case e.CheckInEnded():
            left = tuple(one for one in state.check_ins if one.check_in_id != event.check_in_id)
            state = replace(state, check_ins=left)
            return state if event.outcome == "yes" else _ended(state, event.action_id, event.reason)
        case e.Lined():
            waiting = Waiting(action=event.action, not_before_ms=event.not_before_ms)
            return replace(state, line=(*state.line, waiting))
        case e.LineMoved():
            line = tuple(
                replace(one, not_before_ms=event.not_before_ms)
                if one.action.action_id == event.action_id
                else one
                for one in state.line
            )
            return replace(state, line=line)
        case e.LineLeft():
            line = tuple(one for one in state.line if one.action.action_id != event.action_id)
            state = replace(state, line=line)
            return _ended(state, event.action_id, event.reason) if event.reason else state
        case e.Paced():
            paced = {**state.paced, **dict.fromkeys(event.lanes, event.at_ms)}
            # What a full pace ago passed holds up nobody.
            kept = {lane: at for lane, at in paced.items() if event.at_ms - at < PACE_MS}
            return _ended(replace(state, paced=kept), event.action_id, "paced")
        case e.ActionRequested():
            return replace(state, open={**state.open, event.action_id: event.action})
        case e.ActionConcluded():
            state = replace(state, open=_less(state.open, event.action_id))
            return _ended(state, event.action_id, event.outcome)
        case _:
            return state


def _remote(state: RemoteState, event: e.HumanEvent) -> RemoteState:
    match event:
        case e.Heard():
            facts = said_facts(state.facts, event.said, event.at_ms)
            if event.consent is not None:
                scope = state.facts.scope if event.scope is None else event.scope
                facts = consented_facts(facts, event.consent, scope, event.at_ms)
            if event.flags is not None:
                facts = flagged_facts(facts, event.flags)
            return replace(
                state,
                facts=facts,
                name=state.name if event.name is None else event.name,
                role=state.role if event.role is None else event.role,
                heard=(*state.heard, event.msg_id)[-_MOST_HEARD:],
            )
        case e.Related():
            heard = state.heard if event.msg_id is None else (*state.heard, _key(event))[-_MOST_HEARD:]
            return replace(state, relations={**state.relations, event.local: event.relation}, heard=heard)
        case e.FollowUpRequested():
            return replace(state, follow_ups={**state.follow_ups, event.effect_id: event.what})
        case e.FollowUpConcluded():
            return replace(state, follow_ups=_less(state.follow_ups, event.effect_id))
        case _:
            return state


def _key(event: e.Related) -> str:
    return relation_key(event.reason, event.msg_id or "")


def relation_key(reason: str, msg_id: str) -> str:
    """Under which a message is remembered that has changed a relation: its word about the human is another matter."""
    return f"{reason} {msg_id}"


def _ended(state: LocalState, action_id: str, how: str) -> LocalState:
    others = tuple(one for one in state.ended if one[0] != action_id)
    return replace(state, ended=(*others, (action_id, how))[-MOST_ENDED:])


def _less(of: dict[str, _T], key: str) -> dict[str, _T]:
    return {one: value for one, value in of.items() if one != key}
