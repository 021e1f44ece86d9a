"""What a peer's lane raises when its journal does not take what was decided."""

from __future__ import annotations

from typing import Final

from web4.actors.errors import ActorError
from web4.journal.errors import JournalError

LANE_ERRORS: Final = (JournalError, ActorError)
"""The session that asked ends."""
