"""Batches of several callers that become one commit: their places, worked out before anything is written."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from web4 import _core
from web4.journal.errors import WrongExpectedSeq
from web4.journal.lane import SERVER
from web4.journal.record import Appended, Commit, Head, HeadMove, Sealed
from web4.journal.repetition import find_repeated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from web4.foundation.ids import IdSource
    from web4.journal.draft import Prepared
    from web4.journal.lane import Lane
    from web4.journal.owned_lanes import OwnedLanes
    from web4.journal.record import Record, Snapshot
    from web4.journal.waiting import Part, Waiting

_SALT: Final = 16
_LONG_AGO: Final = -(2**63)
# The constructors of named tuples are written in Python: at a hundred thousand records a second they are felt.
_MAKE_SEALED: Final = partial(tuple.__new__, Sealed)
_MAKE_APPENDED: Final = partial(tuple.__new__, Appended)
_MAKE_HEAD: Final = partial(tuple.__new__, Head)


class Group:
    """What one commit will carry. Nothing in it is told to anybody before the commit is durable.

    While it is gathered only numbers are counted; hashes are worked out at the end, for all batches in one native call.
    """

    def __init__(
        self, lanes: OwnedLanes, ids: IdSource, read: Callable[[Lane, int, int], Awaitable[list[Record]]]
    ) -> None:
        self._lanes = lanes
        self._ids = ids
        self._read = read
        self._parts: list[tuple[str, int, Lane, Head, Sequence[Prepared]]] = []
        self._before: dict[Lane, Head] = {}
        self._ends: dict[Lane, int] = {}
        self._bases: Sequence[Snapshot] = ()
        self._erasures: Sequence[tuple[Lane, int]] = ()
        self.foreign: int | None = None
        self.taken: list[tuple[Waiting, int]] = []
        """Batches, each with the place of its first part among the parts of all."""
        self.repeated: list[tuple[Waiting, list[Appended]]] = []
        """Batches that are there already."""
        self.after: dict[Lane, Head] = {}
        """Where the lanes end that this group moves, once it is sealed."""
        self.records = 0
        self.bytes = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self._parts or self._bases or self._erasures)

    async def place(self, waiting: Waiting) -> bool:
        """Take a batch in, all of it or nothing; False: it has to wait until what is in the group is durable.

        Raises:
            WrongExpectedSeq: A lane ends elsewhere, and not with this very batch (JRN-4a, d).
            NotWriterError: Another node writes one of the lanes.
        """
        fits = True
        for part in waiting.appends:
            lane = part[0]
            if lane not in self._ends:
                head = self._lanes.known(lane) or await self._lanes.head(lane)
                self._before[lane] = head
                self._ends[lane] = head.seq
            fits = fits and self._fits(part, own=waiting.own)
        if not fits:
            return await self._place_misfit(waiting)
        if waiting.alone:
            for lane in {base.lane for base in waiting.bases} | {lane for lane, _ in waiting.erasures}:
                await self._lanes.head(lane)  # only the writer of a lane changes what is kept of it
            self._bases, self._erasures = waiting.bases, waiting.erasures
        self.taken.append((waiting, len(self._parts)))
        self.records += waiting.records
        self.bytes += waiting.bytes
        for lane, events, _ in waiting.appends:
            before = self._before[lane]
            if not before.seq:
                before = before._replace(
                    at=_LONG_AGO
                )  # there is no time that the first record would go behind
            self._parts.append((str(lane), len(self._parts), lane, before, events))
            self._ends[lane] += len(events)
            if lane == SERVER and not waiting.own:
                self.foreign = self._ends[lane]
        return True

    def _fits(self, part: Part, *, own: bool) -> bool:
        lane, _, expected = part
        end = self._ends[lane]
        if expected == end or own:
            return True
        # What the journal itself has said on `server` meanwhile is no change to its writer.
        foreign = self._lanes.foreign if self.foreign is None else self.foreign
        return lane == SERVER and foreign <= expected < end

    async def _place_misfit(self, waiting: Waiting) -> bool:
        """Find out whether a batch comes again; else refuse it."""
        for lane, _, _ in waiting.appends:
            if self._ends[lane] != self._before[lane].seq:
                return False
        found = [
            await find_repeated(
                part, head=self._before[part[0]], foreign=self._lanes.foreign, read=self._read
            )
            for part in waiting.appends
        ]
        repeated = [appended for appended in found if appended is not None]
        if len(repeated) == len(found):
            self.repeated.append((waiting, repeated))
            return True
        if await self._look_again(waiting):
            return await self.place(waiting)
        wrong = next(part for part in waiting.appends if not self._fits(part, own=waiting.own))
        raise WrongExpectedSeq(wrong[0], expected=wrong[2], actual=self._ends[wrong[0]])

    async def _look_again(self, waiting: Waiting) -> bool:
        """Whether another node has written one of the lanes since it was last looked at: the caller may know better."""
        moved = False
        for lane, _, expected in waiting.appends:
            if self._lanes.shared and expected > self._ends[lane]:
                self._lanes.forget(lane)
                head = await self._lanes.head(lane)
                moved = moved or head.seq > self._ends[lane]
                self._before[lane], self._ends[lane] = head, head.seq
        return moved

    def seal(self) -> tuple[Commit, list[Appended]]:
        """What the backend is to make durable, and where each part goes, in the order they were placed."""
        # The order of history within a commit is that of lanes' names and numbers (JRN-20a).
        parts = sorted(self._parts)
        records, ends = _core.seal_group(parts, self._ids.token(_SALT * self.records), _MAKE_SEALED)
        appended: list[Appended] = [None] * len(parts)  # type: ignore[list-item]  # each is filled in below
        for (_, index, lane, before, _), (first, last, digest, at) in zip(parts, ends, strict=True):
            appended[index] = _MAKE_APPENDED((first, last, digest))
            self.after[lane] = _MAKE_HEAD((last, digest, at, *before[3:]))
        moves = [HeadMove(lane, self._before[lane], after) for lane, after in self.after.items()]
        return Commit(records, moves, self._bases, self._erasures), appended
