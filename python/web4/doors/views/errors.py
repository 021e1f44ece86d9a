"""What goes wrong when something is looked for by the name that somebody gave it."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class UnknownName(Web4Error):  # noqa: N818 - it is an answer
    """What was named is not here, or is not one thing (UX-10)."""

    codes = (
        ErrorCode("unknown_name", "Nothing here has this name.", "Nothing is done."),
        ErrorCode("ambiguous_name", "More than one thing has a name that begins so.", "Nothing is done."),
        ErrorCode("name_too_short", "A prefix has eight digits at least.", "Nothing is done."),
    )


class NotNow(Web4Error):  # noqa: N818 - it is an answer
    """What was asked for exists only in a node that runs."""

    codes = (
        ErrorCode("needs_running", "Only a running node knows this.", "Nothing is done."),
        ErrorCode("not_in_use", "The node is set up without it.", "Nothing is done."),
    )


class ExportRefused(Web4Error):  # noqa: N818 - it is an answer
    """A file of evidence is not written. Nothing is left behind."""

    codes = (
        ErrorCode("nothing_kept", "There is nothing to write.", "No file is made."),
        ErrorCode("target_exists", "Something is at the target already.", "It is left alone."),
        ErrorCode("unwritable", "The target cannot be written.", "No file is left behind."),
        ErrorCode("too_much", "More bytes than go into one file.", "No file is made."),
    )
