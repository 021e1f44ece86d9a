"""What a journal holds at most, and how long it tries (the `=` of the specification)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLimits:
    """Bounds of a journal; each can be configured.

    Args:
        payload_bytes: Of one payload; larger values belong into blobs (JRN-2).
        blob_bytes: Of one blob (JRN-8).
        commit_records: Records that one group commit takes (JRN-5a).
        commit_bytes: Bytes of payloads that one group commit takes. A single larger batch goes alone.
        waiting_records: Records that may wait for a commit; beyond, appending is refused as `busy`.
        waiting_bytes: Bytes of payloads that may wait.
        batch_records: Records of one atomic batch.
        anchor_records: Records after which the heads are anchored (JRN-3f).
        verified_tail: Records at the end of every lane that are verified at open (JRN-12c).
        heads: Heads of lanes held in memory.
        follower_records: Records held for one follower before it reads from storage again (JRN-6b).
        snapshots: Snapshots kept of a lane, beside that of its base.
        retry_seconds: Before the first repetition of a write that did not commit; doubles (JRN-15a).
        retry_most_seconds: The longest such pause.
        close_seconds: How long closing waits for what is under way.
    """

    payload_bytes: int = 256 * 1024
    blob_bytes: int = 64 * 1024 * 1024
    commit_records: int = 512
    commit_bytes: int = 1024 * 1024
    waiting_records: int = 65_536
    waiting_bytes: int = 64 * 1024 * 1024
    batch_records: int = 10_000
    anchor_records: int = 10_000
    verified_tail: int = 64
    heads: int = 100_000
    follower_records: int = 1_024
    snapshots: int = 2
    retry_seconds: float = 0.1
    retry_most_seconds: float = 5.0
    close_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive")
