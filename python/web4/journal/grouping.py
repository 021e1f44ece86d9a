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
    from web4.journal.owned_lanes import OwnedLane, OwnedLanes
    from web4.journal.record import Record, Snapshot
    from web4.journal.waiting import Waiting

_SALT: Final = 16
# The constructors of named tuples are written in Python: at a hundred thousand records a second they are felt.
_MAKERS: Final = tuple(partial(tuple.__new__, made) for made in (Sealed, Appended, Head, HeadMove))


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
        self._parts: list[tuple[str, Lane, Head, Sequence[Prepared]]] = []
        self._owned: list[OwnedLane] = []
        """The lane of each part, in the order they were placed."""
        self._moves: list[HeadMove] = []
        self._moving: list[OwnedLane] = []
        self._number = lanes.next_group()
        self._bases: Sequence[Snapshot] = ()
        self._erasures: Sequence[tuple[Lane, int]] = ()
        self.foreign: int | None = None
        self.taken: list[Waiting] = []
        """Batches, each of which knows the place of its first part among the parts of all."""
        self.repeated: list[tuple[Waiting, list[Appended]]] = []
        """Batches that are there already."""
        self.records = 0
        self.bytes = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self._parts or self._bases or self._erasures)

    def place_known(self, waiting: Waiting) -> bool:
        """Take a batch in as `place` does, if nobody has to be asked for that; whether it was taken."""
        known = self._lanes.known
        owned = []
        for lane, _, expected in waiting.appends:
            one = known(lane)
            if one is None:
                return False
            end = one.end if one.group == self._number else one.head.seq
            if expected != end and not self._fits(lane, expected, end, own=waiting.own):
                return False
            owned.append(one)
        if waiting.alone:
            return False
        self._take(waiting, owned)
        return True

    async def place(self, waiting: Waiting) -> bool:
        """Take a batch in, all of it or nothing; False: it has to wait until what is in the group is durable.

        Raises:
            WrongExpectedSeq: A lane ends elsewhere, and not with this very batch (JRN-4a, d).
            NotWriterError: Another node writes one of the lanes.
        """
        owned = [await self._lanes.own(lane) for lane, _, _ in waiting.appends]
        if not all(
            self._fits(lane, expected, self._end(one), own=waiting.own)
            for one, (lane, _, expected) in zip(owned, waiting.appends, strict=True)
        ):
            return await self._place_misfit(waiting, owned)
        if waiting.alone:
            for lane in {base.lane for base in waiting.bases} | {lane for lane, _ in waiting.erasures}:
                await self._lanes.own(lane)  # only the writer of a lane changes what is kept of it
            self._bases, self._erasures = waiting.bases, waiting.erasures
        self._take(waiting, owned)
        return True

    def _take(self, waiting: Waiting, owned: list[OwnedLane]) -> None:
        parts = self._parts
        waiting.first = len(parts)
        self.taken.append(waiting)
        self.records += waiting.records
        self.bytes += waiting.bytes
        for one, (lane, events, _) in zip(owned, waiting.appends, strict=True):
            head = one.head
            if one.group != self._number:
                one.group, one.end = self._number, head[0]
            one.end += len(events)
            parts.append((one.text, lane, head, events))
            self._owned.append(one)
            if lane == SERVER and not waiting.own:
                self.foreign = one.end

    def _end(self, one: OwnedLane) -> int:
        return one.end if one.group == self._number else one.head.seq

    def _fits(self, lane: Lane, expected: int, end: int, *, own: bool) -> bool:
        if expected == end or own:
            return True
        # What the journal itself has said on `server` meanwhile is no change to its writer.
        foreign = self._lanes.foreign if self.foreign is None else self.foreign
        return lane == SERVER and foreign <= expected < end

    async def _place_misfit(self, waiting: Waiting, owned: list[OwnedLane]) -> bool:
        """Find out whether a batch comes again; else refuse it."""
        if any(self._end(one) != one.head.seq for one in owned):
            return False
        found = [
            await find_repeated(part, head=one.head, foreign=self._lanes.foreign, read=self._read)
            for one, part in zip(owned, waiting.appends, strict=True)
        ]
        repeated = [appended for appended in found if appended is not None]
        if len(repeated) == len(found):
            waiting.first = 0
            self.repeated.append((waiting, repeated))
            return True
        if await self._look_again(waiting, owned):
            return await self.place(waiting)
        lane, expected, actual = next(
            (lane, expected, one.head.seq)
            for one, (lane, _, expected) in zip(owned, waiting.appends, strict=True)
            if not self._fits(lane, expected, one.head.seq, own=waiting.own)
        )
        raise WrongExpectedSeq(lane, expected=expected, actual=actual)

    async def _look_again(self, waiting: Waiting, owned: list[OwnedLane]) -> bool:
        """Whether another node has written one of the lanes since it was last looked at: the caller may know better."""
        moved = False
        for one, (lane, _, expected) in zip(owned, waiting.appends, strict=True):
            if self._lanes.shared and expected > one.head.seq:
                self._lanes.forget(lane)
                moved = (await self._lanes.own(lane)).head.seq > one.head.seq or moved
        return moved

    def seal(self) -> tuple[Commit, list[Appended]]:
        """What the backend is to make durable, and where each part goes, in the order they were placed."""
        # The order of history within a commit is that of lanes' names and numbers (JRN-20a).
        records, appended, self._moves, last = _core.seal_group(
            self._parts, self._ids.token(_SALT * self.records), _MAKERS
        )
        self._moving = [self._owned[index] for index in last]
        return Commit(records, self._moves, self._bases, self._erasures), appended

    def moved(self) -> None:
        """Note that what was sealed is durable."""
        for one, move in zip(self._moving, self._moves, strict=True):
            one.head = move.after
        if self.foreign is not None:
            self._lanes.foreign = self.foreign

    def forget(self, lane: object) -> None:
        """Ask where `lane` ends before it is written again, or all lanes of the group, if it is None."""
        for one in self._owned:
            if lane is None or lane == one.lane:
                self._lanes.forget(one.lane)
