"""What keeps a node from starting."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class ConfigurationError(Web4Error):
    """The configuration does not fit. The message names the file, and the line where that is known."""

    codes = (
        ErrorCode("configuration", "A file cannot be read, or is no TOML.", "The node does not start."),
        ErrorCode(
            "configuration_key", "There is no such key; the nearest is named.", "The node does not start."
        ),
        ErrorCode("configuration_value", "A value is not of its kind.", "The node does not start."),
    )


class DirectoryError(Web4Error):
    """The data directory cannot be one."""

    codes = (
        ErrorCode(
            "no_node", "There is no identity in this directory.", "Nothing is started; `web4 init` makes one."
        ),
        ErrorCode(
            "rotation_unfinished",
            "The key was being rotated, and that was interrupted.",
            "Nothing is started or made; `web4 id rotate` goes on with it.",
        ),
        ErrorCode(
            "identity_changed", "The key was rotated while the node started.", "The node does not start."
        ),
        ErrorCode(
            "foreign_journal",
            "The journal was written by another key than the one in the directory.",
            "Nothing is started or written; key and journal go together.",
        ),
        ErrorCode("own_peer", "A node is not a peer of itself.", "Nothing is written."),
        ErrorCode("identity_exists", "There is an identity in this directory already.", "It is not touched."),
        ErrorCode("not_a_directory", "There is something else of this name.", "Nothing is made or started."),
        ErrorCode(
            "directory_permissions", "Others may write to the directory (UX-37).", "Nothing is started."
        ),
    )
