"""The extensions of a node, running: where a call goes, whether it may, and what came of it."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import trio

from web4.extensions.call import Call
from web4.extensions.errors import CallError, EnablingError
from web4.extensions.generation import Generation
from web4.extensions.hooks import HookChain
from web4.extensions.memory import MemoryCeiling
from web4.extensions.metrics import ExtensionMetrics, HostMetrics
from web4.extensions.operations import Names, Operation
from web4.extensions.options import HostOptions
from web4.extensions.pool import Moved, PoolHealth
from web4.extensions.provisional import Provisional
from web4.extensions.quarantine import Breaker, Mode, Permit
from web4.extensions.recording import Recording
from web4.extensions.reloading import Seat
from web4.extensions.sampling import Sampler
from web4.extensions.waiting import Refusal
from web4.foundation.clock import SystemClock
from web4.foundation.events import IsolatedEmitter, no_events
from web4.foundation.ids import SystemIds
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from web4.extensions.call import Ask, OnEmit, OnIntent, OnLog, OnProgress
    from web4.extensions.operations import Route
    from web4.extensions.outcome import CallOutcome
    from web4.extensions.processes import Processes
    from web4.extensions.recording import Registry
    from web4.extensions.standing import EnabledExtension
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource
    from web4.worker.frames import CallKind

_NOWHERE: Final = CallContext()
_LOOK: Final = 1.0
"""Seconds between two looks at idle workers."""
_QUARANTINED: Final = "extension_quarantined"


class ExtensionHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One extension at one moment.

    Args:
        name: Its name.
        version: Of the generation that takes calls.
        generation: Its number.
        digest: Of its files as they were read.
        development: Whether it is loaded anew when they change.
        quarantine: `closed` is the good one (EXT-38).
        retry_after_ms: Until a trial call is let through.
        older: Generations that still finish their calls.
        failure: Why the last reload failed.
        pool: Of the generation that takes calls.
        metrics: See `ExtensionMetrics.summary`.
    """

    name: str
    version: str
    generation: int
    digest: str
    development: bool
    quarantine: Mode
    retry_after_ms: int
    older: int
    failure: str | None
    pool: PoolHealth
    metrics: dict[str, Any]


class HostHealth(msgspec.Struct, frozen=True, kw_only=True):
    """All extensions of a node at one moment.

    Args:
        extensions: By name.
        workers: Worker processes of which something lives.
        memory_bytes: What workers were last seen to hold, in all.
        memory_ceiling: What they may (EXT-37).
        starts_without_room: How often a worker was not started for want of it.
    """

    extensions: list[ExtensionHealth]
    workers: int
    memory_bytes: int
    memory_ceiling: int | None
    starts_without_room: int


class View:
    """What a run sees during one turn: every extension in one generation, whatever is reloaded meanwhile (EXT-39).

    `ExtensionHost.pin` makes it; it ends with that block.
    """

    def __init__(self, host: ExtensionHost, names: Names) -> None:
        self._host = host
        self.names = names
        self.hooks = host.chain(names, self)
        """The hooks of these generations."""

    async def call(self, kind: CallKind, name: str, arguments: Any, **given: Any) -> CallOutcome:
        """See `ExtensionHost.call`."""
        return await self._host.call(kind, name, arguments, view=self, **given)

    def operations(self) -> list[Operation]:
        """See `ExtensionHost.operations`."""
        return self.names.operations()


class ExtensionHost:
    """Runs extensions. `open_extension_host` makes it."""

    def __init__(
        self,
        processes: Processes,
        nursery: trio.Nursery,
        *,
        registry: Registry,
        options: HostOptions,
        emit: Emitter,
        clock: Clock,
        ids: IdSource,
        ask: Ask | None,
        on_log: OnLog | None,
    ) -> None:
        self._processes = processes
        self._nursery = nursery
        self._registry = registry
        self._options = options
        self._emit = emit
        self._clock = clock
        self._ask = ask
        self._on_log = on_log
        self._memory = MemoryCeiling(options.memory_bytes)
        self._sampler = Sampler()
        self._recording = Recording(registry, emit)
        self._seats: dict[str, Seat] = {}
        self._names = Names(())
        self._prefix = ids.uuid4()
        self._calls = 0
        self._closed = False
        self.metrics = HostMetrics()
        """What is counted of each extension (EXT-40)."""
        self.hooks = self.chain(self._names, None)
        """The hooks of the generations that take calls now; of a turn, see `pin`."""

    # --- calls ------------------------------------------------------------------------------------------

    async def call(
        self,
        kind: CallKind,
        name: str,
        arguments: Any,
        *,
        context: CallContext = _NOWHERE,
        timeout_ms: int | None = None,
        remaining_ms: int | None = None,
        call_id: str | None = None,
        idempotency_key: str | None = None,
        on_progress: OnProgress | None = None,
        ask: Ask | None = None,
        on_emit: OnEmit | None = None,
        on_intent: OnIntent | None = None,
        view: View | None = None,
    ) -> CallOutcome:
        """Call an extension. Whatever the extension does is in the outcome; nothing of it is raised (EXT-4).

        Cancelled while it waits for a worker, nothing was requested of one. Cancelled later, the worker is told, and
        killed if it does not yield (EXT-19); then the cancellation goes on.

        Args:
            kind: What is called.
            name: `<extension>.<name>`, or the name alone while that is unambiguous (EXT-8).
            arguments: JSON values, and bytes where no schema forbids them.
            context: Ids for the extension (EXT-16); its `session` is what `reuse = "session"` goes by.
            timeout_ms: A shorter limit than the manifest's, milliseconds; a longer one changes nothing.
            remaining_ms: What the run has left, the time in the queue included (EXT-20).
            call_id: Unique in the node's life; None for one of the host's making.
            idempotency_key: For the extension; with it, a lost call of an idempotent tool is made once more (EXT-23).
            on_progress: Gets the call's progress, at most 20 a second; must not block.
            ask: Asks the person of this call; the host's own if None.
            on_emit: Gets the events of a workload.
            on_intent: Decides the intents of a workload.
            view: The turn's (EXT-39).

        Raises:
            CallError: Nothing was requested of any worker: there is no such operation, or more than one, or the
                arguments do not fit, or the node is leaving.
            ValueError: A time is not positive.
            Exception: What a callback raised; the worker is killed.
        """
        if self._closed:
            await trio.lowlevel.checkpoint()
            raise CallError("the node is leaving", code="host_closed")
        route = (self._names if view is None else view.names).find(kind, name)
        route.check(arguments)
        operation = route.operation
        limit = operation.timeout_ms if timeout_ms is None else min(timeout_ms, operation.timeout_ms)
        if limit <= 0 or (remaining_ms is not None and remaining_ms <= 0):
            raise ValueError("times are positive (EXT-20)")
        if call_id is None:
            self._calls += 1
            call_id = f"{self._prefix}-{self._calls}"
        call = Call(
            call_id=call_id,
            kind=kind,
            name=operation.name,
            arguments=arguments,
            timeout_ms=limit,
            remaining_ms=remaining_ms,
            idempotency_key=idempotency_key,
            context=context,
            cancellable=operation.cancellable,
            settle_ms=self._options.settle_ms,
            on_progress=on_progress,
            ask=ask or self._ask,
            on_emit=on_emit,
            on_intent=on_intent,
        )
        return await self._admitted(route, call, view)

    async def _admitted(self, route: Route, call: Call, view: View | None) -> CallOutcome:
        """Make the call if the extension's breaker lets it through, and tell that what came of it (EXT-38)."""
        generation = route.generation
        breaker = generation.breaker
        permit = breaker.admit(self._clock.wall_ms())
        if not isinstance(permit, Permit):
            await trio.lowlevel.checkpoint()
            outcome = generation.refused(call, _quarantined(generation.name, permit.retry_after_ms), 0.0)
            generation.metrics.concluded(outcome)
            return outcome
        code: str | None = "extension_cancelled"
        try:
            outcome = await self._served(route, call, view)
            code = outcome.code
        finally:
            change = breaker.conclude(permit, code, self._clock.wall_ms())
            if change is not None:
                self._recording.changed(generation.name, change)
                if change.event == "quarantined":
                    refusal = _quarantined(generation.name, change.state.duration_ms)
                    generation.pool.refuse_waiting(refusal)
        generation.metrics.concluded(outcome)
        return outcome

    async def _served(self, route: Route, call: Call, view: View | None) -> CallOutcome:
        again = route.operation.idempotent and call.idempotency_key is not None
        session = call.context.session
        remaining = call.remaining_ms
        answer = await route.generation.pool.call(
            call,
            session=session,
            within_ms=math.inf if remaining is None else remaining,
            again=again,
            pinned=view is not None,
        )
        while isinstance(answer, Moved):
            # Another generation has taken over while it waited: it is called there as if it came now.
            route = self._names.find(call.kind, route.operation.full_name)
            route.check(call.arguments)
            answer = await route.generation.pool.call(
                call,
                session=session,
                within_ms=math.inf if remaining is None else remaining,
                again=answer.again,
                fresh=answer.fresh,
            )
        return answer

    # --- what there is ----------------------------------------------------------------------------------

    def operations(self) -> list[Operation]:
        """Everything that can be called now, by kind and name."""
        return self._names.operations()

    def operation(self, kind: CallKind, name: str) -> Operation:
        """What a name stands for now.

        Raises:
            CallError: `unknown_operation`.
        """
        return self._names.find(kind, name).operation

    @contextmanager
    def pin(self) -> Iterator[View]:
        """See every extension in one generation for the time of the block, a turn (EXT-39)."""
        names = self._names
        for generation in names.generations.values():
            generation.pin()
        try:
            yield View(self, names)
        finally:
            for generation in names.generations.values():
                generation.unpin()

    def chain(self, names: Names, view: View | None) -> HookChain:
        """The hooks of some generations, called through this host."""

        async def call(
            extension: str, kind: Literal["hook"], name: str, arguments: dict[str, Any], context: CallContext
        ) -> CallOutcome:
            return await self.call(kind, f"{extension}.{name}", arguments, context=context, view=view)

        return HookChain([one.manifest for one in names.generations.values()], call)

    def health(self) -> HostHealth:
        """How everything stands."""
        return HostHealth(
            extensions=[self._health(seat) for _, seat in sorted(self._seats.items())],
            workers=self._processes.living,
            memory_bytes=self._memory.used,
            memory_ceiling=self._memory.ceiling,
            starts_without_room=self._memory.refused,
        )

    def _health(self, seat: Seat) -> ExtensionHealth:
        now = self._clock.wall_ms()
        current = seat.current
        state = seat.breaker.state
        return ExtensionHealth(
            name=seat.name,
            version=current.manifest.version,
            generation=current.number,
            digest=current.extension.digest,
            development=current.extension.development,
            quarantine=seat.breaker.mode(now),
            retry_after_ms=max(0, state.until - now) if state.is_open else 0,
            older=sum(one is not current for one in seat.generations),
            failure=seat.failure,
            pool=current.pool.health(),
            metrics=seat.metrics.summary(),
        )

    # --- extensions come and go -------------------------------------------------------------------------

    async def ready(self, name: str) -> None:
        """Until a worker of that extension is ready; starts one if need be.

        Raises:
            EnablingError: `not_enabled`: it is not run here.
            WorkerStartError: It does not become ready.
        """
        await self._seat(name).current.pool.ready()

    async def reload(self, name: str) -> int:
        """Run what is enabled now: a new generation of a running extension (EXT-39), or one that was not run before.

        Open calls finish on the old one. When the new one fails, the old one serves on.

        Returns:
            The number of the generation that takes calls.

        Raises:
            CallError: `host_closed`.
            ExtensionError: It is not enabled, has changed, is none, or its worker does not start.
            JournalError, ActorError: The lane does not take the note.
        """
        if self._closed:
            raise CallError("the node is leaving", code="host_closed")
        seat = self._seats.get(name)
        if seat is not None:
            return (await seat.reload()).number
        standing = await self._registry.standing(name)
        if standing.extension is None:
            assert standing.problem is not None
            raise standing.problem
        if name not in self._seats:
            self.load(standing.extension)
        await self.ready(name)
        return self._seat(name).current.number

    def load(self, extension: EnabledExtension) -> None:
        """Run an extension from now on. Its workers are started in the background.

        Raises:
            EnablingError: `name_twice`: it is run already.
            ManifestError: One of its schemas is none.
        """
        name = extension.manifest.name
        if name in self._seats:
            raise EnablingError(f"{name} is run already", code="name_twice")
        self._seats[name] = Seat(
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
            self._nursery.start_soon(self._seats[name].watch_files, self._options.watch_ms / 1000)

    def unload(self, name: str, reason: str = "it was disabled") -> None:
        """Run it no more: open calls are cancelled (EXT-19), those that wait are refused. Nothing if it is not run."""
        seat = self._seats.pop(name, None)
        if seat is not None:
            self._renamed()
            seat.close(reason)

    async def reset(self, name: str, *, by: str = "operator") -> None:
        """End a quarantine because a human says so (EXT-38). Durable when it returns.

        Raises:
            EnablingError: `not_enabled`: it is not run here.
            JournalError, ActorError: The lane does not take it; the quarantine is over all the same.
        """
        change = self._seat(name).breaker.reset()
        if change is not None:
            await self._recording.flushed()
            await self._registry.breaker_changed(name, change, by=by)

    def _seat(self, name: str) -> Seat:
        seat = self._seats.get(name)
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
            memory=self._memory,
            sampler=self._sampler,
            breaker=breaker,
            metrics=metrics,
            emit=self._emit,
            on_log=self._on_log,
        )

    def _renamed(self) -> None:
        """Other generations take the calls."""
        self._names = Names(seat.current for seat in self._seats.values())
        self.hooks = self.chain(self._names, None)

    # --- its life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin what goes on beside the calls."""
        self._nursery.start_soon(self._sampler.run)
        self._nursery.start_soon(self._recording.run)
        self._nursery.start_soon(self._look_at_idle)

    async def _look_at_idle(self) -> None:
        while True:
            await trio.sleep(_LOOK)
            for seat in self._seats.values():
                for generation in seat.generations:
                    generation.pool.look_at_idle()

    async def close(self, reason: str) -> None:
        """Take no more calls, cancel those that are open (EXT-19), let idle workers end; returns when none is left."""
        self._closed = True
        seats = list(self._seats.values())
        for seat in seats:
            seat.close(reason)
        for seat in seats:
            await seat.ended()
        await self._recording.flushed()


@asynccontextmanager
async def open_extension_host(
    extensions: Iterable[EnabledExtension],
    processes: Processes,
    *,
    registry: Registry | None = None,
    options: HostOptions | None = None,
    emit: Emitter = no_events,
    clock: Clock | None = None,
    ids: IdSource | None = None,
    ask: Ask | None = None,
    on_log: OnLog | None = None,
) -> AsyncIterator[ExtensionHost]:
    """Run extensions for the time of the block. Their spares start in the background; calls may come at once.

    At the end open calls are cancelled as EXT-19 says, and every worker is dead and reaped. Cancelled, all are killed
    without ado.

    Args:
        extensions: What may be started (`Enabling.extensions`).
        processes: Starts workers; outlives the host.
        registry: Who knows what is enabled; None where no lane is: nothing is recorded.
        options: See there.
        emit: Told of generations, failures, and what workers do (EXT-40).
        clock: For quarantines, in Unix milliseconds.
        ids: For ids of calls.
        ask: Asks a person, where a call brings no way of its own (EXT-18).
        on_log: Gets the log of every extension; must not block or raise.

    Raises:
        EnablingError: Two extensions have one name.
        ManifestError: A schema is none.
    """
    extensions = list(extensions)
    options = options or HostOptions()
    own: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            host = ExtensionHost(
                processes,
                nursery,
                registry=registry or Provisional(extensions, options.tree),
                options=options,
                emit=IsolatedEmitter(emit),
                clock=clock or SystemClock(),
                ids=ids or SystemIds(),
                ask=ask,
                on_log=on_log,
            )
            try:
                for one in extensions:
                    host.load(one)
                host.start()
                yield host
            except BaseException as error:
                own = error
                raise
            finally:
                with trio.move_on_after(options.close_ms / 1000):
                    await host.close("the node is leaving")
                nursery.cancel_scope.cancel()
        return
    except BaseExceptionGroup as group:
        foreign = group.split(lambda error: error is own or isinstance(error, trio.Cancelled))[1]
        raised = group if own is None or foreign is not None else own
    raise raised  # out here, so that what the block raised comes out as it was


def _quarantined(name: str, retry_after_ms: int) -> Refusal:
    reason = f"{name} failed too often; it may be called again in {retry_after_ms} ms"
    return Refusal(_QUARANTINED, "refused", reason)
