"""What a journal asks of a store (JRN-24): bytes in their order, made durable as a whole or not at all.

A backend knows no event types and decides nothing: places, hashes and what is unfinished come with a `Commit`. Every
method may be called from any task of the journal's Trio run; a backend serialises its writes itself. Reading is
possible at all times, also while a write waits or fails, and sees committed records only (JRN-6d).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.journal.lane import Lane, LaneKind
    from web4.journal.record import Commit, Head, OpenWork, Record, Snapshot

Durability = Literal["strict", "relaxed", "none"]
"""`strict`: a commit outlives the loss of power. `relaxed`: it outlives the process. `none`: there is no disk."""


class Backend(Protocol):
    """An open store. Closing it is its opener's business: backends are opened by asynchronous context managers.

    Cancellation: a call that is cancelled while it writes completes all the same; its caller does not learn how.
    """

    @property
    def name(self) -> str:
        """`sqlite`, `postgresql` or `memory`."""
        ...

    @property
    def durability(self) -> Durability:
        """What a commit outlives."""
        ...

    @property
    def journal_id(self) -> bytes:
        """The 16 random bytes that were drawn when the store was created (JRN-3d)."""
        ...

    @property
    def boot(self) -> int:
        """How often the store was opened for writing, this time included; 0 when opened for reading only."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading only."""
        ...

    @property
    def shared(self) -> bool:
        """Whether others may write lanes of this journal meanwhile."""
        ...

    @property
    def accepting(self) -> bool:
        """Whether there is room for new work (JRN-15e). False: conclude what runs, and begin nothing."""
        ...

    @property
    def hash_key(self) -> bytes:
        """The 32 random bytes under which hashed-only data are hashed (JRN-18d). Never exported."""
        ...

    @property
    def torn(self) -> int:
        """Unfinished commits that were discarded at open (JRN-12a), as far as the engine tells."""
        ...

    # --- writing ----------------------------------------------------------------------------------------

    async def own(self, lane: Lane) -> Head:
        """Become, or be, the one writer of `lane`; where it ends. Called before a lane's first commit.

        Raises:
            NotWriterError: `lane_owned`, `read_only`.
        """
        ...

    async def release(self, lane: Lane) -> None:
        """Be the lane's writer no longer."""
        ...

    async def commit(self, commit: Commit) -> int:
        """Make `commit` durable; its number, above that of every commit before it.

        Raises:
            NotCommittedError: It certainly did not commit: no space, busy, connection refused. May be tried again.
            OutcomeUnknownError: The write failed where nobody can tell. The backend takes nothing until `recover`.
            WrongExpectedSeq: A lane does not end at its `HeadMove.before`.
            NotWriterError: `lease_lost`, `read_only`. Nothing was written.
        """
        ...

    async def recover(self, commit: Commit) -> int | None:
        """Open the store anew after `OutcomeUnknownError`; the number of `commit` if it is there, else None.

        What is there is forced to stable storage before this returns (JRN-15b).

        Raises:
            NotCommittedError: The store cannot be opened yet. May be tried again.
            CorruptJournalError: The store can be read no more.
        """
        ...

    async def put_snapshot(self, snapshot: Snapshot, *, keep: int) -> None:
        """Store a snapshot, and let go all but the newest `keep` of its lane; never the base's.

        Raises:
            NotCommittedError: It was not stored: a snapshot is a convenience.
        """
        ...

    async def prune(self, lane: Lane, *, limit: int) -> int:
        """Remove up to `limit` records that the lane's base stands for (JRN-17c); how many there were."""
        ...

    async def put_blob(self, blob: str, data: bytes, *, at: int) -> None:
        """Store a blob durably under its name, with the time; the time alone if it is there.

        Raises:
            NotCommittedError: It was not stored.
        """
        ...

    async def delete_blob(self, blob: str, *, before: int | None = None) -> None:
        """Remove a blob; only if it was stored last at `before` or earlier, where that is given (JRN-8c)."""
        ...

    async def scrub(self) -> None:
        """Leave nothing of what was erased or removed in any file of the store."""
        ...

    # --- reading ----------------------------------------------------------------------------------------

    async def head(self, lane: Lane) -> Head:
        """Where a lane ends; the genesis for one that nobody wrote."""
        ...

    async def heads(
        self, kind: LaneKind | None = None, *, after: Lane | None = None, limit: int = 500
    ) -> list[tuple[Lane, Head]]:
        """Lanes with their heads, in order of their names, beginning after `after`."""
        ...

    async def read(
        self,
        lane: Lane,
        *,
        after: int = 0,
        limit: int = 500,
        reverse: bool = False,
        before: int | None = None,
    ) -> list[Record]:
        """Records with `after < seq < before`, in order, or in reverse order."""
        ...

    async def scan(
        self, *, after: int = 0, limit: int = 500, reverse: bool = False, before: int | None = None
    ) -> list[Record]:
        """Records of all lanes with `after < position < before`, in the order of history (JRN-20a)."""
        ...

    async def find(
        self,
        ref: tuple[str, str],
        *,
        after: int = 0,
        limit: int = 500,
        reverse: bool = False,
        before: int | None = None,
    ) -> list[Record]:
        """As `scan`, of records that carry `ref`, by an index."""
        ...

    async def open_work(
        self, lane: Lane | None = None, *, after: OpenWork | None = None, limit: int = 500
    ) -> list[OpenWork]:
        """Unfinished work of one lane or of all, ordered by (lane, seq), by an index (JRN-13)."""
        ...

    async def snapshots(self, lane: Lane) -> list[Snapshot]:
        """The lane's snapshots, newest first; the base's, if there is one, is the last and has `seq == base_seq`."""
        ...

    async def blob(self, blob: str) -> bytes | None:
        """What is stored under the name."""
        ...

    async def blobs(self, *, after: str = "", limit: int = 500) -> list[tuple[str, int, int]]:
        """Names, sizes and times of blobs in order of their names."""
        ...

    async def changed(self, lane: Lane, seq: int) -> None:
        """Wait until `lane` ends beyond `seq` by somebody else's writing. May return early."""
        ...

    async def stats(self) -> Mapping[str, Any]:
        """Figures of the store: bytes, records, lanes, and what the engine tells. JSON values."""
        ...
