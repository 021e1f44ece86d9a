"""The extensions that a host runs: they come, are loaded anew, and go."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from web4.extensions.conversation.sampling import Sampler
from web4.extensions.errors import EnablingError
from web4.extensions.hosting.generation import Generation
from web4.extensions.hosting.operations import Names
from web4.extensions.hosting.recording import Recording
from web4.extensions.hosting.reloading import Seat
from web4.extensions.metrics import HostMetrics
from web4.extensions.pool.memory import MemoryCeiling

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.extensions.conversation.call import OnLog
    from web4.extensions.enabling.standing import EnabledExtension
    from web4.extensions.hosting.options import HostOptions
    from web4.extensions.hosting.recording import Registry
    from web4.extensions.metrics import ExtensionMetrics
    from web4.extensions.processes import Processes
    from web4.extensions.quarantine import Breaker, Change
    from web4.foundation.events import Emitter

_LOG: Final = logging.getLogger("web4.extensions")
_LOOK: Final = 1.0
"""Seconds between two looks at idle workers."""


class Seats:
    """Who takes calls, and what all of them share.

    Args:
        processes: Starts workers.
        nursery: Where everything goes on that goes on beside the calls.
        registry: Who knows what is enabled.
        options: Of the host.
        emit: Told of generations and failures; never raises.
        on_log: Gets the log of every extension.
        changed: Called when other generations take the calls; `names` is theirs by then.
    """

    def __init__(
        self,
        processes: Processes,
        nursery: trio.Nursery,
        *,
        registry: Registry,
        options: HostOptions,
        emit: Emitter,
        on_log: OnLog | None,
        changed: Callable[[], None],
    ) -> None:
        self._processes = processes
        self._nursery = nursery
        self._registry = registry
        self._options = options
        self._emit = emit
        self._on_log = on_log
        self._changed = changed
        self._sampler = Sampler()
        self._recording = Recording(registry, emit)
        self._of: dict[str, Seat] = {}
        self.memory = MemoryCeiling(options.memory_bytes)
        self.metrics = HostMetrics()
        self.names = Names(())
        """What can be called now."""

    def all(self) -> list[Seat]:
        """By name."""
        return [seat for _, seat in sorted(self._of.items())]

    def record(self, name: str, change: Change) -> None:
        """Have the registry told that a quarantine began or ended."""
        self._recording.changed(name, change)

    # --- they come and go -------------------------------------------------------------------------------

    async def ready(self, name: str) -> None:
        """Until a worker of that extension is ready; starts one if need be.

        Raises:
            EnablingError: `not_enabled`: it is not run here.
            WorkerStartError: It does not become ready.
        """
        await self.seat(name).current.pool.ready()

    async def reload(self, name: str) -> int:
        """Run what is enabled now: a new generation of a running extension (EXT-39), or one that was not run before.

        Open calls finish on the old one. When the new one fails, the old one serves on.

        Returns:
            The number of the generation that takes calls.

        Raises:
            ExtensionError: It is not enabled, has changed, is none, or its worker does not start.
            JournalError, ActorError: The lane does not take the note.
        """
        seat = self._of.get(name)
        if seat is not None:
            return (await seat.reload()).number
        standing = await self._registry.standing(name)
        if standing.extension is None:
            assert standing.problem is not None
            raise standing.problem
        if name not in self._of:
            self.load(standing.extension)
        await self.ready(name)
        return self.seat(name).current.number

    def load(self, extension: EnabledExtension) -> None:
        """Run an extension from now on. Its workers are started in the background.

        Raises:
            EnablingError: `name_twice`: it is run already.
            ManifestError: One of its schemas is none.
        """
        name = extension.manifest.name
        if name in self._of:
            raise EnablingError(f"{name} is run already", code="name_twice")
        self._of[name] = Seat(
            extension,
            make=self._generation,
            metrics=self.metrics.of(name),
            registry=self._registry,
            recorded=self._recording.flushed,
            nursery=self._nursery,
            emit=self._emit,
            changed=self._renamed,
        )
        self._renamed()
        if extension.development:
            self._nursery.start_soon(self._of[name].watch_files, self._options.watch_ms / 1000)

    def unload(self, name: str, reason: str = "it was disabled") -> None:
        """Run it no more: open calls are cancelled (EXT-19), those that wait are refused. Nothing if it is not run."""
        seat = self._of.pop(name, None)
        if seat is not None:
            self._renamed()
            seat.close(reason)

    async def reset(self, name: str, *, by: str = "operator") -> None:
        """End a quarantine because a human says so (EXT-38). Durable when it returns.

        Raises:
            EnablingError: `not_enabled`: it is not run here.
            JournalError, ActorError: The lane does not take it; the quarantine is over all the same.
        """
        change = self.seat(name).breaker.reset()
        if change is not None:
            await self._recording.flushed()
            await self._registry.breaker_changed(name, change, by=by)

    def seat(self, name: str) -> Seat:
        """The one of an extension.

        Raises:
            EnablingError: `not_enabled`.
        """
        seat = self._of.get(name)
        if seat is None:
            raise EnablingError(f"{name} is not run here", code="not_enabled")
        return seat

    def _generation(
        self, extension: EnabledExtension, number: int, breaker: Breaker, metrics: ExtensionMetrics
    ) -> Generation:
        return Generation(
            extension,
            number,
            processes=self._processes,
            options=self._options,
            memory=self.memory,
            sampler=self._sampler,
            breaker=breaker,
            metrics=metrics,
            emit=self._emit,
            on_log=self._on_log,
        )

    def _renamed(self) -> None:
        self.names = Names(seat.current for seat in self._of.values())
        self._changed()

    # --- what goes on beside the calls ------------------------------------------------------------------

    def start(self) -> None:
        """Begin it."""
        for task in (self._sampler.run, self._recording.run, self._look_at_idle):
            self._nursery.start_soon(self._go_on, task)

    async def _go_on(self, task: Callable[[], Awaitable[None]]) -> None:
        """Do something for ever. A mistake of ours in it is told, and it is begun anew: calls do not depend on it."""
        while True:
            try:
                await task()
            except Exception as error:
                _LOG.exception("a task of the extension host failed")
                self._emit("extension_task_failed", severity="error", error=type(error).__name__)
            await trio.sleep(_LOOK)

    async def _look_at_idle(self) -> None:
        while True:
            await trio.sleep(_LOOK)
            for seat in self._of.values():
                for generation in seat.generations:
                    generation.pool.look_at_idle()

    async def close(self, reason: str) -> None:
        """Cancel the calls that are open (EXT-19), let idle workers end; returns when none is left."""
        seats = self.all()
        for seat in seats:
            seat.close(reason)
        for seat in seats:
            await seat.ended()
        await self._recording.flushed()
