"""A worker of an extension as its pool wants it: a process that is held in conversation (EXT-25)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from web4.extensions.conversation.conversation import open_conversation
from web4.extensions.errors import WorkerStartError
from web4.extensions.processes import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from web4.extensions.conversation.call import Call
    from web4.extensions.conversation.conversation import Conversation
    from web4.extensions.conversation.sampling import Sampler
    from web4.extensions.conversation.terms import Terms
    from web4.extensions.outcome import CallOutcome
    from web4.extensions.processes import Processes, StartSpec

DESCRIPTORS: Final = 16
"""So many more than when it became ready are leftovers of its calls."""
_UNKNOWN: Final = Usage(None, None, None, None)


class WarmWorker:
    """A worker that is ready. See `web4.extensions.pool.member.PoolWorker`.

    Args:
        conversation: Its `greet` has returned.
    """

    __slots__ = ("_conversation", "_first", "_meter", "_most_memory", "_most_open", "_processes")

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._meter = conversation.meter
        self._first = conversation.usage or _UNKNOWN
        self._processes = self._first.processes or 0
        resources = conversation.terms.manifest.resources
        self._most_memory = (resources.memory_mb << 20) * 3 // 4
        self._most_open = min((self._first.descriptors or 0) + DESCRIPTORS, resources.open_files * 3 // 4)

    @property
    def usable(self) -> bool:
        """Whether it may get another call."""
        return self._conversation.reusable

    @property
    def resident(self) -> int:
        """Bytes it held after its last call."""
        usage = self._meter.usage
        return 0 if usage is None else usage.resident or 0

    def call(self, call: Call, waited: float, /) -> Coroutine[Any, Any, CallOutcome]:
        """Make the call; see `Conversation.call`."""
        if waited:
            remaining = call.remaining_ms
            if remaining is not None:
                remaining = max(1, remaining - int(waited * 1000))
            call = msgspec.structs.replace(call, queue_ms=round(waited * 1000, 3), remaining_ms=remaining)
        return self._conversation.call(call)

    @property
    def discarded(self) -> int:
        """Frames of concluded calls that came from it."""
        return self._conversation.discarded

    def cpu_seconds(self) -> float | None:
        """Processor time since it started."""
        used = self._conversation.process.usage().cpu_ns
        return None if used is None else used / 1e9

    def unfit(self) -> str | None:
        """Why it should not serve on (EXT-25)."""
        usage = self._meter.usage
        if usage is None:
            return "unknown"
        _, resident, descriptors, processes = usage
        if resident is not None and resident > self._most_memory:
            return "memory_grown"
        if processes is not None and processes > self._processes:
            return "leftovers"
        if descriptors is not None and descriptors > self._most_open:
            return "descriptors_grown"
        return None

    def cancel(self, reason: str) -> None:
        """End its call as EXT-19 says."""
        call_id = self._conversation.open_call
        if call_id is not None:
            self._conversation.cancel(call_id, reason)

    async def drain(self) -> None:
        """Ask it to end, and see that it does within `drain_ms`."""
        await self._conversation.drain()

    def kill(self, reason: str) -> None:
        """Kill its whole tree."""
        self._conversation.retire()
        self._conversation.process.kill(reason)

    async def wait(self) -> None:
        """Until no process of it exists."""
        await (
            self._conversation.process.wait()
        )  # of itself: the conversation's own tasks may be cancelled by now


@asynccontextmanager
async def open_worker(
    processes: Processes, spec: StartSpec, terms: Terms, sampler: Sampler
) -> AsyncIterator[WarmWorker]:
    """Start a worker and bring it to `ready`; on leaving it is killed.

    Raises:
        WorkerStartError: It did not start, or was not ready in time.
    """
    startup_ms = terms.manifest.timeouts.startup_ms
    try:
        with trio.fail_after(startup_ms / 1000):
            process = await processes.start(spec)
    except trio.TooSlowError:
        reason = f"its process had not started within {startup_ms} ms"
        raise WorkerStartError(reason, code="extension_start_timeout") from None
    try:
        async with open_conversation(process, terms) as conversation:
            await conversation.greet()
            sampler.add(conversation)
            try:
                yield WarmWorker(conversation)
            finally:
                sampler.discard(conversation)
    except BaseExceptionGroup as group:
        # It failed just as it was cancelled: then nobody asks why.
        rest = group.split(WorkerStartError)[1]
        if rest is None:
            raise
        raise rest from None
