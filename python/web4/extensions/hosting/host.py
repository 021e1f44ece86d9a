"""The extensions of a node, running: where a call goes, whether it may, and what came of it."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import trio

from web4.extensions.conversation.call import Call
from web4.extensions.errors import CallError
from web4.extensions.hooks.hooks import HookChain
from web4.extensions.hosting.generation import arguments_of
from web4.extensions.hosting.host_health import HostHealth, health_of
from web4.extensions.hosting.options import HostOptions
from web4.extensions.hosting.provisional import Provisional
from web4.extensions.hosting.seats import Seats
from web4.extensions.pool.pool import Moved
from web4.extensions.pool.waiting import Refusal
from web4.extensions.quarantine import Permit
from web4.foundation.clock import SystemClock
from web4.foundation.events import IsolatedEmitter, no_events
from web4.foundation.ids import SystemIds
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from web4.extensions.conversation.call import Ask, OnEmit, OnIntent, OnLog, OnProgress
    from web4.extensions.enabling.standing import EnabledExtension
    from web4.extensions.hosting.generation import Generation
    from web4.extensions.hosting.operations import Names, Operation
    from web4.extensions.hosting.recording import Registry
    from web4.extensions.outcome import CallOutcome
    from web4.extensions.processes import Processes
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource
    from web4.worker.frames import CallKind

_NOWHERE: Final = CallContext()
_QUARANTINED: Final = "extension_quarantined"


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
        self._options = options
        self._clock = clock
        self._ask = ask
        self._prefix = ids.uuid4()
        self._calls = 0
        self._closed = False
        self._seats = Seats(
            processes,
            nursery,
            registry=registry,
            options=options,
            emit=emit,
            on_log=on_log,
            changed=self._renamed,
        )
        self.metrics = self._seats.metrics
        """What is counted of each extension (EXT-40)."""
        self.hooks = self.chain(self._seats.names, None)
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
        route = (self._seats.names if view is None else view.names).find(kind, name)
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
        generation = route.generation
        permit = generation.breaker.leave or generation.breaker.admit(self._clock.wall_ms())
        if not isinstance(permit, Permit):
            return await self._refuse(generation, call, permit.retry_after_ms)
        code: str | None = "extension_cancelled"
        try:
            outcome = await generation.pool.call(
                call,
                session=context.session,
                within_ms=math.inf if remaining_ms is None else remaining_ms,
                again=idempotency_key is not None and operation.idempotent,
                pinned=view is not None,
            )
            if isinstance(outcome, Moved):
                outcome = await self._call_anew(operation, outcome)
            code = outcome.code
        finally:
            if code is not None or permit.trial:  # nothing else is news to a breaker
                self._tell(generation, permit, code)
        generation.metrics.concluded(outcome)
        return outcome

    async def _call_anew(self, operation: Operation, moved: Moved) -> CallOutcome:
        """Another generation has taken over while the call waited: it is made there, with the time it has left."""
        while True:
            call: Call = moved.call
            route = self._seats.names.find(call.kind, operation.full_name)
            route.check(arguments_of(call))
            answer = await route.generation.pool.call(
                call,
                session=call.context.session,
                within_ms=math.inf if call.remaining_ms is None else call.remaining_ms,
                again=moved.again,
                fresh=moved.fresh,
                before=moved.waited,
            )
            if not isinstance(answer, Moved):
                return answer
            moved = answer

    async def _refuse(self, generation: Generation, call: Call, retry_after_ms: int) -> CallOutcome:
        await trio.lowlevel.checkpoint()
        outcome = generation.refused(call, _quarantined(generation.name, retry_after_ms), 0.0)
        generation.metrics.concluded(outcome)
        return outcome

    def _tell(self, generation: Generation, permit: Permit, code: str | None) -> None:
        """Tell the breaker what came of a call, and whoever has to know what it makes of that (EXT-38)."""
        change = generation.breaker.conclude(permit, code, self._clock.wall_ms())
        if change is not None:
            self._seats.record(generation.name, change)
            if change.event == "quarantined":
                generation.pool.refuse_waiting(_quarantined(generation.name, change.state.duration_ms))

    # --- what there is ----------------------------------------------------------------------------------

    def operations(self) -> list[Operation]:
        """Everything that can be called now, by kind and name."""
        return self._seats.names.operations()

    def operation(self, kind: CallKind, name: str) -> Operation:
        """What a name stands for now.

        Raises:
            CallError: `unknown_operation`.
        """
        return self._seats.names.find(kind, name).operation

    @contextmanager
    def pin(self) -> Iterator[View]:
        """See every extension in one generation for the time of the block, a turn (EXT-39)."""
        names = self._seats.names
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
        now = self._clock.wall_ms()
        return HostHealth(
            extensions=[health_of(seat, now) for seat in self._seats.all()],
            workers=self._processes.living,
            memory_bytes=self._seats.memory.used,
            memory_ceiling=self._seats.memory.ceiling,
            starts_without_room=self._seats.memory.refused,
        )

    # --- extensions come and go -------------------------------------------------------------------------

    async def ready(self, name: str) -> None:
        """See `Seats.ready`."""
        await self._seats.ready(name)

    async def reload(self, name: str) -> int:
        """See `Seats.reload`.

        Raises:
            CallError: `host_closed`.
        """
        if self._closed:
            raise CallError("the node is leaving", code="host_closed")
        return await self._seats.reload(name)

    def load(self, extension: EnabledExtension) -> None:
        """See `Seats.load`."""
        self._seats.load(extension)

    def unload(self, name: str, reason: str = "it was disabled") -> None:
        """See `Seats.unload`."""
        self._seats.unload(name, reason)

    async def reset(self, name: str, *, by: str = "operator") -> None:
        """See `Seats.reset`."""
        await self._seats.reset(name, by=by)

    def _renamed(self) -> None:
        self.hooks = self.chain(self._seats.names, None)

    def begin(self) -> None:
        """Begin what goes on beside the calls."""
        self._seats.start()

    async def close(self, reason: str) -> None:
        """Take no more calls, cancel those that are open (EXT-19), let idle workers end; returns when none is left."""
        self._closed = True
        await self._seats.close(reason)


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
                host.begin()
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
