"""What goes wrong at the control socket, on either side of it."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class ControlError(Web4Error):
    """The socket cannot be served, or not be reached."""

    codes = (
        ErrorCode(
            "socket_in_use", "Another node holds this socket (NDJ-7).", "Not opened; nothing is touched."
        ),
        ErrorCode("socket_path", "The path of a socket has 107 bytes at most (NDJ-4).", "Not opened."),
        ErrorCode(
            "socket_permissions",
            "The socket's directory is somebody else's, or others may write to it (NDJ-5).",
            "Not opened.",
        ),
        ErrorCode("not_running", "No node serves this socket.", "Nothing was asked."),
        ErrorCode(
            "disconnected", "The node went away, or closed the connection.", "The outcome is not known."
        ),
        ErrorCode("line_too_long", "A command has more bytes than a line may (NDJ-8).", "Nothing was asked."),
        ErrorCode("no_answer", "The node has not answered in time.", "It may do it all the same (NDJ-25)."),
        ErrorCode(
            "still_stopping", "A node that was told to stop has not ended in time.", "It goes on stopping."
        ),
        ErrorCode("bad_answer", "What came is no answer of this protocol.", "The connection is closed."),
    )


class CommandRefused(Web4Error):  # noqa: N818 - a refusal is an answer
    """A command that this node does not do, in the words of NDJ-16 and NDJ-18."""

    codes = (
        ErrorCode("invalid_command", "The line cannot be decoded, or there is no such command.", "Not done."),
        ErrorCode("invalid_payload", "A key of the payload is missing or of a wrong type.", "Not done."),
        ErrorCode("command_rejected", "Well formed, but not possible now.", "Not done."),
        ErrorCode("timeout", "The answer was not ready in time.", "It may be done all the same (NDJ-25)."),
        ErrorCode(
            "internal_error", "The handler failed unexpectedly.", "The connection goes on; an event says so."
        ),
    )


class CommandFailed(Web4Error):  # noqa: N818 - it tells what a node answered
    """The node refused a command; `cause` has the stable code, as `Class: code`, where a room of the node refused."""

    codes = (ErrorCode("refused", "The node refused the command.", "Not done; see `cause`."),)

    def __init__(self, message: str, *, error: str, cause: str | None) -> None:
        super().__init__(message)
        self.error = error
        """The wire's error code (section 5)."""
        self.cause = cause

    @property
    def origin(self) -> tuple[str, str]:
        """Class and code of the error as the node raised it; the door's own where no room did."""
        name, _, code = (self.cause or "").partition(": ")
        return (name, code) if code else ("CommandRefused", self.error)
