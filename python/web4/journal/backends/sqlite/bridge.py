"""Threads that work for a Trio run and wake it through one descriptor.

A finished job costs one entry in a deque and, if Trio was not told already, one write to an eventfd; one task drains
whatever has gathered. Measured against the alternatives, this is what keeps a durable append close to its `fdatasync`.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

import outcome
import trio

from web4.journal.errors import JournalUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

Result = TypeVar("Result")

_JOINING = trio.CapacityLimiter(8)


class _Job:
    """One call: what is to be done, who waits for it, and how it went."""

    __slots__ = ("result", "task", "work")

    def __init__(self, work: Callable[[], Any], task: trio.lowlevel.Task) -> None:
        self.work = work
        self.task: trio.lowlevel.Task | None = task
        self.result: outcome.Outcome[Any] | None = None


class Bridge:
    """Carries calls from Trio tasks to a few threads, and their results back.

    Jobs begin in the order of their calls. The queue needs no bound of its own: every job in it has a task that waits.
    Made by `open_bridge`.

    Args:
        name: Of the threads, for people who look at them.
        threads: How many there are.
        upkeep: Called on the thread after each job (with False) and when the time it returned last, in seconds, has
            passed without one (with True). It must not raise.
    """

    def __init__(
        self, name: str, *, threads: int = 1, upkeep: Callable[[bool], float | None] | None = None
    ) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._done: deque[_Job] = deque()
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._told = False
        self._closed = False
        self._abandoned = False
        self._upkeep = upkeep
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        _BRIDGES.add(self)

    async def call(self, work: Callable[[], Result]) -> Result:
        """Have `work` done on a thread; what it returned or raised.

        Cancellation: the work is done all the same, unseen; the caller stops waiting at once.

        Raises:
            JournalUnavailable: `closed`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise JournalUnavailable("the journal was closed", code="closed")
        job = _Job(work, trio.lowlevel.current_task())

        def abandon(_: Any) -> trio.lowlevel.Abort:
            job.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._jobs.put(job)
        result: Result = await trio.lowlevel.wait_task_rescheduled(abandon)
        return result

    # --- on the threads -----------------------------------------------------------------------------------

    def _work(self) -> None:
        pause: float | None = None
        while True:
            try:
                job = self._jobs.get(timeout=pause)
            except queue.Empty:
                pause = self._upkeep(True) if self._upkeep else None
                continue
            if job is None:
                return
            job.result = outcome.capture(job.work)
            self._done.append(job)
            # Trio clears the mark before it looks into the deque, so a job is never left behind.
            if not self._told:
                self._told = True
                os.eventfd_write(self._descriptor, 1)
            del job
            if self._upkeep:
                pause = self._upkeep(False)

    # --- in Trio ------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Wake callers whose job is done. Runs until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._descriptor)
            os.eventfd_read(self._descriptor)
            self._told = False
            self.deliver()

    def deliver(self) -> None:
        """Hand over what is done by now."""
        done = self._done
        while done:
            job = done.popleft()
            if job.task is not None:
                trio.lowlevel.reschedule(job.task, job.result)  # type: ignore[arg-type]  # done: has one

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    async def stop(self) -> None:
        """Finish the jobs that were called for, then end the threads."""
        if not self._closed:
            self._end()
        if self._abandoned:
            return
        with trio.CancelScope(shield=True):
            for thread in self._threads:
                # It may be in the middle of a long job; the run goes on meanwhile.
                await trio.to_thread.run_sync(thread.join, limiter=_JOINING)
        self.deliver()

    def abandon(self) -> None:
        """End the threads after the jobs they have, and do not wait for them."""
        self._abandoned = True
        self._end()

    def _end(self) -> None:
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)

    def close(self) -> None:
        """Let the descriptor go. The threads must have ended, or a late one tells nobody."""
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._descriptor)

    def cut(self) -> None:
        """Take no more calls: this is a child that was forked off, and the threads are not in it."""
        self._closed = True


_BRIDGES: Final[WeakSet[Bridge]] = WeakSet()


def _cut_in_child() -> None:
    for bridge in _BRIDGES:
        bridge.cut()


os.register_at_fork(after_in_child=_cut_in_child)


@asynccontextmanager
async def open_bridge(
    name: str, *, threads: int = 1, upkeep: Callable[[bool], float | None] | None = None
) -> AsyncIterator[Bridge]:
    """A `Bridge` whose threads live as long as the block; leaving it waits for the jobs that were called for."""
    bridge = Bridge(name, threads=threads, upkeep=upkeep)
    # Results must reach callers while everything around is being cancelled, too.
    draining = trio.CancelScope(shield=True)

    async def drain() -> None:
        with draining:
            await bridge.drain()

    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        bridge.start()
        nursery.start_soon(drain)
        try:
            yield bridge
        except BaseException as error:  # raised again below, not in the nursery's group
            failure = error
        finally:
            await bridge.stop()
            draining.cancel()
            bridge.close()
    if failure is not None:
        raise failure
