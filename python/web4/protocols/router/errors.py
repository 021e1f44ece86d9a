"""The errors of this room."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class RegistrationError(Web4Error):
    """A handler cannot be registered like that: a mistake in the program (ROUTE-1)."""

    codes = (
        ErrorCode("unknown_type", "There is no such type of this protocol.", "Nothing is registered."),
        ErrorCode(
            "not_routed",
            "The type is handled by sessions, the outbox or the mesh; it never comes to a handler.",
            "Nothing is registered.",
        ),
    )


class HandlerError(Web4Error):
    """A handler did not do its work (ROUTE-5)."""

    codes = (
        ErrorCode("handler_failed", "A handler raised, or gave no result.", "The message is a dead letter."),
        ErrorCode("handler_timeout", "A handler was not done in time.", "The message is a dead letter."),
    )
