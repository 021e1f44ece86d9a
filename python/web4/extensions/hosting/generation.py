"""One generation of an extension: one reading of its files, its workers, what it can be called for (EXT-39)."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from web4.extensions.conversation.redacting import known_from
from web4.extensions.conversation.terms import Terms
from web4.extensions.errors import TreeError, WorkerStartError
from web4.extensions.hosting.operations import Route, operations_of
from web4.extensions.outcome import CallOutcome
from web4.extensions.places.digest import TreeDigest, difference, tree_digest, unchanged
from web4.extensions.pool.pool import Pool, PoolOptions
from web4.extensions.pool.warm_worker import WarmWorker, open_worker
from web4.extensions.processes import StartSpec
from web4.worker.request import Limits, Sandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.extensions.conversation.call import Call, OnLog
    from web4.extensions.conversation.sampling import Sampler
    from web4.extensions.enabling.standing import EnabledExtension
    from web4.extensions.hosting.options import HostOptions
    from web4.extensions.metrics import ExtensionMetrics
    from web4.extensions.pool.memory import MemoryCeiling
    from web4.extensions.pool.waiting import Refusal
    from web4.extensions.processes import Processes
    from web4.extensions.quarantine import Breaker
    from web4.foundation.events import Emitter

_LIFETIME: Final = 1_000
"""Calls' worth of processor time that a worker gets in its whole life, behind the accounting per call."""
_LONGEST_CPU: Final = 10**9
"""Seconds; more than the kernel needs to be told."""


class Generation:
    """A reading of an extension, and its pool. Its operations never change; its workers come and go.

    Args:
        extension: As it was read.
        number: From 1 up, of this extension in this life of the node.
        processes: Starts its workers.
        options: Of the host.
        memory: The ceiling over all pools.
        sampler: Looks at its workers.
        breaker: Of the extension, over all its generations.
        metrics: Of the extension, likewise.
        emit: Where telemetry goes.
        on_log: Gets the extension's log.

    Raises:
        ManifestError: One of its schemas is none.
    """

    def __init__(
        self,
        extension: EnabledExtension,
        number: int,
        *,
        processes: Processes,
        options: HostOptions,
        memory: MemoryCeiling,
        sampler: Sampler,
        breaker: Breaker,
        metrics: ExtensionMetrics,
        emit: Emitter,
        on_log: OnLog | None,
    ) -> None:
        manifest = extension.manifest
        self.extension = extension
        self.manifest = manifest
        self.name = manifest.name
        self.number = number
        self.routes = [Route(one, self) for one in operations_of(manifest, number)]
        self._processes = processes
        self._options = options
        self._memory = memory
        self._sampler = sampler
        self.breaker = breaker
        self.metrics = metrics
        self._tree = extension.tree
        self._spec = start_spec(extension, number, options)
        self._terms = Terms(
            manifest,
            generation=number,
            config=options.config.get(manifest.name),
            on_log=on_log,
            emit=emit,
            secrets=(*options.secrets, known_from(self._spec.environment)),
        )
        self._pins = 0
        self.pool = self.new_pool()

    def new_pool(self) -> Pool[Call]:
        """A pool of its workers, the first one or another after a mishap; `self.pool` is what calls go to."""
        resources, timeouts = self.manifest.resources, self.manifest.timeouts
        self.pool = Pool(
            self.start,
            self.refused,
            options=PoolOptions(
                workers=resources.workers,
                spares=resources.spares,
                reuse=self.manifest.reuse,
                queue_ms=timeouts.queue_ms,
                idle_ms=timeouts.idle_ms,
                calls=self._options.calls,
                queue=self._options.queue,
            ),
            memory=self._memory,
            metrics=self.metrics,
            settle=_settled,
        )
        for _ in range(self._pins):
            self.pool.pin()
        return self.pool

    def pin(self) -> None:
        """A run sees this generation, until it is unpinned as often."""
        self._pins += 1
        self.pool.pin()

    def unpin(self) -> None:
        """A run sees it no more."""
        self._pins -= 1
        self.pool.unpin()

    # --- workers ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def start(self) -> AsyncIterator[WarmWorker]:
        """Start a worker and bring it to `ready`, if its code still is what was enabled (EXT-7).

        Raises:
            WorkerStartError: It did not start, was not ready in time, or must not start.
        """
        await self._check_code()
        async with open_worker(self._processes, self._spec, self._terms, self._sampler) as worker:
            await self._check_code()  # what it has just imported is what was looked at
            try:
                yield worker
            finally:
                self.metrics.discarded_frames += worker.discarded

    async def _check_code(self) -> None:
        """Look whether any file changed; read all of them again only if one seems to have."""
        if self.extension.development:
            return
        reason = await trio.to_thread.run_sync(self._changed, abandon_on_cancel=True)
        if reason is not None:
            raise WorkerStartError(f"{self.name} is not what was enabled: {reason}", code="extension_changed")

    def _changed(self) -> str | None:
        directory, limits = self.extension.directory, self._options.tree
        if unchanged(directory, self._tree, limits):
            return None
        try:
            tree = tree_digest(directory, limits)
        except TreeError as error:
            return str(error)
        if tree.digest != self.extension.digest:
            return str(difference(self._tree.files, tree.files))
        self._tree = tree
        return None

    def looks_unchanged(self, known: TreeDigest) -> bool:
        """Whether the files certainly are what they were. Blocks."""
        return unchanged(self.extension.directory, known, self._options.tree)

    # --- outcomes ---------------------------------------------------------------------------------------

    def refused(self, call: Call, refusal: Refusal, waited: float) -> CallOutcome:
        """The outcome of a call that no worker had, and the seconds that it waited."""
        return CallOutcome(
            outcome=refusal.outcome,
            code=refusal.code,
            extension=self.name,
            version=self.manifest.version,
            operation=f"{call.kind}:{call.name}",
            reason=refusal.reason,
            timeout_ms=call.timeout_ms,
            elapsed_ms=0.0,
            queue_ms=round(waited * 1000, 3),
            call_id=call.call_id,
            retryable=refusal.retryable,
            sandbox=self.manifest.sandbox.level,
            side_effects=False,
        )


def _settled(call: Call) -> Call:
    """The call as it will be sent: what was checked is what its worker gets, however long it waits until then."""
    try:
        arguments = msgspec.Raw(msgspec.msgpack.encode(call.arguments))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return call  # it cannot be sent, which its conversation tells
    return msgspec.structs.replace(call, arguments=arguments)


def arguments_of(call: Call) -> Any:
    """What a call is made with, whether it had to wait or not."""
    given = call.arguments
    return msgspec.msgpack.decode(given) if isinstance(given, msgspec.Raw) else given


def start_spec(extension: EnabledExtension, number: int, options: HostOptions) -> StartSpec:
    """How its workers are started."""
    manifest = extension.manifest
    resources, wish = manifest.resources, manifest.sandbox
    variables = os.environ if options.environment is None else options.environment
    return StartSpec(
        extension=manifest.name,
        version=manifest.version,
        entry=manifest.entry,
        directory=extension.directory,
        environment={name: variables[name] for name in manifest.environment if name in variables},
        limits=Limits(
            memory=resources.memory_mb << 20,
            cpu_seconds=min(resources.cpu_seconds * _LIFETIME, _LONGEST_CPU),
            open_files=resources.open_files,
            processes=resources.processes,
            file=resources.file_mb << 20,
        ),
        sandbox=Sandbox(
            level=wish.level,
            network=wish.network,
            read=wish.read,
            write=wish.write,
            hidden=options.hidden,
            required=wish.required,
            without=options.without,
        ),
        user=options.worker_user,
        generation=number,
    )
