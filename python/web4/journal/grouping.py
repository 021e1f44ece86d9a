"""Batches of several callers on their way into one commit: places and hashes, worked out before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from web4 import _core
from web4.journal.errors import WrongExpectedSeq
from web4.journal.lane import SERVER
from web4.journal.own_events import OWN_PREFIX
from web4.journal.record import Appended, Commit, Head, HeadMove, Sealed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from web4.foundation.ids import IdSource
    from web4.journal.draft import Prepared
    from web4.journal.lane import Lane
    from web4.journal.record import Record, Snapshot

ANYWHERE = -1
"""The `expected_seq` of what the journal itself says: after whatever is there."""


class Waiting:
    """One caller's batch, and the task that waits for it; none if nobody does, or does any more (JRN-5e)."""

    __slots__ = ("alone", "appends", "bases", "bytes", "erasures", "own", "records", "task")

    def __init__(
        self,
        appends: Sequence[tuple[Lane, Sequence[Prepared], int]],
        *,
        own: bool = False,
        bases: Sequence[Snapshot] = (),
        erasures: Sequence[tuple[Lane, int]] = (),
    ) -> None:
        self.appends = appends
        self.own = own
        self.bases = bases
        self.erasures = erasures
        self.records = self.bytes = 0
        for _, events, _ in appends:
            self.records += len(events)
            for event in events:
                self.bytes += len(event.payload)
        self.task: trio.lowlevel.Task | None = None

        self.alone = bool(bases or erasures)
        """Whether it needs a commit of its own."""

    def abandon(self, _: object) -> trio.lowlevel.Abort:
        """Nobody waits for it any more; it is written all the same."""
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED


class Salts:
    """Sixteen random bytes for every record (JRN-2), drawn many at a time."""

    def __init__(self, ids: IdSource) -> None:
        self._ids = ids
        self._drawn = b""
        self._next = 0

    def draw(self) -> bytes:
        """The next salt."""
        if self._next == len(self._drawn):
            self._drawn = self._ids.token(16 * 256)
            self._next = 0
        salt = self._drawn[self._next : self._next + 16]
        self._next += 16
        return salt


class Lanes:
    """The heads that are durable and known, and where the last record on `server` is that is not the journal's own.

    Args:
        own: Become a lane's writer; its head.
        read: The newest records of a lane below a number, newest first.
        bound: Heads held at most; the earliest known give way.
    """

    def __init__(
        self,
        *,
        own: Callable[[Lane], Awaitable[Head]],
        read: Callable[[Lane, int], Awaitable[list[Record]]],
        bound: int,
    ) -> None:
        self._own = own
        self._read = read
        self._bound = bound
        self._heads: dict[Lane, Head] = {}
        self.foreign = 0

    def known(self, lane: Lane) -> Head | None:
        """The head, if it is held."""
        return self._heads.get(lane)

    async def head(self, lane: Lane) -> Head:
        """The head of a lane that this journal writes, from now on at the latest."""
        head = self._heads.get(lane)
        if head is None:
            head = await self._own(lane)
            if lane == SERVER:
                self.foreign = await self._last_foreign(head)
            self._hold(lane, head)
        return head

    def moved(self, lane: Lane, head: Head) -> None:
        """Note where a lane ends now."""
        if lane in self._heads:
            self._heads[lane] = head
        else:
            self._hold(lane, head)

    def rebased(self, base: Snapshot) -> None:
        """Note where a lane begins now."""
        head = self._heads.get(base.lane)
        if head is not None:
            self._heads[base.lane] = head._replace(base_seq=base.seq, base_hash=base.record_hash)

    def forget(self, lane: Lane) -> None:
        """Ask for the head again before the next commit."""
        self._heads.pop(lane, None)

    def _hold(self, lane: Lane, head: Head) -> None:
        if len(self._heads) >= self._bound:
            del self._heads[next(iter(self._heads))]
        self._heads[lane] = head

    async def _last_foreign(self, head: Head) -> int:
        before = head.seq + 1
        while records := await self._read(SERVER, before):
            for record in records:
                if not record.type.startswith(OWN_PREFIX):
                    return record.seq
            before = records[-1].seq
        return head.base_seq


class Group:
    """What one commit will carry. Nothing in it is told to anybody before the commit is durable."""

    def __init__(
        self, lanes: Lanes, salts: Salts, read: Callable[[Lane, int, int], Awaitable[list[Record]]]
    ) -> None:
        self._lanes = lanes
        self._salts = salts
        self._read = read
        self._sealed: dict[Lane, list[Sealed]] = {}
        self._before: dict[Lane, Head] = {}
        self._after: dict[Lane, Head] = {}
        self._bases: Sequence[Snapshot] = ()
        self._erasures: Sequence[tuple[Lane, int]] = ()
        self.foreign: int | None = None
        self.taken: list[tuple[Waiting, list[Appended]]] = []
        self.records = 0
        self.bytes = 0

    @property
    def after(self) -> dict[Lane, Head]:
        """Where the lanes will end that this group moves."""
        return self._after

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self._after or self._bases or self._erasures)

    def sealed(self, lane: Lane) -> list[Sealed]:
        """The records of one lane."""
        return self._sealed.get(lane, [])

    def commit(self) -> Commit:
        """What the backend is to make durable."""
        lanes = sorted(self._after, key=str)
        return Commit(
            [record for lane in lanes for record in self._sealed[lane]],
            [HeadMove(lane, self._before[lane], self._after[lane]) for lane in lanes],
            self._bases,
            self._erasures,
        )

    async def place(self, waiting: Waiting) -> None:
        """Take a batch in, all of it or nothing.

        Raises:
            WrongExpectedSeq: A lane ends elsewhere, and not with this very batch (JRN-4a, d).
            NotWriterError: Another node writes one of the lanes.
        """
        fits = True
        for part in waiting.appends:
            lane = part[0]
            if lane not in self._after:
                known = self._lanes.known(lane)
                self._before[lane] = await self._lanes.head(lane) if known is None else known
            fits = fits and self._fits(part, own=waiting.own)
        if waiting.alone:
            for lane in {base.lane for base in waiting.bases} | {lane for lane, _ in waiting.erasures}:
                await self._lanes.head(lane)  # only the writer of a lane changes what is kept of it
            self._bases, self._erasures = waiting.bases, waiting.erasures
        if fits:
            self.taken.append((waiting, [self._seal(*part, own=waiting.own) for part in waiting.appends]))
            self.records += waiting.records
            self.bytes += waiting.bytes
            return
        repeated = [await self._repeated(*part) for part in waiting.appends]
        if None in repeated:
            lane, _, expected = next(
                part for part in waiting.appends if not self._fits(part, own=waiting.own)
            )
            raise WrongExpectedSeq(lane, expected=expected, actual=self._head(lane).seq)
        self.taken.append((waiting, [appended for appended in repeated if appended is not None]))

    def _head(self, lane: Lane) -> Head:
        return self._after.get(lane) or self._before[lane]

    def _fits(self, part: tuple[Lane, Sequence[Prepared], int], *, own: bool) -> bool:
        lane, _, expected = part
        head = self._head(lane).seq
        if expected == head or own:
            return True
        # What the journal itself has said on `server` meanwhile is no change to its writer.
        foreign = self._lanes.foreign if self.foreign is None else self.foreign
        return lane == SERVER and foreign <= expected < head

    def _seal(self, lane: Lane, events: Sequence[Prepared], _expected: int, *, own: bool) -> Appended:
        before = self._head(lane)
        at, seq = before.at, before.seq
        drafts = []
        for event in events:
            at = max(at, event.at)
            _, name, v, payload, _, cause, principal, refs, _ = event
            drafts.append((at, cause, principal, refs, name, v, payload, self._salts.draw()))
        rows = self._sealed.setdefault(lane, [])
        for event, draft, (header, payload_hash, digest) in zip(
            events, drafts, _core.seal_records(str(lane), seq + 1, before.hash, drafts), strict=True
        ):
            seq += 1
            at, _, _, refs, _, _, payload, salt = draft
            rows.append(Sealed(lane, seq, at, header, payload, salt, payload_hash, digest, refs, event.work))
        self._after[lane] = Head(seq, digest, at, before.base_seq, before.base_hash)
        if lane == SERVER and not own:
            self.foreign = seq
        return Appended(before.seq + 1, seq, digest)

    async def _repeated(self, lane: Lane, events: Sequence[Prepared], expected: int) -> Appended | None:
        """Where these very events are, if the lane ends with them at the numbers the caller expects (JRN-4d)."""
        head = self._head(lane)
        if expected < head.base_seq or expected + len(events) != head.seq:
            return None
        at, tail = -(2**63), await self._read(lane, max(expected - 1, head.base_seq), len(events) + 1)
        stored: list[tuple[int, bytes, bytes | None, int]] = [
            (one.seq, one.header, one.payload, one.at) for one in tail
        ]
        stored += [(one.seq, one.header, one.payload, one.at) for one in self.sealed(lane)]
        for seq, header, payload, stored_at in stored:
            if seq > expected:
                event = events[seq - expected - 1]
                draft = (max(at, event.at), event.cause, event.principal, event.refs, event.name, event.v)
                again, _, _ = _core.seal_records(str(lane), seq, bytes(32), [(*draft, b"", b"")])[0]
                if (again, event.payload) != (header, payload):
                    return None
            at = stored_at
        return Appended(expected + 1, head.seq, head.hash)
