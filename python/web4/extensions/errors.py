"""Errors of extensions: mistakes of a caller or an operator. What a worker does wrong is data (EXT-4)."""

from __future__ import annotations

from typing import ClassVar

from web4.foundation.errors import ErrorCode, Web4Error


class ExtensionError(Web4Error):
    """Base of what goes wrong between a caller and its extensions."""

    codes: ClassVar[tuple[ErrorCode, ...]] = ()


class ManifestError(ExtensionError):
    """A directory that is no extension, or asks for what it may not (EXT-5, EXT-24). Names the key."""

    codes = (
        ErrorCode(
            "manifest",
            "The manifest is missing, twice there, unreadable, or does not fit.",
            "Nothing is started.",
        ),
        ErrorCode("ceiling", "It asks for more than the node's ceilings.", "It is not enabled."),
        ErrorCode("grant", "It asks for a path that is never granted (EXT-31).", "It is not enabled."),
    )


class EnablingError(ExtensionError):
    """An extension that cannot be enabled, or is not (EXT-6 to EXT-8)."""

    codes = (
        ErrorCode("name_twice", "Two places hold an extension of this name.", "Neither is started."),
        ErrorCode("name_clash", "A tool or command of this name is there already.", "It is not enabled."),
        ErrorCode("not_enabled", "No human enabled it.", "Nothing is started."),
        ErrorCode("not_found", "No place that is searched holds it.", "Nothing is started."),
        ErrorCode(
            "digest_changed", "It is not what was shown when it was to be enabled.", "It is not enabled."
        ),
        ErrorCode("changed", "It is not what was enabled (EXT-7).", "It is not started."),
        ErrorCode("too_many", "As many extensions as a node takes are enabled.", "It is not enabled."),
    )


class TreeError(ExtensionError):
    """A directory of an extension that cannot be pinned (EXT-7)."""

    codes = (
        ErrorCode("tree_unreadable", "Something in it cannot be read, or is gone.", "It is not enabled."),
        ErrorCode("tree_special", "A pipe, a socket or a device is in it.", "It is not enabled."),
        ErrorCode("tree_escape", "A link in it leads out, or to what is not pinned.", "It is not enabled."),
        ErrorCode("tree_name", "A name in it is no plain text.", "It is not enabled."),
        ErrorCode("tree_too_large", "It holds more than a bound allows.", "It is not enabled."),
        ErrorCode("tree_restless", "It changes while it is read.", "It is not enabled."),
    )


class ExtensionsConfigurationError(ExtensionError):
    """What `web4.toml` says of extensions does not fit (UX-36). Names the key, and the line if it is found."""

    codes = (
        ErrorCode(
            "configuration", "The file is unreadable, or a key or value does not fit.", "Nothing is started."
        ),
    )


class CallError(ExtensionError):
    """A call that was refused before it was one: nothing was requested of any worker."""

    codes = (
        ErrorCode(
            "unknown_operation",
            "No enabled extension has it, or more than one (EXT-8).",
            "Nothing is called.",
        ),
        ErrorCode("arguments", "The arguments do not fit the input schema.", "Nothing is called."),
        ErrorCode("host_closed", "The node is leaving.", "Nothing is called."),
    )


class WorkerStartError(ExtensionError):
    """A worker did not start. The calls that waited for it conclude with the same code."""

    codes = (
        ErrorCode(
            "extension_start_failed", "The process, its program or its module did not start.", "It is reaped."
        ),
        ErrorCode("extension_start_timeout", "It was not ready in time.", "Its whole tree is killed."),
        ErrorCode(
            "extension_protocol_error", "Its first words were not those of its manifest.", "It is killed."
        ),
        ErrorCode("extension_unprotected", "A protection is missing (EXT-32).", "No line of it ran."),
        ErrorCode(
            "extension_changed", "Its files are not those that were enabled (EXT-7).", "It is not started."
        ),
    )
