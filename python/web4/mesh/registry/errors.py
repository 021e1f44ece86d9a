"""Errors of the peer registry and of the peers file."""

from __future__ import annotations

from web4.foundation.errors import ErrorCode, Web4Error


class AddressError(Web4Error):
    """What should be the address of a peer is none."""

    codes = (
        ErrorCode("bad_address", "It is no address of its transport.", "Nothing was dialled or kept."),
        ErrorCode(
            "unknown_scheme", "No transport of this node has this scheme.", "Nothing was dialled or kept."
        ),
        ErrorCode("local_address", "A place of this machine cannot be told to others.", "Refused."),
        ErrorCode("another_peer", "The address names another peer.", "Nothing was dialled or kept."),
        ErrorCode(
            "not_public",
            "An introduced address is not public, and its introducer is not reached there.",
            "Nothing was dialled.",
        ),
        ErrorCode("own_address", "An introduced address is one of this node's own.", "Nothing was dialled."),
        ErrorCode(
            "privileged_port",
            "An introduced address has a port below 1024 other than 443.",
            "Nothing was dialled or kept.",
        ),
    )


class PeersFileError(Web4Error):
    """The peers file does not fit, or cannot be read or written. The message names the line where that is known.

    Args:
        line: Line of the file, counted from 1.
    """

    codes = (
        ErrorCode("unreadable", "The file cannot be read.", "The node does not start."),
        ErrorCode("syntax", "The file is no TOML.", "The node does not start."),
        ErrorCode("unknown_key", "A key that peers do not have.", "The node does not start."),
        ErrorCode("value", "A value is missing, or not of its kind.", "The node does not start."),
        ErrorCode("address", "An address does not fit.", "The node does not start."),
        ErrorCode(
            "duplicate", "A name or fingerprint stands there twice.", "Nothing is written, or started."
        ),
        ErrorCode("too_many", "More peers than a file may hold.", "Nothing is written, or started."),
        ErrorCode("unknown_peer", "No peer of this name or fingerprint is there.", "Nothing is written."),
        ErrorCode("unwritable", "The file could not be written.", "What was there is still there."),
    )

    def __init__(self, message: str, *, code: str, field: str | None = None, line: int | None = None) -> None:
        super().__init__(message, code=code, field=field)
        self.line = line


class RegistryError(Web4Error):
    """The peer registry does not take a peer."""

    codes = (
        ErrorCode("registry_full", "As many peers are known as the limit allows.", "The peer is not kept."),
        ErrorCode("own_fingerprint", "It is this node itself.", "Nothing is kept."),
        ErrorCode("unknown_peer", "The registry has no such peer.", "Nothing changed."),
    )
