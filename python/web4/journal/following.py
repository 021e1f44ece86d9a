"""Readers that never miss a record and never hold up the writer (JRN-6b)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet

import trio

from web4.journal.errors import JournalUnavailable
from web4.journal.record import read_record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.journal.lane import Lane
    from web4.journal.record import Commit, Record

    Read = Callable[[Lane, int, int], Awaitable[list[Record]]]


_SWEEP: Final = 64
"""Followed lanes from which on those that nobody follows any more are looked for."""


class Changed(Protocol):
    """Waits until a lane has moved beyond a number by somebody else's writing."""

    async def __call__(self, lane: Lane, seq: int) -> None:
        """See `Backend.changed`."""
        ...


class Follower:
    """An asynchronous iterator over the records of one lane, in order, each once: the stored ones, then the new ones.

    It never ends by itself; leave the loop, or cancel it. Cancelled, it has taken nothing, and can go on. One task at a
    time may wait for it.

    Raises, out of the loop:
        JournalUnavailable: `closed`: nothing more will come.
        Compacted: Records that were not read yet have been compacted away: start again from the base snapshot.
        CursorAhead: The lane does not reach as far as `after`.
    """

    def __init__(
        self, lane: Lane, after: int, *, followers: Followers, read: Read, changed: Changed | None, limit: int
    ) -> None:
        self.lane = lane
        self._taken = after
        """Number of the last record that was read or offered."""
        self._followers = followers
        self._read = read
        self._changed = changed
        self._limit = limit
        self._buffer: deque[Record] = deque()
        self._behind = True
        self._reading = False
        self._task: trio.lowlevel.Task | None = None
        self._registered = False

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> Record:
        """Wait for the next record."""
        await trio.lowlevel.checkpoint()
        while not self._buffer:
            if self._reading or self._task is not None:
                raise RuntimeError("one task at a time waits for a follower")
            if self._behind or not self._registered:
                await self._catch_up()
            elif self._followers.closed:
                raise JournalUnavailable("the journal was closed", code="closed")
            elif self._changed is None:
                await self._wait()
            else:
                await self._wait_for_others(self._changed)
        return self._buffer.popleft()

    def close(self) -> None:
        """Be told of nothing more until it is asked for the next record. One that is let go needs no closing."""
        self._followers.remove(self)
        self._registered = False

    async def _catch_up(self) -> None:
        # Known to the writer before it reads, so that nothing can fall between.
        self._followers.add(self)
        self._registered = True
        self._behind = False
        self._reading = True
        try:
            records = await self._read(self.lane, self._taken, self._limit)
        except BaseException:
            self._behind = True
            raise
        finally:
            self._reading = False
        if records:
            self._buffer.extend(records)
            self._taken = records[-1].seq
            self._behind = self._behind or len(records) == self._limit

    async def _wait(self) -> None:
        self._task = trio.lowlevel.current_task()

        def abandon(_: Any) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abandon)

    async def _wait_for_others(self, changed: Changed) -> None:
        """Wait for this journal's writer or for another's, whichever is first."""
        failed: list[Exception] = []
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                try:
                    await changed(self.lane, self._taken)
                except Exception as error:  # raised below, by itself instead of in a group
                    failed.append(error)
                self._behind = True
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await self._wait()
            nursery.cancel_scope.cancel()
        if failed:
            raise failed[0]

    def offer(self, records: list[Record]) -> None:
        """Take new records of the lane if they follow what was taken and there is room; else read them later."""
        follows = records[0].seq == self._taken + 1 and not self._behind and not self._reading
        if follows and len(self._buffer) + len(records) <= self._limit:
            self._buffer.extend(records)
            self._taken = records[-1].seq
        else:
            self._behind = True
        self.wake()

    def wake(self) -> None:
        """Let it look around."""
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None


class Followers:
    """The followers that are to be told of commits, by lane. It keeps none alive: who is let go is told nothing."""

    def __init__(self) -> None:
        self._of: dict[Lane, WeakSet[Follower]] = {}
        self._sweep_at = _SWEEP
        self.closed = False
        """Whether nothing more will be told."""

    def __len__(self) -> int:
        return sum(len(followers) for followers in self._of.values())

    def add(self, follower: Follower) -> None:
        """Tell `follower` of what is written on its lane."""
        if len(self._of) >= self._sweep_at:
            # Lanes whose followers were let go, and that nobody has written since.
            self._of = {lane: followers for lane, followers in self._of.items() if followers}
            self._sweep_at = max(_SWEEP, 2 * len(self._of))
        self._of.setdefault(follower.lane, WeakSet()).add(follower)

    def remove(self, follower: Follower) -> None:
        """Tell it nothing more."""
        followers = self._of.get(follower.lane)
        if followers is not None:
            followers.discard(follower)
            if not followers:
                del self._of[follower.lane]

    def close(self) -> None:
        """Tell all of them that nothing more will come."""
        self.closed = True
        for followers in self._of.values():
            for follower in tuple(followers):
                follower.wake()

    def offer(self, commit: Commit, number: int) -> None:
        """Hand what was committed to those who follow its lanes."""
        if not self._of:
            return
        fresh: dict[Lane, list[Record]] = {}
        for one in commit.records:
            if one.lane in self._of:
                record = read_record(
                    one.lane,
                    one.seq,
                    header=one.header,
                    payload=one.payload,
                    salt=one.salt,
                    payload_hash=one.payload_hash,
                    hash=one.hash,
                    commit=number,
                    position=0,
                )
                fresh.setdefault(one.lane, []).append(record)
        for lane, records in fresh.items():
            for follower in tuple(self._of[lane]):
                follower.offer(records)
            if not self._of[lane]:
                del self._of[lane]
