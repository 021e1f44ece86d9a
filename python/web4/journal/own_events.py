"""What the journal itself says on the `server` lane.

Its records there do not stand in the way of the lane's writer: see `GroupCommit`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from web4.journal.event_types import EventType


class JournalAnchored(msgspec.Struct, frozen=True, kw_only=True):
    """Heads of lanes, signed by the node (JRN-3f).

    Args:
        lanes: (lane, head, hash in hex) of lanes that changed since they were last anchored.
        fingerprint: Of the node that signs.
        public_key: Its public key, in hex.
        signature: Over the canonical bytes of journal id and `lanes`, in hex.
    """

    lanes: tuple[tuple[str, int, str], ...]
    fingerprint: str
    public_key: str
    signature: str


class JournalResumed(msgspec.Struct, frozen=True, kw_only=True):
    """The journal writes again (JRN-15f): after so many milliseconds and repetitions."""

    suspended_ms: int
    retries: int


class JournalRetained(msgspec.Struct, frozen=True, kw_only=True):
    """Retention or compaction was at work (JRN-16c).

    Args:
        lane: Which lane.
        base_seq: Where what is kept begins, afterwards.
        erased: Payloads erased.
        removed: Records removed.
        bytes: Bytes of payloads that went.
        reason: What asked for it.
    """

    lane: str
    base_seq: int
    erased: int
    removed: int
    bytes: int
    reason: str


class JournalRepaired(msgspec.Struct, frozen=True, kw_only=True):
    """A damaged lane was cut (JRN-23b).

    Args:
        lane: Which lane.
        seq: The last record that is left.
        removed: Records that went into quarantine.
        quarantine: Name of the file they went to.
        reason: What was found.
    """

    lane: str
    seq: int
    removed: int
    quarantine: str
    reason: str


class JournalHeld(msgspec.Struct, frozen=True, kw_only=True):
    """Records of a lane are to be kept until the hold is released (JRN-16b).

    Args:
        hold: Its name.
        lane: Which lane.
        first: The first record that is held.
        last: The last; None for all there will be.
        reason: Why.
    """

    hold: str
    lane: str
    first: int
    last: int | None
    reason: str


class JournalReleased(msgspec.Struct, frozen=True, kw_only=True):
    """A hold is over."""

    hold: str
    reason: str


OWN_EVENTS: Final = (
    EventType(
        name="journal.anchored",
        own=True,
        struct=JournalAnchored,
        classes=dict.fromkeys(("lanes", "fingerprint", "public_key", "signature"), "structural"),
    ),
    EventType(
        name="journal.resumed",
        own=True,
        struct=JournalResumed,
        classes=dict.fromkeys(("suspended_ms", "retries"), "structural"),
    ),
    EventType(
        name="journal.retained",
        own=True,
        struct=JournalRetained,
        classes=dict.fromkeys(("lane", "base_seq", "erased", "removed", "bytes", "reason"), "structural"),
    ),
    EventType(
        name="journal.repaired",
        own=True,
        struct=JournalRepaired,
        classes=dict.fromkeys(("lane", "seq", "removed", "quarantine", "reason"), "structural"),
    ),
    EventType(
        name="journal.held",
        own=True,
        struct=JournalHeld,
        classes=dict.fromkeys(("hold", "lane", "first", "last", "reason"), "structural"),
        refs={"hold": "hold"},
    ),
    EventType(
        name="journal.released",
        own=True,
        struct=JournalReleased,
        classes=dict.fromkeys(("hold", "reason"), "structural"),
        refs={"hold": "hold"},
    ),
)
