"""Heads of lanes, signed by the node from time to time: a lane cut short at its end is noticed (JRN-3f)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.foundation.digest import canonical
from web4.foundation.identity import verify
from web4.journal.own_events import JournalAnchored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.foundation.identity import Identity
    from web4.journal.lane import Lane
    from web4.journal.limits import JournalLimits
    from web4.journal.record import Head, HeadMove

_LANES: Final = 1_000
"""Lanes of one anchor at most."""
_LANE_BYTES: Final = 96
"""What a lane takes in an anchor beside its name, at most: its number, its hash in hex, and what stands in between."""
_OTHER_BYTES: Final = 512
"""What the rest of an anchor takes at most."""
_PURPOSE: Final = {"protocol": "journal", "version": "1", "purpose": "anchor"}


class Anchors:
    """What has changed since it was last anchored. Without an identity nothing is anchored.

    Args:
        identity: Signs.
        journal_id: Of the journal.
        limits: After how many records an anchor is due, and what one payload may hold.
    """

    def __init__(self, identity: Identity | None, journal_id: bytes, limits: JournalLimits) -> None:
        self._identity = identity
        self._journal_id = journal_id
        self._every = limits.anchor_records
        self._bytes = limits.payload_bytes - _OTHER_BYTES
        self._changed: dict[Lane, Head] = {}
        self._records = 0
        self._hurry = False

    @property
    def due(self) -> bool:
        """Whether an anchor should be written."""
        return self._records >= self._every or (self._hurry and bool(self._changed))

    def hurry(self) -> None:
        """The next one is due as soon as anything has changed."""
        self._hurry = True

    def note(self, moves: Sequence[HeadMove], records: int) -> None:
        """Note where lanes end now."""
        if self._identity is not None:
            self._records += records
            for move in moves:
                self._changed[move.lane] = move.after

    def take(self) -> list[JournalAnchored]:
        """The anchors of what has changed; from now on it has not."""
        if self._identity is None:
            return []
        parts: list[list[tuple[str, int, str]]] = []
        room = 0
        for lane, head in sorted(self._changed.items()):
            name = str(lane)
            room -= len(name) + _LANE_BYTES
            if room < 0 or len(parts[-1]) == _LANES:
                parts.append([])
                room = self._bytes - len(name) - _LANE_BYTES
            parts[-1].append((name, head.seq, head.hash.hex()))
        self._changed.clear()
        self._records = 0
        self._hurry = False
        return [self._sign(self._identity, tuple(part)) for part in parts]

    def _sign(self, identity: Identity, heads: tuple[tuple[str, int, str], ...]) -> JournalAnchored:
        return JournalAnchored(
            lanes=heads,
            fingerprint=identity.fingerprint,
            public_key=identity.public_key.hex(),
            signature=identity.sign(_signed(self._journal_id, heads), **_PURPOSE).hex(),
        )


def check_anchor(anchor: JournalAnchored, journal_id: bytes) -> None:
    """Check an anchor's signature under the key that it names. Whose key that is, the reader has to know.

    Raises:
        SignatureMismatchError: It does not verify.
        ValueError: Key or signature are no hex.
    """
    verify(
        bytes.fromhex(anchor.public_key),
        _signed(journal_id, anchor.lanes),
        bytes.fromhex(anchor.signature),
        **_PURPOSE,
    )


def _signed(journal_id: bytes, heads: tuple[tuple[str, int, str], ...]) -> bytes:
    return canonical({"journal_id": journal_id.hex(), "lanes": heads})
