"""What lane `governance` decides of mission and drift. Pure (ACT-1, DRIFT-1 to DRIFT-5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from web4.foundation.logic import Decision
from web4.governance import commands, events
from web4.governance.scoring import TermOverlap
from web4.governance.state import (
    MOST_APPROVALS,
    MOST_BLOCKED,
    MOST_PASSED,
    Chosen,
    GovernanceState,
    Scored,
)
from web4.protocols.decisions import DecisionEvidence, DecisionOutcome, DecisionRecord, decision_record

if TYPE_CHECKING:
    from web4.governance.commands import GovernanceCommand
    from web4.governance.events import GovernanceEvent
    from web4.governance.judging import Level
    from web4.governance.scoring import Scorer

MOST_CONTRIBUTORS: Final = 5
"""Contributors that a drift names."""

Refused = Literal[
    "mission_outdated",
    "mission_human",
    "approver_required",
    "approval_reason",
    "whose_intent",
    "already_passed",
    "too_long",
]
"""Codes of `MissionRefused` and `ApprovalRefused`."""


@dataclass(frozen=True, slots=True)
class GovernanceReply:
    """The answer to a command of governance.

    Args:
        allowed: Of an intent: whether it may be accepted.
        level: Where it stands after the command.
        score: What was scored; None if nothing was.
        approved_by: The human by whose word a block was passed.
        reports: What is to be told once it is durable: changes of the level and flip-flops.
        average: The moving average after the command.
        baseline: What it is held against.
        window: How many scores contributors are looked for in.
        refused: Why nothing was recorded.
    """

    allowed: bool = True
    level: Level = "clear"
    score: float | None = None
    approved_by: str | None = None
    reports: tuple[events.MissionDrift | events.FlipFlopSeen, ...] = ()
    average: float = 0.0
    baseline: float = 0.0
    window: int = 0
    refused: Refused | None = None


_GovernanceDecision = Decision["GovernanceEvent", GovernanceReply]


@dataclass(frozen=True)
class GovernanceLogic:
    """Decisions of lane `governance`, with a given scorer. Replay needs no scorer: scores are in the events."""

    scorer: Scorer = field(default_factory=TermOverlap)
    initial: GovernanceState = field(default_factory=GovernanceState)

    def decide(
        self, state: GovernanceState, command: GovernanceCommand
    ) -> Decision[GovernanceEvent, GovernanceReply]:
        """See `LaneLogic.decide`."""
        match command:
            case commands.AdoptMission():
                return self._adopt(state, command)
            case commands.AdmitIntent():
                return self._admit(state, command)
            case commands.NoteDecision():
                return self._note(state, command)
            case commands.ApproveIntent():
                return self._approve(state, command)

    def apply(self, state: GovernanceState, event: GovernanceEvent) -> GovernanceState:
        """See `LaneLogic.apply`."""
        match event:
            case events.MissionAdopted():
                # Who approved what still holds; scores against another mission say nothing.
                after = GovernanceState(
                    mission=event.mission, rules=event.rules, passed=state.passed, approved=state.approved
                )
            case events.AlignmentScored():
                after = _with_score(state, event)
            case events.MissionDrift():
                level: Level = "clear" if event.level == "cleared" else event.level
                after = msgspec.structs.replace(state, level=level)
            case events.IntentBlocked():
                after = msgspec.structs.replace(state, blocked=(*state.blocked, (event.id, event.cause)))
            case events.IntentApproved():
                blocked = tuple(one for one in state.blocked if one != (event.id, event.cause))
                approved = (*state.approved, (event.id, event.human, event.cause))
                after = msgspec.structs.replace(state, approved=approved, blocked=blocked)
            case events.ApprovalDropped() if event.what == "approval":
                approved = tuple(
                    one for one in state.approved if one[0] != event.id or event.cause not in {None, one[2]}
                )
                after = msgspec.structs.replace(state, approved=approved)
            case events.ApprovalDropped():
                blocked = tuple(
                    one for one in state.blocked if one[0] != event.id or event.cause not in {None, one[1]}
                )
                after = msgspec.structs.replace(state, blocked=blocked)
            case events.FlipFlopSeen() | DecisionRecord() | DecisionOutcome():
                after = state
        return after

    # --- mission and approval: what humans do -----------------------------------------------------------

    def _adopt(self, state: GovernanceState, command: commands.AdoptMission) -> _GovernanceDecision:
        if not command.human or len(command.human) > events.MOST_ID:
            return _refused(state, "mission_human")
        if state.mission is not None and command.mission.version <= state.mission.version:
            return _refused(state, "mission_outdated")
        adopted = events.MissionAdopted(
            mission=command.mission, rules=command.rules, human=command.human, at_ms=command.at_ms
        )
        version = str(command.mission.version)
        record = decision_record(
            decision_id=command.decision_id,
            kind="human",
            about=f"mission:{version}",
            choice="adopt_mission",
            alternatives=("keep_mission",),
            reasons=("signed", "newer"),
            context={"version": version, "goals": [goal.name for goal in command.mission.goals]},
            evidence=(DecisionEvidence(kind="human", ref=command.human),),
            actor=command.human,
            at_ms=command.at_ms,
        )
        return Decision((adopted, record), GovernanceReply(level="clear"))

    def _approve(self, state: GovernanceState, command: commands.ApproveIntent) -> _GovernanceDecision:
        if not command.human or not command.reason.strip():
            return _refused(state, "approval_reason" if command.human else "approver_required")
        names = (command.human, "" if command.cause is None else command.cause.id)
        if not 0 < len(command.id) <= events.MOST_ID or any(len(one) > events.MOST_ID for one in names):
            return _refused(state, "too_long")
        cause = command.cause or _whose(state, command.id)
        if cause is None:
            return _refused(state, "whose_intent")
        if ("intent", command.id, cause) in state.passed:
            return _refused(state, "already_passed")
        if state.approver(command.id, cause) is not None:
            return Decision((), _reply(state))
        dropped: list[GovernanceEvent] = []
        if len(state.approved) >= MOST_APPROVALS:
            oldest, _, whose = state.approved[0]
            dropped.append(_dropped(oldest, whose, "approval", command.at_ms))
        approved = events.IntentApproved(id=command.id, human=command.human, at_ms=command.at_ms, cause=cause)
        record = decision_record(
            decision_id=command.decision_id,
            kind="human",
            about=command.id,
            choice="approve_intent",
            alternatives=("leave_blocked",),
            reasons=(command.reason,),
            context={"level": state.level},
            evidence=(DecisionEvidence(kind="envelope", ref=command.id),),
            actor=command.human,
            at_ms=command.at_ms,
        )
        return Decision((*dropped, approved, record), _reply(state))

    # --- intents and decisions --------------------------------------------------------------------------

    def _admit(self, state: GovernanceState, command: commands.AdmitIntent) -> _GovernanceDecision:
        if state.mission is None or ("intent", command.id, command.cause) in state.passed:
            return Decision((), _reply(state))
        approver = state.approver(command.id, command.cause)
        if state.level == "block" and approver is None:
            return self._block(state, command)
        scored = self._scored(state, command, "intent", approver=approver)
        return self._judged(state, scored, [])

    def _block(self, state: GovernanceState, command: commands.AdmitIntent) -> _GovernanceDecision:
        reply = GovernanceReply(allowed=False, level=state.level)
        if (command.id, command.cause) in state.blocked:
            return Decision((), reply)
        dropped: list[GovernanceEvent] = []
        if len(state.blocked) >= MOST_BLOCKED:
            dropped.append(_dropped(*state.blocked[0], "blocked", command.at_ms))
        blocked = events.IntentBlocked(
            id=command.id, cause=command.cause, topic=_short(command.topic), at_ms=command.at_ms
        )
        return Decision((*dropped, blocked), reply)

    def _note(self, state: GovernanceState, command: commands.NoteDecision) -> _GovernanceDecision:
        if state.mission is None or ("decision", command.id, command.cause) in state.passed:
            return Decision((), _reply(state))
        scored = self._scored(state, command, "decision", choice=_short(command.choice))
        flip_flop = _flip_flop(state, scored)
        return self._judged(state, scored, [] if flip_flop is None else [flip_flop])

    def _scored(
        self,
        state: GovernanceState,
        command: commands.AdmitIntent | commands.NoteDecision,
        kind: Literal["intent", "decision"],
        *,
        choice: str = "",
        approver: str | None = None,
    ) -> events.AlignmentScored:
        assert state.mission is not None
        score = self.scorer.score(state.mission, command.text)
        return events.AlignmentScored(
            id=command.id,
            kind=kind,
            score=score.value,
            scorer=self.scorer.name,
            scorer_version=self.scorer.version,
            mission_version=state.mission.version,
            cause=command.cause,
            topic=_short(command.topic),
            choice=choice,
            goals=score.goals,
            forbidden=score.forbidden,
            approved_by=approver,
            at_ms=command.at_ms,
        )

    def _judged(
        self,
        state: GovernanceState,
        scored: events.AlignmentScored,
        seen: list[events.MissionDrift | events.FlipFlopSeen],
    ) -> _GovernanceDecision:
        after = self.apply(state, scored)
        level = after.course.level(state.level, after.rules)
        if level != state.level:
            seen.append(_drift(after, level, scored.at_ms))
        reply = GovernanceReply(
            level=level,
            score=scored.score,
            approved_by=scored.approved_by,
            reports=tuple(seen),
            average=after.course.average,
            baseline=after.course.baseline(after.rules),
            window=len(after.recent),
        )
        return Decision((scored, *seen), reply)


def _refused(state: GovernanceState, code: Refused) -> _GovernanceDecision:
    return Decision((), GovernanceReply(allowed=False, level=state.level, refused=code))


def _reply(state: GovernanceState) -> GovernanceReply:
    return GovernanceReply(level=state.level)


def _short(text: str) -> str:
    return text[: events.MOST_ID]


def _whose(state: GovernanceState, intent: str) -> events.Causer | None:
    """Whose intent an id means, if that is clear: the only one that is blocked, else the only one that passed."""
    blocked = {cause for one, cause in state.blocked if one == intent}
    passed = {cause for kind, one, cause in state.passed if (kind, one) == ("intent", intent)}
    found = blocked or passed
    return found.pop() if len(found) == 1 else None


def _dropped(
    intent: str, cause: events.Causer | None, what: Literal["approval", "blocked"], at_ms: int
) -> events.ApprovalDropped:
    return events.ApprovalDropped(id=intent, cause=cause, what=what, at_ms=at_ms)


def _with_score(state: GovernanceState, scored: events.AlignmentScored) -> GovernanceState:
    chosen = state.chosen
    if scored.kind == "decision":
        chosen = (*chosen, Chosen(id=scored.id, topic=scored.topic, choice=scored.choice))
    return msgspec.structs.replace(
        state,
        course=state.course.after(scored.score, state.rules),
        recent=(*state.recent, Scored(cause=scored.cause, score=scored.score))[-state.rules.window :],
        chosen=chosen[-state.rules.flip_flop_within :],
        passed=(*state.passed, (scored.kind, scored.id, scored.cause))[-MOST_PASSED:],
        approved=tuple(
            one for one in state.approved if one[0] != scored.id or one[2] not in {None, scored.cause}
        ),
        blocked=tuple(one for one in state.blocked if one != (scored.id, scored.cause)),
    )


def _flip_flop(state: GovernanceState, scored: events.AlignmentScored) -> events.FlipFlopSeen | None:
    """A -> B -> A on one topic within the last decisions, the one that was just scored being the last (DRIFT-4)."""
    if not scored.topic:
        return None
    within = state.chosen[-(state.rules.flip_flop_within - 1) :]
    same = [one for one in within if one.topic == scored.topic]
    if not same or same[-1].choice == scored.choice:
        return None
    between = same[-1]
    before = next((one for one in reversed(same) if one.choice == scored.choice), None)
    if before is None:
        return None
    return events.FlipFlopSeen(
        topic=scored.topic,
        choices=(before.choice, between.choice, scored.choice),
        decisions=(before.id, between.id, scored.id),
        cause=scored.cause,
        at_ms=scored.at_ms,
    )


def _drift(state: GovernanceState, level: Level, at_ms: int) -> events.MissionDrift:
    baseline = state.course.baseline(state.rules)
    short: dict[events.Causer, list[float]] = {}
    for one in state.recent:
        short.setdefault(one.cause, []).append(max(0.0, baseline - one.score))
    ranked = sorted(short.items(), key=lambda one: (-sum(one[1]), one[0].kind, one[0].id))
    return events.MissionDrift(
        level="cleared" if level == "clear" else level,
        score=state.course.average,
        baseline=baseline,
        window=len(state.recent),
        top_contributors=tuple(
            events.Contributor(cause=cause, shortfall=sum(falls), scores=len(falls))
            for cause, falls in ranked[:MOST_CONTRIBUTORS]
            if sum(falls) > 0
        ),
        at_ms=at_ms,
    )
