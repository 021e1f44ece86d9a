"""What lane `peer:<fingerprint>` writes down of what it decides (MEM-1): an INTENT's first answer, moves of trust.

Records ride in the batch of the events that carry the decision out, and change nothing of the state. Their ids are
derived from what is decided on, so that whoever knows the peer and the message knows the decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.protocols.cip.outbox.entries import MessageSettled
from web4.protocols.decisions import (
    DecisionEvidence,
    DecisionOutcome,
    DecisionRecord,
    DecisionState,
    decision_outcome,
    decision_record,
    derive_decision_id,
)
from web4.trust import TrustEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.protocols.cip.actions import Delivery
    from web4.protocols.cip.intents import FirstStatus
    from web4.protocols.cip.outbox.entries import TakenState
    from web4.protocols.messages.fields import StateClaim

_ANSWERS: Final[tuple[FirstStatus, ...]] = ("accepted", "deferred", "refused")
_HUMANS_ACTS: Final = frozenset({"operator_promote", "operator_block", "manual_override"})


def intent_decision_id(peer: str, msg_id: str) -> str:
    """The id of the decision on an INTENT of `peer`."""
    return derive_decision_id("intent", peer, msg_id)


def trust_decision_id(peer: str, seq: int) -> str:
    """The id of the decision that is number `seq` in the trust log of `peer`."""
    return derive_decision_id("trust", peer, str(seq))


def intent_record(
    delivery: Delivery, status: FirstStatus, reason: str, *, state: StateClaim, at_ms: int
) -> DecisionRecord:
    """What was answered to an INTENT, and how things stood; `state` is this node's.

    What the peer wrote is not repeated: the record cites the envelope.
    """
    message = delivery.message
    return decision_record(
        decision_id=intent_decision_id(delivery.peer, message.msg_id),
        kind="intent",
        about=message.msg_id,
        choice=status,
        alternatives=[other for other in _ANSWERS if other != status],
        reasons=[reason] if reason else [],
        evidence=[DecisionEvidence(kind="envelope", ref=delivery.digest)],
        state=DecisionState(trust=delivery.trust, presence=state.presence, lri=state.lri),
        at_ms=at_ms,
    )


def records(
    peer: str, taken: TakenState, events: Iterable[object]
) -> tuple[DecisionRecord | DecisionOutcome, ...]:
    """What to write beside `events`: of trust that moved or was a human's act, and of accepted INTENTs that ended."""
    written: list[DecisionRecord | DecisionOutcome] = []
    for event in events:
        if isinstance(event, TrustEvent):
            if event.moved or event.event in _HUMANS_ACTS:
                written.append(_trust_record(peer, event))
        elif isinstance(event, MessageSettled):
            written.extend(_outcomes(peer, taken, event))
    return tuple(written)


def _trust_record(peer: str, event: TrustEvent) -> DecisionRecord:
    return decision_record(
        decision_id=trust_decision_id(peer, event.seq),
        kind="trust" if event.moved else "human",
        about=peer,
        choice=event.to,
        alternatives=[event.from_] if event.moved else [],
        reasons=list(dict.fromkeys((event.event, event.reason))),
        evidence=[DecisionEvidence(kind=cited.kind, ref=cited.blake3) for cited in event.evidence],
        state=DecisionState(trust=event.from_),
        actor=event.actor,
        at_ms=event.at_ms,
    )


def _outcomes(peer: str, taken: TakenState, event: MessageSettled) -> Iterable[DecisionOutcome]:
    for msg_id in event.msg_ids:
        message = taken.messages.get(msg_id)
        if message is not None and message.type == "INTENT" and message.answered:
            yield decision_outcome(
                decision_id=intent_decision_id(peer, msg_id),
                outcome=event.status,
                success=event.status == "handled",
                at_ms=event.at_ms,
            )
