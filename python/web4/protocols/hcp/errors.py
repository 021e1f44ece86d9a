"""The errors of this room (section 21): what stands between an agent and a human."""

from __future__ import annotations

from typing import ClassVar

from web4.foundation.errors import ErrorCode, Web4Error


class ConsentError(Web4Error):
    """A human, or the state a human is in, stands against it."""

    codes: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("door_required", "A human's act names no door that it came through (HCP-4).", "Not done."),
        ErrorCode("unknown_human", "No human of this name is known here.", "Not done."),
        ErrorCode(
            "human_known", "A human of this id is here, with another name or role.", "Nothing changed."
        ),
        ErrorCode("unknown_check_in", "No check-in of this name waits for an answer.", "Nothing changed."),
        ErrorCode(
            "too_many_humans", "As many humans are known as the limit allows.", "Refused; none is forgotten."
        ),
    )


class ConsentDenied(ConsentError):  # noqa: N818 - the name is the specification's
    """The gate says DENY (HCP-1), or a human said no."""

    codes = (
        ErrorCode("consent_revoked", "One of the two humans has revoked consent.", "Not done."),
        ErrorCode("no_consent", "No consent of one of the two humans is known.", "Not done."),
        ErrorCode("out_of_scope", "Consent is limited, and the topic outside its scope.", "Not done."),
        ErrorCode("peer_trust", "The peer is not trusted enough.", "Not done."),
        ErrorCode("social_trust", "The two humans have not come that far (HCP-8).", "Not done."),
        ErrorCode("declined", "The human was asked, and said no.", "Not done."),
    )


class PacingDeferred(ConsentError):  # noqa: N818 - the name is the specification's
    """Not now. Why is the human's own affair (HCP-11); `retry_after_ms` says when to ask again."""

    codes = (
        ErrorCode("human_deferred", "The gate says DEFER (HCP-1).", "Not done; nothing waits."),
        ErrorCode(
            "line_full", "As much waits for this human as may.", "Not done; what waits keeps its place."
        ),
        ErrorCode("no_answer", "Nobody answered the check-in in time (HCP-5).", "Deferred, not done."),
    )


class CheckInRequired(ConsentError):  # noqa: N818 - the name is the specification's
    """A human has to be asked first (HCP-5)."""

    codes = (ErrorCode("check_in_required", "The gate says CHECK_IN (HCP-1).", "Not done before a yes."),)
