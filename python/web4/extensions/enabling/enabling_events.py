"""What lane `server` records of extensions (EXT-40)."""

from __future__ import annotations

from typing import Final

import msgspec

from web4.extensions.enabling.asking import Asks
from web4.extensions.quarantine import BreakerState
from web4.journal.event_types import DataClass, EventType

MAX_NAMED: Final = 20
"""Files that one event names of each kind; the counts are of all."""
MAX_PATH: Final = 500
"""Characters of such a name; what is longer is cut."""


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all have: the extension's name, and Unix milliseconds that came with the command."""

    name: str
    at_ms: int


class ExtensionEnabled(_Event, frozen=True, kw_only=True):
    """A human enabled it: what it asks for was shown, what it is was pinned (EXT-7).

    Args:
        version: As the manifest says.
        digest: Of the directory.
        directory: Absolute and resolved.
        files: Name of the blob that holds the digest of every file.
        file_count: How many there are.
        asks: What was shown.
        by: Who: `operator` until there is a human's proof (AGT-83).
        how: Through which door.
        development: Whether its files may change without a human from now on.
    """

    version: str
    digest: str
    directory: str
    files: str
    file_count: int
    asks: Asks
    by: str
    how: str
    development: bool = False


class ExtensionDisabled(_Event, frozen=True, kw_only=True):
    """It is not started any more."""

    by: str
    reason: str | None = None


class ExtensionChanged(_Event, frozen=True, kw_only=True):
    """It is not what was enabled, and is not started: which files differ, the first of them by name.

    Args:
        digest: What was found; None when it could not be read.
        reason: Why it cannot be started, if that is not told by the files.
    """

    digest: str | None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    added_count: int = 0
    removed_count: int = 0
    changed_count: int = 0
    reason: str | None = None


class ExtensionReloaded(_Event, frozen=True, kw_only=True):
    """A new generation took over (EXT-39).

    Args:
        version: Of the new generation.
        digest: Of the directory it was started from.
        generation: Its number in the life of this node.
        asks: What it asks for; None when that is what was enabled.
    """

    version: str
    digest: str
    generation: int
    asks: Asks | None = None


class ExtensionQuarantined(_Event, frozen=True, kw_only=True):
    """It failed too often and is left alone (EXT-38)."""

    state: BreakerState


class ExtensionRestored(_Event, frozen=True, kw_only=True):
    """Its quarantine is over: `by` is the human who said so, None when its trial calls did."""

    by: str | None = None


ExtensionEvent = (
    ExtensionEnabled
    | ExtensionDisabled
    | ExtensionChanged
    | ExtensionReloaded
    | ExtensionQuarantined
    | ExtensionRestored
)
_TOLD: Final = frozenset({"by", "how", "reason", "added", "removed", "changed"})


def _type(name: str, struct: type[msgspec.Struct]) -> EventType:
    """All that decides what runs is structural: no hook of redaction may touch it."""
    classes: dict[str, DataClass] = {
        field: "retainable" if field in _TOLD else "structural" for field in struct.__struct_encode_fields__
    }
    return EventType(name=f"extension.{name}", struct=struct, classes=classes, refs={"extension": "name"})


EXTENSION_EVENTS: Final = (
    _type("enabled", ExtensionEnabled),
    _type("disabled", ExtensionDisabled),
    _type("changed", ExtensionChanged),
    _type("reloaded", ExtensionReloaded),
    _type("quarantined", ExtensionQuarantined),
    _type("restored", ExtensionRestored),
)
"""Every event type of this room on lane `server`."""
