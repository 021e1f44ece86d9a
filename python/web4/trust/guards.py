"""The guards of the table: what an event needs to count, and how often is too often (TRUST-2 to TRUST-5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from web4.trust.commands import (
    Anchored,
    AuthFailure,
    Conflict,
    HandshakeOk,
    Introduced,
    IntroducerLost,
    KnowledgeVerified,
    LocalAlignment,
    MaliciousEvidence,
    ManualOverride,
    OperatorBlock,
    OperatorPromote,
    TrustCommand,
    Unverifiable,
)

if TYPE_CHECKING:
    from web4.trust.limits import TrustLimits
    from web4.trust.record import TrustRecord
    from web4.trust.table import TrustEventName


def missing(command: TrustCommand) -> str | None:
    """The code of what `command` lacks to be heard at all, or None."""
    match command:
        case OperatorPromote() | OperatorBlock() | ManualOverride():
            if not command.human.strip():
                return "human_required"
            code, complete = "reason_required", bool(command.reason.strip())
        case Introduced():
            code, complete = "introducer_not_trusted", command.introducer_state == "trusted"
        case AuthFailure():
            code, complete = "session_required", bool(command.session_id)
        case MaliciousEvidence():
            code, complete = "evidence_required", bool(command.evidence)
        case LocalAlignment():
            code, complete = "evidence_required", len(set(command.claim_keys)) >= 2
        case KnowledgeVerified() | Unverifiable() | Conflict():
            code, complete = "evidence_required", bool(command.claim_key)
        case Anchored():
            if bool(command.human.strip()) != bool(command.reason.strip()):
                return "reason_required" if command.human.strip() else "human_required"
            return None
        case HandshakeOk() | IntroducerLost():
            return None
        case _:
            assert_never(command)
    return None if complete else code


def is_grave(command: TrustCommand, limits: TrustLimits) -> bool:
    """Whether this conflict is one of those of which the third is severe (TRUST-4)."""
    return (
        isinstance(command, Conflict)
        and command.confidence >= limits.grave_confidence
        and command.confirmers >= limits.grave_confirmers
    )


def graded(record: TrustRecord, command: TrustCommand, limits: TrustLimits) -> TrustEventName:
    """The event that `command` amounts to: the third grave conflict is severe, if it comes with evidence.

    Every later grave conflict is severe too; an override forgives the blacklisting, not the count.
    """
    severe = (
        isinstance(command, Conflict)
        and command.evidence
        and is_grave(command, limits)
        and record.grave_conflicts + 1 >= limits.grave_count
    )
    return "severe_conflict" if severe else command.event


def unverifiable_within(record: TrustRecord, at_ms: int, limits: TrustLimits) -> tuple[int, ...]:
    """Times of the `unverifiable` that count together with one at `at_ms`, itself included.

    Those of a time that is not yet, by more than the window, are of a clock that was set back since.
    """
    window = limits.unverifiable_window_ms
    return (*(then for then in record.unverifiable_at_ms if abs(at_ms - then) <= window), at_ms)


def demotions_so_far(record: TrustRecord, at_ms: int, limits: TrustLimits) -> int:
    """Demotions that still double the cooldown: none after a long time without one (TRUST-3)."""
    return record.demotions if at_ms - record.demoted_at_ms < limits.cooldown_reset_ms else 0


def cooldown_left_ms(record: TrustRecord, at_ms: int, limits: TrustLimits) -> int:
    """Milliseconds until a handshake may raise a peer again; 0 if it may now.

    More than twice the cooldown is left only to a clock that was set back since: then nobody knows how long it was, and
    the peer does not wait for the clock to come there again (TRUST-3).
    """
    if record.state != "untrusted":
        return 0
    left = record.cooldown_until_ms - at_ms
    return left if 0 < left <= 2 * cooldown_ms(record.demotions, limits) else 0


def cooldown_ms(demotions: int, limits: TrustLimits) -> int:
    """Length of the cooldown of the `demotions`-th demotion, counted from 1."""
    doublings = min(max(0, demotions - 1), 32)  # beyond any cap; keeps the number small
    return min(limits.cooldown_ms << doublings, limits.cooldown_cap_ms)
