"""What goes wrong between a user and the command line."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class CommandError(Web4Error):
    """A command that cannot be carried out as it was given."""

    codes = (
        ErrorCode("usage", "The command line cannot be understood.", "Nothing is done."),
        ErrorCode("lane_not_found", "Nobody has written this lane.", "Nothing is done."),
        ErrorCode("not_for_bundles", "A bundle is given, and the verb needs a journal.", "Nothing is done."),
        ErrorCode(
            "kind_unknown", "The events of a lane are not known to this installation.", "Nothing is done."
        ),
        ErrorCode("target_exists", "Something is at the target already.", "It is left alone."),
        ErrorCode("human_needed", "A person has to agree, and none can be asked here.", "Nothing is done."),
    )
