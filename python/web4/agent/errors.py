"""The errors of this room."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class AgentError(Web4Error):
    """The agent loop cannot do what it is asked."""

    codes = (
        ErrorCode("too_many_questions", "Too many questions wait for their answers.", "Nothing was sent."),
        ErrorCode("unknown_task", "No task of this name is waited for.", "The result is dropped."),
    )
