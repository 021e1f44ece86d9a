"""Concluded exactly once: the first of many ends of a call is its end (EXT-3)."""

from __future__ import annotations

from typing import Any

import msgspec

from web4.extensions.outcome import Outcome


class Ending(msgspec.Struct, frozen=True):
    """How a call ended, before anything is known of how its worker did.

    `code` None is a success. `fatal` says that its worker must not live on, `unclean` that it takes no other call;
    `evidence` that the true cause is to be read from how the worker ended (EXT-28): `code` and `reason` are what is
    said when that tells nothing.
    """

    outcome: Outcome
    code: str | None = None
    reason: str | None = None
    value: Any = None
    data: Any = None
    side_effects: bool | None = None
    retryable: bool = False
    fatal: bool = False
    unclean: bool = False
    evidence: bool = False


class Conclusion:
    """Takes the first ending and no other. Counts what came after it."""

    __slots__ = ("ending", "refused")

    def __init__(self) -> None:
        self.ending: Ending | None = None
        self.refused = 0
        """Endings that came too late."""

    def __bool__(self) -> bool:
        return self.ending is not None

    def conclude(self, ending: Ending) -> bool:
        """Take `ending` if nothing was concluded yet; whether it was taken."""
        if self.ending is not None:
            self.refused += 1
            return False
        self.ending = ending
        return True
