"""Lane `server` as far as extensions are concerned: their part of it, and its state read from a journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.actors.composite import CompositeLane, Part, composite_lane
from web4.actors.definition import LaneDefinition, Origin
from web4.actors.rebuilding import rebuild
from web4.extensions.enabling.enabling_events import EXTENSION_EVENTS, ExtensionEvent
from web4.extensions.enabling.enabling_logic import (
    Disable,
    Enable,
    EnablingReply,
    ExtensionCommand,
    ExtensionsLogic,
    ExtensionsState,
    NoteBreaker,
    NoteChanged,
    NoteReloaded,
)
from web4.journal.lane import SERVER

if TYPE_CHECKING:
    from web4.journal.journal import Journal

LOGIC_VERSION: Final = 1


class ExtensionsDefinition(LaneDefinition[ExtensionsState, ExtensionCommand, ExtensionEvent, EnablingReply]):
    """What the extensions' part of lane `server` consists of."""

    def origin(self, command: ExtensionCommand) -> Origin:
        """A human's act is recorded on their behalf."""
        human = command.by if isinstance(command, Enable | Disable | NoteBreaker) else None
        return Origin(command.at, principal=human)


EXTENSIONS: Final = Part(
    "extensions",
    ExtensionsDefinition(
        logic=ExtensionsLogic(), state=ExtensionsState, events=EXTENSION_EVENTS, version=LOGIC_VERSION
    ),
    (Enable, Disable, NoteChanged, NoteReloaded, NoteBreaker),
)
"""The extensions' part of lane `server`."""

EXTENSIONS_ONLY: Final = composite_lane(EXTENSIONS, sole=EXTENSIONS.name)
"""Lane `server` of a node that has extensions and no mesh. `web4.mesh.server_lane.SERVER_LANE` has all parts."""


async def extensions_state(journal: Journal, definition: CompositeLane = EXTENSIONS_ONLY) -> ExtensionsState:
    """Which extensions are enabled, read from a journal that others may be writing.

    Args:
        journal: Its lane `server` is read.
        definition: Of the lane: with every part that may have written there.

    Raises:
        CorruptJournalError: The lane cannot be rebuilt.
        JournalError: It cannot be read.
    """
    for one in definition.events:
        journal.registry.register(one)
    return EXTENSIONS.of((await rebuild(journal, SERVER, definition)).state)
