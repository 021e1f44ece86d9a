"""What the lane of a human at a peer decides: what was heard of the human, and the relations (HCP-3, HCP-8). Pure."""

from __future__ import annotations

from typing import Final

from web4.foundation.clock import has_passed
from web4.protocols.decisions import DecisionRecord, decision_record, derive_decision_id
from web4.protocols.hcp import social
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane import events as e
from web4.protocols.hcp.lane.applying import applied, relation_key
from web4.protocols.hcp.lane.replies import Decided, Reply, decided
from web4.protocols.hcp.lane.states import MOST_RELATIONS, LaneState, RemoteState
from web4.protocols.hcp.scope import wider
from web4.protocols.hcp.social import SIGNALS
from web4.protocols.hcp.values import remote_id

REFRESH_MS: Final = 60_000
"""Of what says nothing new a record is made after this time, so that it does not go stale."""


def decide_remote(state: LaneState, command: c.RemoteCommand) -> Decided:
    """See `LaneLogic.decide`."""
    match command:
        case c.Hear():
            return _hear(state, command)
        case c.Greet():
            return _greet(state, command)
    if state.remote is None:
        return decided(state, (), Reply(status="unknown_human"))
    match command:
        case c.Rate():
            return _rate(state, state.remote, command)
        case c.Close():
            return _close(state, state.remote, command)
        case c.Reopen():
            return _reopen(state, state.remote, command)


# --- what is heard --------------------------------------------------------------------------------------------


def _hear(state: LaneState, command: c.Hear) -> Decided:
    """Take in how a human is. Its agent's HELLO and STATE_UPDATE say its consent; other messages only narrow it."""
    events: list[e.HumanEvent] = []
    remote = _met(state, command.peer, command.human_id, events)
    if command.msg_id in remote.heard:
        return decided(state, (), Reply(status="known"))
    facts, signal = remote.facts, command.type in SIGNALS
    scope = facts.scope if command.scope is None else command.scope
    consent = command.consent
    if not signal and wider(consent, scope, facts.consent, facts.scope):
        consent = facts.consent  # type: ignore[assignment]  # None stays None
    before = (facts.consent, facts.scope, facts.said)
    fresh = not has_passed(facts.said_ms, REFRESH_MS, command.at)
    if not signal and before == (consent, scope, command.said) and fresh:
        return decided(state, tuple(events), Reply(status="known"))
    heard = e.Heard(
        msg_id=command.msg_id,
        said=command.said,
        consent=consent,
        scope=scope,
        name=command.name,
        role=command.role,
        flags=command.flags,
        at_ms=command.at,
    )
    events.append(heard)
    if consent == "revoked" and facts.consent != "revoked":
        events += _revoked(remote, command)
    return decided(state, tuple(events), Reply(status="done"))


def _revoked(remote: RemoteState, command: c.Hear) -> list[e.HumanEvent]:
    """Consent was revoked at the other end: every relation is restricted, and all that runs for the human is ended."""
    closed = [
        e.Related(
            local=local,
            relation=social.restricted(relation, by="remote"),
            reason="revoked",
            at_ms=command.at,
        )
        for local, relation in remote.relations.items()
    ]
    return [*closed, _stop(remote, command)]


def _stop(remote: RemoteState, command: c.Hear) -> e.FollowUpRequested:
    of = remote_id(remote.peer, remote.human_id)
    return e.FollowUpRequested(effect_id=f"{command.token}/revoked", of=of, what="revoked")


def _met(state: LaneState, peer: str, human_id: str, events: list[e.HumanEvent]) -> RemoteState:
    if state.remote is not None:
        return state.remote
    met = e.Met(peer=peer, human_id=human_id)
    events.append(met)
    fresh = applied(state, met).remote
    assert fresh is not None
    return fresh


# --- relations ------------------------------------------------------------------------------------------------


def _greet(state: LaneState, command: c.Greet) -> Decided:
    events: list[e.HumanEvent] = []
    remote = _met(state, command.peer, command.human_id, events)
    if relation_key("hello", command.msg_id) in remote.heard:
        return decided(state, (), Reply(status="known"))
    if command.local not in remote.relations and len(remote.relations) >= MOST_RELATIONS:
        return decided(state, (), Reply(status="too_many_humans"))
    before = remote.relation(command.local)
    relation = social.greeted(before, by=command.side)
    if relation == before and command.local in remote.relations:
        return decided(state, tuple(events), Reply(status="known"))
    events.append(_related(command, relation, "hello", msg_id=command.msg_id))
    return decided(state, tuple(events), Reply(status="done"))


def _rate(state: LaneState, remote: RemoteState, command: c.Rate) -> Decided:
    if relation_key("feedback", command.msg_id) in remote.heard:
        return decided(state, (), Reply(status="known"))
    before = remote.relation(command.local)
    relation = social.rated(
        before,
        by=command.side,
        intent=command.intent,
        satisfaction=command.satisfaction,
        corrected=command.corrected,
        at_ms=command.at,
    )
    if relation == before:
        return decided(state, (), Reply(status="known"))
    event = _related(command, relation, "feedback", msg_id=command.msg_id)
    return decided(state, (event,), Reply(status="done"))


def _close(state: LaneState, remote: RemoteState, command: c.Close) -> Decided:
    if command.cause == "act" and not command.door:
        return decided(state, (), Reply(status="door_required"))
    before = remote.relation(command.local)
    if command.cause in before.restricted_by:
        return decided(state, (), Reply(status="known"))
    relation = social.restricted(before, by=command.cause)
    reason = "restricted" if command.cause == "act" else "revoked"
    events: list[e.HumanEvent] = [_related(command, relation, reason, door=command.door)]
    if command.cause == "act":
        events.append(_decision(command, "restricted", "regranted"))
    return decided(state, tuple(events), Reply(status="done"))


def _reopen(state: LaneState, remote: RemoteState, command: c.Reopen) -> Decided:
    if not command.door:
        return decided(state, (), Reply(status="door_required"))
    before = remote.relation(command.local)
    relation = social.regranted(before, command.causes)
    if relation == before:
        return decided(state, (), Reply(status="known"))
    event = _related(command, relation, "regranted", door=command.door)
    return decided(state, (event, _decision(command, "regranted", "restricted")), Reply(status="done"))


def _related(
    command: c.Greet | c.Rate | c.Close | c.Reopen,
    relation: social.Relation,
    reason: str,
    *,
    msg_id: str | None = None,
    door: str | None = None,
) -> e.Related:
    return e.Related(
        local=command.local, relation=relation, reason=reason, msg_id=msg_id, door=door, at_ms=command.at
    )


def _decision(command: c.Close | c.Reopen, choice: str, alternative: str) -> DecisionRecord:
    return decision_record(
        decision_id=derive_decision_id(command.token, choice, command.local),
        kind="human",
        about=command.local,
        choice=choice,
        alternatives=(alternative,),
        reasons=("human_act",),
        context={"door": command.door},
        actor=command.local,
        at_ms=command.at,
    )
