"""When peers are told how this node is: pure (PACE-3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from web4.protocols.messages.fields import Presence

STEP: Final = 10
EVERY_MS: Final = 30_000
PAUSE_MS: Final = 500
"""At most 2 a second."""


@dataclass(frozen=True, slots=True)
class Told:
    """What peers were told last, and when (Unix milliseconds)."""

    presence: Presence
    lri: int
    at_ms: int


def tells(told: Told | None, presence: Presence, lri: int, at_ms: int) -> bool:
    """Whether peers are told now: presence changed, lri moved by 10, or 30 s passed.

    At most twice a second; only becoming overloaded does not wait for that. What has to wait is told by asking again.
    """
    if told is None:
        return True
    changed = presence != told.presence
    if changed and presence == "overloaded":
        return True
    passed_ms = at_ms - told.at_ms
    if 0 <= passed_ms < PAUSE_MS:
        return False
    return changed or abs(lri - told.lri) >= STEP or not 0 <= passed_ms < EVERY_MS
