"""What a lane's refusal is raised, or answered, as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.protocols.hcp.errors import CheckInRequired, ConsentDenied, ConsentError, PacingDeferred
from web4.protocols.hcp.gate import DEFER_MS
from web4.protocols.hcp.values import PACE_MS

if TYPE_CHECKING:
    from web4.protocols.hcp.lane.replies import Reply

_TEXTS: Final = {
    "consent_revoked": "one of the two humans has revoked consent",
    "no_consent": "no consent of one of the two humans is known",
    "out_of_scope": "consent does not cover this topic",
    "peer_trust": "the peer is not trusted enough",
    "social_trust": "the two humans have not come that far with each other",
    "declined": "the human was asked, and said no",
    "human_deferred": "not now",
    "no_answer": "the human was asked, and did not answer in time",
    "line_full": "as much waits for this human as may",
    "unknown_human": "no human of this name is known here",
    "unknown_check_in": "no check-in of this name waits for an answer",
    "door_required": "a human's act names the door that it came through",
    "too_many_humans": "as many humans are known as may be",
}
_DENIED: Final = frozenset(one.code for one in ConsentDenied.codes)
_DEFERRED: Final = {"human_deferred": DEFER_MS, "no_answer": DEFER_MS, "line_full": PACE_MS}
_OTHERS: Final = frozenset(one.code for one in ConsentError.codes)


def refused(reply: Reply, *, peer: str | None = None, msg_id: str | None = None) -> ConsentError:
    """The error of a reply that is a refusal."""
    verdict = reply.verdict
    if reply.status == "ended":
        return refusal_of(reply.how or "", peer=peer, msg_id=msg_id)
    if reply.status != "stopped" or verdict is None:
        return refusal_of(reply.status, peer=peer, msg_id=msg_id)
    if verdict.result == "DENY":
        return refusal_of(verdict.code, peer=peer, msg_id=msg_id)
    return PacingDeferred(
        _TEXTS["human_deferred"], peer=peer, msg_id=msg_id, retry_after_ms=verdict.retry_after_ms
    )


def refusal_of(code: str, *, peer: str | None = None, msg_id: str | None = None) -> ConsentError:
    """The error of this code; of one that is not this room's, that it was not done now."""
    text = _TEXTS.get(code, "it was not done")
    if code in _DENIED:
        return ConsentDenied(text, code=code, peer=peer, msg_id=msg_id)
    if code in _OTHERS:
        return ConsentError(text, code=code, peer=peer, msg_id=msg_id)
    if code == "asked":
        return CheckInRequired("a human has to be asked first", peer=peer, msg_id=msg_id)
    known = code if code in _DEFERRED else "human_deferred"
    return PacingDeferred(text, code=known, peer=peer, msg_id=msg_id, retry_after_ms=_DEFERRED[known])
