"""One extension of a host over all its generations: loaded, loaded anew, watched, kept (EXT-39)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from web4.extensions.errors import EnablingError, ExtensionError
from web4.extensions.pool.spares import StartPauses
from web4.extensions.quarantine import Breaker, BreakerState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.extensions.enabling.standing import EnabledExtension
    from web4.extensions.hosting.generation import Generation
    from web4.extensions.hosting.recording import Registry
    from web4.extensions.metrics import ExtensionMetrics
    from web4.foundation.events import Emitter

_LOG: Final = logging.getLogger("web4.extensions")


class Seat:
    """An extension's place in a host: the generation that takes calls, and those that still finish theirs.

    Args:
        extension: Its first reading.
        make: Makes a generation of a reading, with its number.
        metrics: Of the extension.
        registry: Told before a new generation takes over.
        recorded: Waits until the registry has been told of all changes of quarantine.
        nursery: Where pools are kept.
        emit: Told of failures.
        changed: Called when another generation takes the calls.
    """

    def __init__(
        self,
        extension: EnabledExtension,
        *,
        make: Callable[[EnabledExtension, int, Breaker, ExtensionMetrics], Generation],
        metrics: ExtensionMetrics,
        registry: Registry,
        recorded: Callable[[], Awaitable[None]],
        nursery: trio.Nursery,
        emit: Emitter,
        changed: Callable[[], None],
    ) -> None:
        self.name = extension.manifest.name
        self.breaker = Breaker(extension.record.quarantine or BreakerState())
        self.metrics = metrics
        self.failure: str | None = None
        """Why the last reload failed; None when it did not."""
        self.watch = trio.CancelScope()
        self._make = make
        self._registry = registry
        self._recorded = recorded
        self._nursery = nursery
        self._emit = emit
        self._changed = changed
        self._one_at_a_time = trio.Lock()
        self._pools: set[Generation] = set()
        self._refused: str | None = None
        self._closed = False
        self._ended = trio.Event()
        self.current = make(extension, 1, self.breaker, metrics)
        self._number = 1
        self._keep(self.current)

    # --- reloading --------------------------------------------------------------------------------------

    async def reload(self) -> Generation:
        """Read the extension again and let a new generation take over, once one of its workers is ready.

        Until then, and when anything fails, the old one serves. Cancelled, it is as if it had not been asked for.

        Raises:
            ExtensionError: What is there is not enabled, is no extension, or its worker does not start.
            JournalError, ActorError: The lane does not take the note.
        """
        async with self._one_at_a_time:
            try:
                await self._recorded()
                standing = await self._registry.standing(self.name)
                if standing.extension is None:
                    assert standing.problem is not None
                    raise standing.problem
                return await self._replace(standing.extension)
            except Exception as error:
                self._reload_failed(error)
                raise

    async def _replace(self, extension: EnabledExtension) -> Generation:
        if self._closed:
            raise EnablingError(f"{self.name} is run no more", code="not_enabled")
        self._number += 1
        new = self._make(extension, self._number, self.breaker, self.metrics)
        self._keep(new)
        try:
            await new.pool.ready()
            await self._registry.reloaded(extension, new.number)
        except BaseException:
            new.pool.close("it did not take over")
            raise
        old, self.current = self.current, new
        self.failure = self._refused = None
        if extension.record.quarantine is None and extension.digest != old.extension.digest:
            self.breaker.reset()  # it was for other files, and the lane has none for these
        self._changed()
        old.pool.supersede()
        self._emit(
            "extension_generation", extension=self.name, generation=new.number, digest=extension.digest
        )
        return new

    def _reload_failed(self, error: Exception) -> None:
        self.failure = str(error) if isinstance(error, ExtensionError) else type(error).__name__
        self._emit(
            "extension_reload_failed",
            severity="warning",
            extension=self.name,
            generation=self.current.number,
            reason=self.failure,
        )

    async def watch_files(self, pause: float) -> None:
        """Reload whenever files have changed, until `watch` is cancelled (development mode).

        Args:
            pause: Seconds between two looks.
        """
        with self.watch:
            tree = self.current.extension.tree
            while True:
                await trio.sleep(pause)
                current = self.current
                if await trio.to_thread.run_sync(current.looks_unchanged, tree, abandon_on_cancel=True):
                    continue
                try:
                    standing = await self._registry.standing(self.name)
                except Exception as error:
                    _LOG.warning("files in development cannot be compared: %s", type(error).__name__)
                    continue
                found = standing.extension
                if found is not None and found.digest == current.extension.digest:
                    tree = found.tree
                    continue
                seen = found.digest if found is not None else f"{standing.digest} {standing.problem}"
                if seen == self._refused:
                    continue
                self._refused = seen  # until it changes again, it is not tried again
                try:
                    await self.reload()
                except Exception:
                    _LOG.warning("%s in development was not reloaded: %s", self.name, self.failure)
                tree = self.current.extension.tree

    # --- keeping ----------------------------------------------------------------------------------------

    def close(self, reason: str) -> None:
        """End all of it: open calls are cancelled, workers told to go. Nothing is started any more."""
        self._closed = True
        self.watch.cancel()
        for generation in self._pools:
            generation.pool.close(reason)

    def _keep(self, generation: Generation) -> None:
        self._pools.add(generation)
        self._nursery.start_soon(self._keep_pool, generation)

    async def _keep_pool(self, generation: Generation) -> None:
        """Run a generation's pool. A mistake of ours in it costs this pool its calls, and the host nothing."""
        pauses = StartPauses()
        try:
            while True:
                pool = generation.pool
                try:
                    await pool.run()
                    return
                except Exception as error:
                    _LOG.exception("the pool of %s failed", self.name)
                    self._emit(
                        "extension_pool_failed",
                        severity="error",
                        extension=self.name,
                        generation=generation.number,
                        error=type(error).__name__,
                    )
                if self._closed or generation is not self.current:
                    return
                pauses.failed(trio.current_time())
                await trio.sleep_until(pauses.until)
                if self._closed:
                    return
                generation.new_pool()
        finally:
            self._pools.discard(generation)
            if not self._pools:
                self._ended.set()

    async def ended(self) -> None:
        """Until nothing is left of it, after `close`."""
        await self._ended.wait()

    @property
    def generations(self) -> list[Generation]:
        """Those of which something is left, the one that takes calls among them."""
        return sorted(self._pools, key=lambda one: one.number)
