"""The mission guard: asked before an intent is accepted, told what was decided (DRIFT-1 to DRIFT-5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.actors.definition import LaneDefinition, Origin
from web4.foundation.clock import SystemClock
from web4.foundation.events import no_events
from web4.foundation.ids import SystemIds
from web4.governance import commands
from web4.governance.errors import ApprovalRefused, MissionRefused
from web4.governance.events import GOVERNANCE_EVENTS, Causer, FlipFlopSeen
from web4.governance.judging import DriftRules
from web4.governance.logic import GovernanceLogic
from web4.governance.mission import read_mission
from web4.governance.readable import LOGIC_VERSION
from web4.governance.scoring import TermOverlap, text_of
from web4.governance.state import GovernanceState
from web4.journal.lane import GOVERNANCE

if TYPE_CHECKING:
    from collections.abc import Collection

    from web4.actors.lane_actors import LaneActors
    from web4.actors.lane_ref import LaneRef
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter, Severity
    from web4.foundation.ids import IdSource
    from web4.governance.commands import GovernanceCommand
    from web4.governance.events import MissionDrift
    from web4.governance.judging import Level
    from web4.governance.logic import GovernanceReply
    from web4.governance.mission import Mission
    from web4.governance.scoring import Scorer

_SEVERITIES: Final[dict[str, Severity]] = {"warn": "warning", "block": "error", "cleared": "info"}

__all__ = ["Admission", "Causer", "MissionGuard"]


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to whether an intent may be accepted.

    Args:
        allowed: Whether it may. If not, a human can approve it; asked again then, it may.
        level: Where drift stands.
        score: Its alignment; None if it was scored before, or there is no mission, or it may not be accepted.
        approved_by: The human by whose word it passes a block.
    """

    allowed: bool
    level: Level
    score: float | None = None
    approved_by: str | None = None


class _GovernanceLane(LaneDefinition[Any, Any, Any, Any]):
    def origin(self, command: GovernanceCommand) -> Origin:
        """See `LaneDefinition.origin`: a human's acts are on that human's behalf."""
        return Origin(command.at_ms, principal=getattr(command, "human", None) or None)


class MissionGuard:
    """Lane `governance` and its questions.

    Give `definition` to `open_lane_actors` under `governance`, then call `bind`.

    Args:
        signers: The fingerprints whose missions this node heeds: its own, or its operator's.
        scorer: How words are scored; term overlap unless another is given.
        clock: Gives the time that commands bring.
        ids: Gives the ids of decision records.
        emit: Told of `mission_drift`, once that is durable. If who asked was cancelled meanwhile, nobody is told; the
            lane has all of them.
    """

    def __init__(
        self,
        *,
        signers: Collection[str],
        scorer: Scorer | None = None,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        emit: Emitter = no_events,
    ) -> None:
        self.definition = _GovernanceLane(
            logic=GovernanceLogic(scorer or TermOverlap()),
            state=GovernanceState,
            events=GOVERNANCE_EVENTS,
            version=LOGIC_VERSION,
        )
        self._signers = frozenset(signers)
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._emit = emit
        self._lane: LaneRef | None = None

    def bind(self, actors: LaneActors) -> None:
        """Use the lane actors that `definition` was given to."""
        self._lane = actors.lane(GOVERNANCE)

    async def state(self) -> GovernanceState:
        """Mission, level, course and blocked intents, as they are durable.

        Raises:
            JournalError, ActorError: As `LaneRef.state`.
        """
        state: GovernanceState = await self._bound().state()
        return state

    async def adopt(self, document: bytes, *, human: str, rules: DriftRules | None = None) -> Mission:
        """Verify a signed mission document and adopt it, in a human's name (DRIFT-1).

        Scores begin anew with it, and nothing is blocked. Cancellation: it may be adopted all the same.

        Args:
            document: As `sign_mission` writes it.
            human: Who adopts it.
            rules: What drift is judged by from now on.

        Raises:
            MissionRefused: It is none, not signed by one who is heeded, not newer, or no human is named.
            ValueError: The rules are out of range.
            JournalError, ActorError: As `LaneRef.ask`.
        """
        mission = read_mission(document, signers=self._signers)
        checked = msgspec.convert(msgspec.to_builtins(rules or DriftRules()), DriftRules)
        reply = await self._ask(
            commands.AdoptMission(
                mission=mission,
                rules=checked,
                human=human,
                decision_id=self._ids.uuid4(),
                at_ms=self._clock.wall_ms(),
            )
        )
        if reply.refused is not None:
            what = {
                "mission_outdated": "the node has this mission, or a newer one",
                "mission_human": "adopting a mission needs a named human",
            }
            raise MissionRefused(what[reply.refused], code=reply.refused)
        return mission

    async def admit(self, intent_id: str, *, cause: Causer, topic: str, words: Any = "") -> Admission:
        """Say whether an intent may be accepted, and score it if it may (DRIFT-2, DRIFT-3).

        Ask last, when nothing else stands against it: what is admitted counts as accepted. Asked about the same id
        again, it answers the same and scores nothing. Cancellation: it may have been scored all the same.

        Args:
            intent_id: Its `msg_id`.
            cause: The peer or human who wants it.
            topic: What it is about.
            words: What else there is to read of it, any JSON: its context.

        Raises:
            JournalError, ActorError: As `LaneRef.ask`: it is not known whether it may be accepted; defer it.
        """
        reply = await self._ask(
            commands.AdmitIntent(
                id=intent_id,
                cause=cause,
                topic=topic,
                text=text_of(topic, words),
                at_ms=self._clock.wall_ms(),
            )
        )
        return Admission(reply.allowed, reply.level, reply.score, reply.approved_by)

    async def decided(
        self, decision_id: str, *, cause: Causer, topic: str, choice: str, words: Any = ""
    ) -> Admission:
        """Score a decision of the agent, or of a person through it, and look for flip-flops (DRIFT-2, DRIFT-4).

        For decisions that are made in words; what the ledger or a trust machine decides by rule says nothing of a
        mission. Once per id. Cancellation: it may have been scored all the same.

        Args:
            decision_id: Of its record (MEM-1).
            cause: Who caused it.
            topic: What it is about: decisions on one topic are compared.
            choice: What was chosen.
            words: What else there is to read of it, any JSON: reasons, alternatives not taken left out.

        Raises:
            JournalError, ActorError: As `LaneRef.ask`.
        """
        reply = await self._ask(
            commands.NoteDecision(
                id=decision_id,
                cause=cause,
                topic=topic,
                choice=choice,
                text=text_of(topic, choice, words),
                at_ms=self._clock.wall_ms(),
            )
        )
        return Admission(reply.allowed, reply.level, reply.score)

    async def approve(self, intent_id: str, *, human: str, reason: str, cause: Causer | None = None) -> None:
        """Let an intent through, in a human's name, whatever the level is (DRIFT-3). It is still scored.

        Args:
            intent_id: Its `msg_id`.
            human: Who lets it through.
            reason: Why.
            cause: Whose intent it is: senders choose their ids. It may be left out if one of this id is blocked.

        Raises:
            ApprovalRefused: No human, no reason, it is not clear whose intent is meant, or it has passed.
            JournalError, ActorError: As `LaneRef.ask`.
        """
        reply = await self._ask(
            commands.ApproveIntent(
                id=intent_id,
                cause=cause,
                human=human,
                reason=reason,
                decision_id=self._ids.uuid4(),
                at_ms=self._clock.wall_ms(),
            )
        )
        if reply.refused is not None:
            what = {
                "approver_required": "an approval names the human who gives it",
                "approval_reason": "an approval gives a reason",
                "whose_intent": "say whose intent is meant: none of this id is blocked, or several are",
                "already_passed": "this intent was let through before",
                "too_long": "the id or the name is too long",
            }
            raise ApprovalRefused(what[reply.refused], code=reply.refused)

    async def _ask(self, command: GovernanceCommand) -> GovernanceReply:
        reply: GovernanceReply = await self._bound().ask(command)
        for report in reply.reports:
            self._report(report, reply)
        return reply

    def _report(self, report: MissionDrift | FlipFlopSeen, reply: GovernanceReply) -> None:
        """Emit `mission_drift`; a flip-flop is one of a kind of its own (DRIFT-4, OBS-2)."""
        shared: dict[str, Any] = {"lane": str(GOVERNANCE)}
        if isinstance(report, FlipFlopSeen):
            self._emit(
                "mission_drift",
                severity="warning",
                **shared,
                kind="flip_flop",
                level=reply.level,
                score=reply.average,
                baseline=reply.baseline,
                window=reply.window,
                top_contributors=({"kind": report.cause.kind, "id": report.cause.id},),
                topic=report.topic,
            )
            return
        self._emit(
            "mission_drift",
            severity=_SEVERITIES[report.level],
            **shared,
            kind="level",
            level=report.level,
            score=report.score,
            baseline=report.baseline,
            window=report.window,
            top_contributors=tuple(
                {
                    "kind": one.cause.kind,
                    "id": one.cause.id,
                    "shortfall": one.shortfall,
                    "scores": one.scores,
                }
                for one in report.top_contributors
            ),
        )

    def _bound(self) -> LaneRef:
        if self._lane is None:
            raise RuntimeError("the mission guard is not bound to lane actors")
        return self._lane
