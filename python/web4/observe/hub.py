"""The one place where a node's events come together and go out (WEB-6, OBS-3, OBS-4)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from web4.foundation.clock import SystemClock
from web4.foundation.events import EventSource
from web4.foundation.ids import SystemIds
from web4.observe.errors import SinkError
from web4.observe.feeding import Feeding
from web4.observe.redaction import Redaction
from web4.observe.sinks.memory import MemorySink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter, Event
    from web4.foundation.ids import IdSource
    from web4.observe.sinks.sink import Sink

QUEUE: Final = 10_000
WRITE_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 2.0


class ObservabilityHub:
    """Stamps, redacts and distributes the events of one node. Open one with `open_hub`.

    Args:
        node: The node's name in its events.
        sinks: Where events go, besides `memory`.
        redaction: What may be seen.
        ring: Events that `memory` holds.
        queue: Events that may wait for one sink.
        write_seconds: How long a sink may take for one `write`.
        clock: Where time comes from.
        ids: Where event ids come from.

    Raises:
        SinkError: `sink_name`, `sink_options`.
    """

    def __init__(
        self,
        node: str,
        *,
        sinks: Sequence[Sink] = (),
        redaction: Redaction | None = None,
        ring: int = 10_000,
        queue: int = QUEUE,
        write_seconds: float = WRITE_SECONDS,
        clock: Clock | None = None,
        ids: IdSource | None = None,
    ) -> None:
        if len({sink.name for sink in sinks}) != len(sinks):
            raise SinkError("each sink of a hub needs a name of its own", code="sink_name")
        if min(ring, queue) < 1 or write_seconds <= 0:
            raise SinkError("ring, queue and write_seconds must be positive", code="sink_options")
        self.redaction = redaction or Redaction()
        self.memory = MemorySink(ring)
        """The newest events."""
        self._feedings = [
            Feeding(sink, size=queue, write_seconds=write_seconds, lagged=self._lagged) for sink in sinks
        ]
        self._watchers: list[Callable[[Event], None]] = []
        self.emit: Emitter = EventSource(
            node, clock=clock or SystemClock(), ids=ids or SystemIds(), sink=self._take
        )
        """What the node's rooms are given."""

    def watch(self, watcher: Callable[[Event], None]) -> Callable[[], None]:
        """Call `watcher` with each event within the emitting call, as it may be seen; returns how to end that.

        For the node's own doors: it must not block and must not raise. Everything else is a sink.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    def lost(self) -> dict[str, int]:
        """How many events each sink has lost."""
        return {feeding.sink.name: feeding.lost for feeding in self._feedings}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Feed the sinks until `close`. Cancelled, what waits for them is lost."""
        async with trio.open_nursery() as nursery:
            for feeding in self._feedings:
                nursery.start_soon(feeding.run, name=f"events to {feeding.sink.name}")
            task_status.started()

    def close(self) -> None:
        """Take nothing more for the sinks; what waits is still written."""
        for feeding in self._feedings:
            feeding.close()

    def _take(self, event: Event) -> None:
        seen = self.redaction(event)
        self.memory.put(seen)
        for feeding in self._feedings:
            feeding.put(seen)
        for watcher in tuple(self._watchers):
            watcher(seen)

    def _lagged(self, sink: str, lost: int, first: int, last: int, reason: str) -> None:
        self.emit(
            "sink_lag",
            severity="warning",
            sink=sink,
            lost=lost,
            first_seq=first,
            last_seq=last,
            reason=reason,
        )


@asynccontextmanager
async def open_hub(
    node: str,
    *,
    sinks: Sequence[Sink] = (),
    redaction: Redaction | None = None,
    ring: int = 10_000,
    queue: int = QUEUE,
    write_seconds: float = WRITE_SECONDS,
    clock: Clock | None = None,
    ids: IdSource | None = None,
) -> AsyncIterator[ObservabilityHub]:
    """Run a hub; on leaving, sinks get two seconds to write what waits for them. See `ObservabilityHub`."""
    hub = ObservabilityHub(
        node,
        sinks=sinks,
        redaction=redaction,
        ring=ring,
        queue=queue,
        write_seconds=write_seconds,
        clock=clock,
        ids=ids,
    )
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        feeding = trio.CancelScope(shield=True)

        async def feed(task_status: trio.TaskStatus[None]) -> None:
            with feeding:
                await hub.run(task_status=task_status)

        await nursery.start(feed)
        try:
            yield hub
        except BaseException as error:  # raised again below, not in the nursery's group
            failure = error
        finally:
            hub.close()
            # From now on: a body that raised or was cancelled leaves its last events all the same.
            feeding.deadline = trio.current_time() + CLOSE_SECONDS
    if failure is not None:
        raise failure
