"""The errors of this room."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class TrustViolationError(Web4Error):
    """A peer asked for more than its trust, handshake or agreed capabilities allow (VAL-1, step 11)."""

    codes = (
        ErrorCode("gate", "the sender's trust does not admit this type", "refused; nothing was handled"),
        ErrorCode("handshake", "the session's handshake is not complete", "refused; nothing was handled"),
        ErrorCode("capability", "the capability was not agreed", "refused; nothing was handled"),
        ErrorCode("newcomer_limit", "too many new peers this hour", "refused without a record; retry later"),
    )


class TrustCommandError(Web4Error):
    """A trust command lacks what its event requires. Nothing was recorded."""

    codes = (
        ErrorCode("human_required", "an operator act names no human", "nothing recorded"),
        ErrorCode("reason_required", "an operator act gives no reason", "nothing recorded"),
        ErrorCode("evidence_required", "the event must cite evidence", "nothing recorded"),
        ErrorCode("session_required", "no authenticated session is named", "nothing recorded"),
        ErrorCode("introducer_not_trusted", "the introducer is not trusted here", "nothing recorded"),
    )
