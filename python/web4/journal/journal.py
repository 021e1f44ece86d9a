"""The journal as programs see it: append, read, follow, snapshots, blobs (JRN-4 to JRN-8)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import trio

from web4.foundation.clock import SystemClock
from web4.foundation.events import no_events
from web4.foundation.ids import SystemIds
from web4.journal import blobs
from web4.journal.anchoring import Anchors
from web4.journal.chain import broken_at, require_unbroken
from web4.journal.committing import GroupCommit, State
from web4.journal.draft import Append, NewEvent, Prepared, prepare
from web4.journal.errors import (
    Compacted,
    CursorAhead,
    InvalidEventError,
    NotCommittedError,
    NotWriterError,
)
from web4.journal.following import Follower, Followers
from web4.journal.lane import SERVER, Lane
from web4.journal.limits import JournalLimits
from web4.journal.record import HeadMove
from web4.journal.redaction import Redactor
from web4.journal.waiting import ANYWHERE, Waiting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import msgspec

    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.identity import Identity
    from web4.foundation.ids import IdSource
    from web4.journal.backends.backend import Backend, Durability
    from web4.journal.event_types import EventRegistry
    from web4.journal.lane import LaneKind
    from web4.journal.record import Appended, Head, OpenWork, Record, Snapshot
    from web4.journal.waiting import Part

__all__ = ["Append", "Journal", "NewEvent", "Prepared"]

_MOST: Final = 10_000
"""Records that one call of `read` gives (JRN-6a)."""


class Journal:
    """Lanes of events, each with one writer; what was appended is durable (JRN-1 to JRN-8).

    Open one with `open_journal`. Reading is possible at all times; writing waits while the store cannot be written,
    and is refused once it cannot be trusted (`state`).

    Args:
        backend: Where records are kept.
        registry: The event types that this node knows.
        identity: Signs anchors (JRN-3f); without one there are none.
        redactor: What keeps data from being stored (JRN-18, JRN-19); one that knows the data classes only, if left out.
        clock: Times of the journal's own records.
        ids: Randomness of salts.
        emit: Where `journal_suspended`, `journal_resumed`, `journal_failed`, `lane_halted`, `snapshot_failed` and
            `own_event_refused` go.
        limits: See `JournalLimits`.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        registry: EventRegistry,
        identity: Identity | None = None,
        redactor: Redactor | None = None,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        emit: Emitter = no_events,
        limits: JournalLimits | None = None,
    ) -> None:
        self.backend = backend
        self.registry = registry
        self.identity = identity
        self.redactor = Redactor(backend.hash_key) if redactor is None else redactor
        self.clock = clock or SystemClock()
        self.ids = ids or SystemIds()
        self.emit = emit
        self.limits = limits or JournalLimits()
        self._followers = Followers()
        self._anchors = Anchors(identity, backend.journal_id, self.limits)
        self._commits = GroupCommit(
            backend,
            limits=self.limits,
            clock=self.clock,
            ids=self.ids,
            emit=emit,
            anchors=self._anchors,
            followers=self._followers,
            say=self._own_words,
        )

    def __repr__(self) -> str:
        return f"<Journal {self.backend.name} {self.durability} {self.state}>"

    # --- what it is -------------------------------------------------------------------------------------

    @property
    def journal_id(self) -> bytes:
        """16 random bytes that were drawn when the journal was created."""
        return self.backend.journal_id

    @property
    def durability(self) -> Durability:
        """What an append outlives that has returned: `strict`, `relaxed` or `none` (JRN-5)."""
        return self.backend.durability

    @property
    def state(self) -> State:
        """`ready`, `suspended` (cannot write now), `failed` (cannot be trusted) or `closed` (JRN-15)."""
        return self._commits.state

    @property
    def accepting(self) -> bool:
        """Whether new work should be begun: the journal writes, and its volume is not nearly full (JRN-15c, e).

        Appending what concludes running work is possible all the same.
        """
        return self.state == "ready" and self.backend.accepting

    @property
    def halted(self) -> Mapping[Lane, str]:
        """Lanes that take nothing any more, and why."""
        return MappingProxyType(self._commits.halted)

    def halt(self, lane: Lane, reason: str, *, seq: int | None = None) -> None:
        """Take nothing more for `lane`; it stays readable. Only a restart brings it back."""
        if lane not in self._commits.halted:
            self._commits.halted[lane] = reason
            self.emit("lane_halted", severity="error", lane=str(lane), lane_seq=seq, reason=reason)

    # --- appending --------------------------------------------------------------------------------------

    def prepare(self, event: NewEvent) -> Prepared:
        """Check and redact an event; `Prepared.event` is what `apply` has to be given (JRN-19b).

        Raises:
            InvalidEventError: It is not registered, too large, or does not fit (JRN-4e).
            ProhibitedDataError: It holds what is stored nowhere.
            RedactionError: A hook raised or broke its contract.
        """
        return prepare(
            event,
            registry=self.registry,
            redactor=self.redactor,
            payload_bytes=self.limits.payload_bytes,
        )

    async def append(
        self, lane: Lane, events: Sequence[NewEvent | Prepared], *, expected_seq: int
    ) -> Appended:
        """Append a batch to one lane, as a whole; returns when it is durable (JRN-4, JRN-5).

        Cancelled, the append may happen all the same: the lane tells. Repeating it is safe (JRN-4d).

        Args:
            lane: Which lane.
            events: At least one.
            expected_seq: The head that the caller decided on.

        Raises:
            WrongExpectedSeq: The lane ends elsewhere; nothing was written.
            InvalidEventError, ProhibitedDataError, RedactionError: See `prepare`.
            NotWriterError: Another node writes the lane, or the journal was opened for reading.
            LaneHalted: The lane takes nothing any more.
            JournalUnavailable: The journal was closed or has failed, or too much waits already.
        """
        waiting = Waiting((self._part(lane, events, expected_seq),))
        # As `GroupCommit.write` does, with one coroutine less: there are a great many of these.
        await trio.lowlevel.checkpoint_if_cancelled()
        self._commits.queue(waiting)
        appended: list[Appended] = await trio.lowlevel.wait_task_rescheduled(waiting.abandon)
        return appended[waiting.first]

    async def append_batch(self, appends: Sequence[Append]) -> list[Appended]:
        """Append to several lanes at once, all or nothing (JRN-4c). See `append`."""
        if len({lane for lane, _, _ in appends}) != (len(appends) or 1):
            raise InvalidEventError("a batch names one lane or more, each once")
        waiting = Waiting([self._part(*one) for one in appends])
        if waiting.records > self.limits.batch_records:
            raise InvalidEventError(
                f"a batch of {waiting.records} records, {self.limits.batch_records} are allowed"
            )
        return await self._commits.write(waiting)

    async def change(
        self,
        *,
        events: Sequence[NewEvent] = (),
        bases: Sequence[Snapshot] = (),
        erasures: Sequence[tuple[Lane, int]] = (),
    ) -> None:
        """Change what is kept of lanes, in one commit with the journal's own `events` that say so (JRN-16, JRN-17).

        Args:
            events: Appended to `server`.
            bases: Stand for everything up to their `seq` from then on.
            erasures: Up to which number payloads of a lane go.

        Raises:
            Everything that `append` raises.
        """
        self._writable()
        prepared = [self.prepare(event) for event in events]
        appends = [(SERVER, prepared, ANYWHERE)] if prepared else []
        if not (appends or bases or erasures):
            raise InvalidEventError("nothing is to be changed")
        await self._commits.write(Waiting(appends, own=True, bases=bases, erasures=erasures))

    def _part(self, lane: Lane, events: Sequence[NewEvent | Prepared], expected_seq: int) -> Part:
        """Check what a caller hands in: what did not fit would take the writer down with it."""
        self._writable()
        if type(lane) is not Lane:
            raise InvalidEventError("not a lane", code="lane", field="lane")
        self.redactor.check_name(lane, "lane")
        if type(expected_seq) is not int or expected_seq < 0:
            raise InvalidEventError("not a number of a record", field="expected_seq")
        if not 0 < len(events) <= self.limits.batch_records:
            raise InvalidEventError(
                f"a batch of {len(events)} records for a lane; 1 to {self.limits.batch_records} are allowed"
            )
        prepare = self.prepare
        prepared = [one if type(one) is Prepared else prepare(one) for one in events]  # type: ignore[arg-type]
        return lane, prepared, expected_seq

    def _writable(self) -> None:
        if self.backend.read_only:
            raise NotWriterError("the journal was opened for reading", code="read_only")

    def _own_words(self, event: msgspec.Struct) -> Waiting:
        prepared = self.prepare(NewEvent(event, self.clock.wall_ms()))
        return Waiting([(SERVER, [prepared], ANYWHERE)], own=True)

    # --- reading ----------------------------------------------------------------------------------------

    async def head(self, lane: Lane) -> Head:
        """Where a lane ends and begins; that of a lane nobody wrote has `seq` 0."""
        return await self.backend.head(lane)

    async def heads(
        self, kind: LaneKind | None = None, *, after: Lane | None = None, limit: int = 500
    ) -> list[tuple[Lane, Head]]:
        """Lanes with their heads in order of their names, from beyond `after` on (JRN-6a)."""
        return await self.backend.heads(kind, after=after, limit=limit)

    async def read(
        self, lane: Lane, *, after: int = 0, limit: int = 500, reverse: bool = False
    ) -> list[Record]:
        """Read committed records (JRN-6).

        Args:
            lane: Which lane.
            after: A cursor: the number of the last record that is not wanted. With `reverse`, records end there.
            limit: How many at most, up to 10 000.
            reverse: Newest first.

        Raises:
            Compacted: The cursor is below the lane's base.
            CursorAhead: The cursor is beyond the head.
            CorruptJournalError: A record's header is damaged, or a record is missing in between.
            ValueError: A limit out of range, or a negative cursor.
        """
        if not 1 <= limit <= _MOST or after < 0:
            raise ValueError(f"limit is 1 to {_MOST}, and no cursor is negative")
        records = await self.backend.read(lane, after=after, limit=limit, reverse=reverse)
        if not records or records[0].seq != after + 1:
            head = await self.backend.head(lane)
            if after < head.base_seq:
                raise Compacted(lane, base_seq=head.base_seq)
            if after > head.seq:
                raise CursorAhead(lane, head=head.seq)
            if not records and after < head.seq:
                # Appended between the two questions, or missing at the end.
                records = await self.backend.read(lane, after=after, limit=limit, reverse=reverse)
                if not records:
                    raise broken_at(lane, after + 1)
        require_unbroken(lane, after, records, reverse=reverse)
        return records

    def follow(self, lane: Lane, *, after: int = 0) -> Follower:
        """Every record beyond `after`, once, in order: the stored ones, then those to come (JRN-6b)."""
        changed = self.backend.changed if self.backend.shared or self.backend.read_only else None
        return Follower(
            lane,
            after,
            followers=self._followers,
            read=self._read_for_follower,
            changed=changed,
            limit=self.limits.follower_records,
        )

    async def _read_for_follower(self, lane: Lane, after: int, limit: int) -> list[Record]:
        return await self.read(lane, after=after, limit=limit)

    async def open_work(
        self, lane: Lane | None = None, *, after: OpenWork | None = None, limit: int = 500
    ) -> list[OpenWork]:
        """Commands without an end and effects without a conclusion (JRN-13)."""
        return await self.backend.open_work(lane, after=after, limit=limit)

    # --- snapshots and blobs ----------------------------------------------------------------------------

    async def put_snapshot(self, snapshot: Snapshot) -> None:
        """Store a lane's state (JRN-7). A convenience: what fails is only reported.

        One in which a known secret stands is not stored: replaced there, it would be another state than the one that
        events give (JRN-7b, JRN-18f).

        Raises:
            NotWriterError: `read_only`.
        """
        self._writable()
        if self.redactor.found(snapshot.state):
            self.emit(
                "snapshot_failed", severity="warning", lane=str(snapshot.lane), reason="it holds a secret"
            )
            return
        try:
            await self.backend.put_snapshot(snapshot, keep=self.limits.snapshots)
        except NotCommittedError as error:
            self.emit("snapshot_failed", severity="warning", lane=str(snapshot.lane), reason=str(error))

    async def snapshots(self, lane: Lane) -> list[Snapshot]:
        """The snapshots of a lane, newest first, unverified; the last is the base's if there is one."""
        return await self.backend.snapshots(lane)

    async def put_blob(self, data: bytes) -> str:
        """Store bytes durably; the name under which events refer to them (JRN-8).

        Raises:
            InvalidEventError: `blob_too_large`.
            JournalUnavailable: `suspended`: it could not be stored now.
            NotWriterError: `read_only`.
        """
        self._writable()
        limit = self.limits.blob_bytes
        return await blobs.put_blob(self.backend, self.redactor, data, at=self.clock.wall_ms(), limit=limit)

    async def get_blob(self, name: str) -> bytes:
        """Read a blob, verified (JRN-8a).

        Raises:
            BlobNotFoundError: There is none of this name.
            CorruptJournalError: `blob`: it is not what its name says.
        """
        return await blobs.get_blob(self.backend, name)

    # --- how it is --------------------------------------------------------------------------------------

    def health(self) -> dict[str, Any]:
        """State, profile and what is wrong, at once and without the store."""
        return {
            "accepting": self.accepting,
            "backend": self.backend.name,
            "boot": self.backend.boot,
            "durability": self.durability,
            "halted": {str(lane): reason for lane, reason in self.halted.items()},
            "journal_id": self.journal_id.hex(),
            "state": self.state,
            "torn": self.backend.torn,
            "waiting": self._commits.waiting,
        }

    async def stats(self) -> dict[str, Any]:
        """`health`, what was written since it was opened, and the store's figures."""
        written = {
            "commits": self._commits.commits,
            "followers": len(self._followers),
            "largest_commit": self._commits.largest,
            "records_written": self._commits.records,
        }
        return {**self.health(), **written, "store": dict(await self.backend.stats())}

    # --- its life: see `open_journal` -------------------------------------------------------------------

    def unanchored(self, lane: Lane, head: Head) -> None:
        """Anchor a lane with the next anchor: it was written by a process that did not. `open_journal` says so."""
        if not (self.backend.shared or self.backend.read_only):
            self._anchors.note([HeadMove(lane, head, head)], 0)

    def anchor_soon(self) -> None:
        """Anchor behind the next commit, and not only when that is due: who signs a new journal is known from then."""
        self._anchors.hurry()

    async def run(self) -> None:
        """Write what is appended until `close`. `open_journal` runs it."""
        await self._commits.run()

    def close(self) -> None:
        """Take nothing more; `run` ends once what waits is written."""
        self._commits.close()
