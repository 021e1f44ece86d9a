"""Errors of introducing peers to others."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class IntroductionError(Web4Error):
    """This node does not introduce this peer. Nothing was recorded or sent."""

    codes = (
        ErrorCode("subject_not_trusted", "It is not trusted here, or never came itself.", "Nothing is sent."),
        ErrorCode("wrong_key", "The key is not the one that the fingerprint names.", "Nothing is sent."),
        ErrorCode("lifetime", "An introduction lasts up to 24 hours.", "Nothing is sent."),
        ErrorCode("too_many", "As many introductions are standing as allowed.", "Nothing is sent."),
        ErrorCode("unknown_introduction", "No standing introduction has this id.", "Nothing is sent."),
    )
