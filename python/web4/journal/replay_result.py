"""What replay comes to, and what is said of it (JRN-22)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from web4.foundation.digest import blake3_hex, canonical
from web4.journal.lane import Lane

MOST_OUTCOMES: Final = 1_000
"""Outcomes and divergences that a result holds of one lane; their numbers stay exact."""


class Outcome(msgspec.Struct, frozen=True):
    """The terminal event of a command: its record, and the command."""

    seq: int
    type: str
    subject: str


class Divergence(msgspec.Struct, frozen=True):
    """Where what is recorded is not what replay comes to."""

    lane: Lane
    seq: int
    detail: str


class LaneReplay(msgspec.Struct, frozen=True, kw_only=True):
    """What one lane came to.

    Args:
        seq: The last record that was taken into account.
        begun_at: The record after which it began: 0, the lane's base, or where payloads end that were erased.
        digest: BLAKE3 of the state's canonical bytes, in hex; None when the lane could not be replayed to its end.
        applied: Events that the lane's logic was given.
        outcomes: The first of its terminal events; `outcomes_digest` is over all of them, `outcomes_count` how many.
        versions: Of each type of event, the newest version that was met; and of the logic, under the name `logic`.
        stopped: Why it could not be replayed to its end; None if it could.
    """

    lane: Lane
    seq: int
    begun_at: int
    digest: str | None
    applied: int
    outcomes: tuple[Outcome, ...]
    outcomes_count: int
    outcomes_digest: str
    versions: Mapping[str, int]
    stopped: str | None


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal came to. Two replays of the same bytes give equal results (JRN-22c)."""

    journal_id: str
    lanes: tuple[LaneReplay, ...]
    divergences: tuple[Divergence, ...]
    divergences_count: int

    @property
    def digest(self) -> str:
        """One digest over all lanes."""
        return blake3_hex(canonical([(str(one.lane), one.seq, one.digest) for one in self.lanes]))
