"""What observers hear of claims and sources, once it is durable: keys and digests, no contents (OBS-2, OBS-5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from web4.journal.lane import KNOWLEDGE
from web4.protocols.knowledge.ledger import events

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.foundation.events import Emitter, Severity

_LANE: Final = str(KNOWLEDGE)


def report(emit: Emitter, told: Iterable[Any]) -> None:
    """Report what concerns observers among the events of a decision."""
    for event in told:
        match event:
            case events.ClaimProposed(key=key, proposal=proposal):
                emit(
                    "claim_pending" if event.opens else "claim_vote",
                    lane=_LANE,
                    peer=proposal.peer,
                    msg_id=proposal.msg_id,
                    protocol=proposal.route,
                    key=key,
                    kind="proposal",
                )
            case events.ClaimVoted(key=key, vote=vote):
                emit(
                    "claim_vote",
                    lane=_LANE,
                    peer=vote.peer,
                    msg_id=vote.msg_id,
                    protocol=vote.route,
                    key=key,
                    kind=vote.kind,
                )
            case events.ClaimChanged():
                _changed(emit, event)
            case events.TierChanged():
                emit(
                    "tier_changed",
                    severity="warning" if event.tier in {"low", "blocked"} else "info",
                    lane=_LANE,
                    state=event.tier,
                    domain=event.domain,
                    was=event.was,
                    rule=event.rule,
                    because=event.because,
                )
            case events.VoteUnparked(reason="expired" | "evicted"):
                emit("claim_vote", lane=_LANE, peer=event.peer, kind="parked_dropped", reason=event.reason)
            case events.ClaimForgotten():
                emit("claim_rejected", lane=_LANE, state=event.status, key=event.key, kind="forgotten")


def _changed(emit: Emitter, event: events.ClaimChanged) -> None:
    severity: Severity = "info"
    if event.was == "accepted" or event.reason == "evicted":
        severity = "warning"
    emit(
        f"claim_{event.status}",
        severity=severity,
        lane=_LANE,
        state=event.status,
        key=event.key,
        was=event.was,
        reason=event.reason,
        rule=event.rule,
        mode=event.mode,
        independent=event.independent,
        check=event.check,
        references=list(event.references),
        decision_id=event.decision_id,
        cause=event.cause,
    )
