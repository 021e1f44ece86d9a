"""The TrustFSM as pure functions (ACT-1): `decide` says what follows, `apply` rebuilds the record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict, TypeVar

from web4.foundation.logic import Decision
from web4.trust import guards
from web4.trust.commands import (
    Anchored,
    Conflict,
    Introduced,
    IntroducerLost,
    KnowledgeVerified,
    LocalAlignment,
    ManualOverride,
    OperatorBlock,
    OperatorPromote,
    TrustCommand,
    Unverifiable,
)
from web4.trust.events import Evidence, TrustEvent
from web4.trust.limits import TrustLimits
from web4.trust.record import TrustRecord
from web4.trust.table import TABLE, Cell, TrustEventName, TrustState

COOLDOWN = "cooldown"
"""The reason under which a handshake in cooldown is recorded (TRUST-3)."""


@dataclass(frozen=True, slots=True)
class TrustOutcome:
    """The answer to a trust command.

    Args:
        state: The peer's trust after it.
        event: What was recorded; None if nothing was.
        refused: Code of `TrustCommandError` or `TrustViolationError` when the command was not heard.
        retry_after_ms: For a handshake in cooldown: when the peer may try again, in milliseconds.
        unrecorded: The event that concerned a peer without a record and left it without one.
    """

    state: TrustState
    event: TrustEvent | None = None
    refused: str | None = None
    retry_after_ms: int | None = None
    unrecorded: TrustEventName | None = None


class _Consequences(TypedDict, total=False):
    cooldown_until_ms: int
    demotions: int
    unverifiable_at_ms: tuple[int, ...]
    grave_conflicts: int


_T = TypeVar("_T")
_OWN_WORD = frozenset({"anchored", "operator_promote"})


def _newer(value: _T | None, old: _T) -> _T:
    return old if value is None else value


def _is_operators(command: TrustCommand) -> bool:
    """Whether the operator said it: a flood of newcomers must not keep an operator from acting."""
    return isinstance(command, Anchored | OperatorPromote | OperatorBlock | ManualOverride)


def _actor(command: TrustCommand) -> str:
    """Who caused the event: a human's name, a fingerprint, the configuration, or this node itself."""
    match command:
        case OperatorPromote() | OperatorBlock() | ManualOverride():
            return command.human
        case Introduced() | IntroducerLost():
            return command.introducer
        case Unverifiable():
            return command.challenger
        case Anchored():
            return command.human or "configuration"
    return "node"


def _evidence(command: TrustCommand) -> tuple[Evidence, ...]:
    """What the command rests on: envelopes it cites, and the claims it speaks of."""
    match command:
        case LocalAlignment():
            keys: tuple[str, ...] = command.claim_keys
        case KnowledgeVerified() | Unverifiable() | Conflict():
            keys = (command.claim_key,)
        case _:
            keys = ()
    envelopes: tuple[Evidence, ...] = getattr(command, "evidence", ())
    return (*envelopes, *(Evidence(kind="claim", blake3=key) for key in keys))


def _introducer(state: TrustRecord, event: TrustEvent) -> str | None:
    """By whom a peer is here (KNOW-3): who raised it from `unknown`, until the operator says so too."""
    if event.event in _OWN_WORD:
        return None
    return event.actor if event.event == "introduced" and event.moved else state.introducer


@dataclass(frozen=True)
class TrustLogic:
    """Logic of the trust part of lane `peer:<fingerprint>`, for given limits."""

    limits: TrustLimits = field(default_factory=TrustLimits)
    initial: TrustRecord = field(default_factory=TrustRecord)

    def decide(self, state: TrustRecord, command: TrustCommand) -> Decision[TrustEvent, TrustOutcome]:
        """Look the event up in the table, guards included: one event at most, none without a record."""
        refused = guards.missing(command)
        if refused is not None:
            return Decision((), TrustOutcome(state.state, refused=refused))
        at_ms = max(command.at_ms, state.at_ms)
        name = guards.graded(state, command, self.limits)
        cell, reason = self._cell(state, command, name)
        if state.state == "unknown":
            if cell.to == "unknown":
                # A stranger's events leave nothing behind, or anyone could fill the node with records.
                return Decision((), TrustOutcome("unknown", unrecorded=name))
            if not command.newcomer_allowed and not _is_operators(command):
                return Decision((), TrustOutcome("unknown", refused="newcomer_limit"))
        event = TrustEvent(
            seq=state.seq + 1,
            from_=state.state,
            to=cell.to,
            event=name,
            reason=reason,
            actor=_actor(command),
            at_ms=at_ms,
            evidence=_evidence(command),
            **self._consequences(state, command, name, cell, at_ms),
        )
        left = guards.cooldown_left_ms(state, command.at_ms, self.limits) if reason == COOLDOWN else None
        return Decision((event,), TrustOutcome(cell.to, event=event, retry_after_ms=left))

    def apply(self, state: TrustRecord, event: TrustEvent) -> TrustRecord:
        """Give the record after `event`. Needs no limits: the event carries what the guards worked out."""
        cooldown_until_ms = _newer(event.cooldown_until_ms, state.cooldown_until_ms)
        demotions, demoted_at_ms = state.demotions, state.demoted_at_ms
        if event.demotions is not None:
            demotions, demoted_at_ms = event.demotions, event.at_ms
        if event.to == "trusted":
            demotions, demoted_at_ms = 0, 0
        if event.to != "untrusted":
            cooldown_until_ms = 0
        handshake = event.event == "handshake_ok" and event.reason != COOLDOWN
        revoked = event.event == "operator_block" or (state.revoked and event.to == "blacklisted")
        return TrustRecord(
            state=event.to,
            seq=event.seq,
            at_ms=event.at_ms,
            cooldown_until_ms=cooldown_until_ms,
            demotions=demotions,
            demoted_at_ms=demoted_at_ms,
            unverifiable_at_ms=_newer(event.unverifiable_at_ms, state.unverifiable_at_ms),
            grave_conflicts=_newer(event.grave_conflicts, state.grave_conflicts),
            handshaken=state.handshaken or handshake,
            revoked=revoked,
            newcomer_at_ms=event.at_ms if event.is_newcomer else state.newcomer_at_ms,
            evidence_bytes=state.evidence_bytes + sum(cited.size or 0 for cited in event.evidence),
            introducer=_introducer(state, event),
            counts={**state.counts, event.event: state.counts.get(event.event, 0) + 1},
        )

    def cooldown_left_ms(self, state: TrustRecord, at_ms: int) -> int:
        """Milliseconds until a handshake may raise the peer again (TRUST-3)."""
        return guards.cooldown_left_ms(state, at_ms, self.limits)

    def _cell(self, state: TrustRecord, command: TrustCommand, name: TrustEventName) -> tuple[Cell, str]:
        """The cell that applies once the guards have spoken, and the reason to record."""
        cell, stays = TABLE[name, state.state], Cell(state.state)
        reason = getattr(command, "reason", "") or name
        if cell.barred_by_cooldown and guards.cooldown_left_ms(state, command.at_ms, self.limits):
            return stays, COOLDOWN
        if isinstance(command, IntroducerLost) and state.handshaken:
            return stays, "handshaken_itself"
        if isinstance(command, IntroducerLost) and state.introducer not in {None, command.introducer}:
            return stays, "another_introducer"  # nobody takes down whom somebody else brought
        if isinstance(command, Unverifiable):
            recent = guards.unverifiable_within(state, command.at_ms, self.limits)
            if len(recent) < self.limits.unverifiable_count:
                return stays, f"{len(recent)} of {self.limits.unverifiable_count}"
        return cell, reason

    def _consequences(
        self, state: TrustRecord, command: TrustCommand, name: TrustEventName, cell: Cell, at_ms: int
    ) -> _Consequences:
        """What the event changes beside the state: cooldown and counts.

        A log's times never go back, but waits are by the clock as it is: one that was set back a day must not make a
        cooldown of a minute last a day.
        """
        changed: _Consequences = {}
        if cell.starts_cooldown:
            demotions = guards.demotions_so_far(state, at_ms, self.limits)
            if cell.to != state.state:
                demotions += 1
                changed["demotions"] = demotions
            changed["cooldown_until_ms"] = command.at_ms + guards.cooldown_ms(demotions, self.limits)
        if name == "unverifiable":
            recent = guards.unverifiable_within(state, command.at_ms, self.limits)
            # The third has had its effect: the next demotion takes three more.
            spent = len(recent) >= self.limits.unverifiable_count
            changed["unverifiable_at_ms"] = () if spent else recent
        if guards.is_grave(command, self.limits):
            changed["grave_conflicts"] = state.grave_conflicts + 1
        return changed
