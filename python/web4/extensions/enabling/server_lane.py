"""Lane `server` as far as extensions are concerned: its definition, and its state read from a journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
)
from web4.journal.lane import SERVER

if TYPE_CHECKING:
    from web4.journal.journal import Journal

LOGIC_VERSION: Final = 1


class ServerDefinition(LaneDefinition[ExtensionsState, ExtensionCommand, ExtensionEvent, EnablingReply]):
    """What lane `server` consists of: so far it holds extensions, and what the runtime itself says."""

    def origin(self, command: ExtensionCommand) -> Origin:
        """A human's act is recorded on their behalf."""
        human = command.by if isinstance(command, Enable | Disable | NoteBreaker) else None
        return Origin(command.at, principal=human)


SERVER_LANE: Final = ServerDefinition(
    logic=ExtensionsLogic(), state=ExtensionsState, events=EXTENSION_EVENTS, version=LOGIC_VERSION
)
"""Pass it to `open_lane_actors` as the definition of kind `server`."""


async def extensions_state(journal: Journal) -> ExtensionsState:
    """Which extensions are enabled, read from a journal that others may be writing.

    Raises:
        CorruptJournalError: The lane cannot be rebuilt.
        JournalError: It cannot be read.
    """
    for one in EXTENSION_EVENTS:
        journal.registry.register(one)
    return (await rebuild(journal, SERVER, SERVER_LANE)).state
