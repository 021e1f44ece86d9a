"""Calling an extension from the command line: through a lane of its own, while no node runs (EXT-3)."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import trio

from web4.actors.lane_actors import open_lane_actors
from web4.cli.extensions.writing import rules_of
from web4.cli.journal.known import kinds_of, known_types
from web4.extensions.calls.call_events import CallRequested
from web4.extensions.calls.calls_lane import CallsLane, ExtensionCalls
from web4.extensions.calls.calls_lane_asking import call_on_lane
from web4.extensions.calls.kept_values import UnkeptError, kept
from web4.extensions.enabling.enabling import Enabling
from web4.extensions.errors import CallError, EnablingError
from web4.extensions.hosting.host import open_extension_host
from web4.extensions.hosting.options import HostOptions
from web4.extensions.manifests.manifest import Hook
from web4.extensions.manifests.schemas import compile_schema
from web4.extensions.processes import open_processes
from web4.foundation.ids import SystemIds
from web4.journal import open_journal
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.lane import SERVER, Lane
from web4.journal.redaction import Redactor
from web4.mesh.server_lane import SERVER_LANE
from web4.node.journals import check_in_directory
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.actors.lane_ref import LaneRef
    from web4.cli.extensions.places import Surroundings
    from web4.cli.extensions.watching import Watcher
    from web4.extensions.enabling.enabling_logic import ExtensionRecord, ExtensionsState
    from web4.extensions.enabling.standing import EnabledExtension
    from web4.extensions.hosting.host import ExtensionHost
    from web4.extensions.outcome import CallOutcome
    from web4.journal.journal import Journal
    from web4.worker.frames import CallKind

LANE: Final = Lane("human", "operator")
"""Where the calls of the command line are kept, until humans are enrolled."""
PRINCIPAL: Final = "operator"
_LAST_WORD_S: Final = 15.0
"""How long an interrupted call may take to be concluded; it is bounded by its own `cancel_ms` and by killing."""


class Target(NamedTuple):
    """What is called.

    Args:
        extension: As it is enabled.
        kind: Of the operation.
        name: Of the operation, without the extension's.
        arguments: Fit its schema.
    """

    extension: EnabledExtension
    kind: CallKind
    name: str
    arguments: dict[str, Any]


class Caller:
    """Makes a call of an enabled extension. `open_caller` makes it.

    Args:
        journal: Opened for writing.
        watcher: Sees the call.
        target: What is called.
    """

    def __init__(self, journal: Journal, watcher: Watcher, target: Target) -> None:
        self._journal = journal
        self._watcher = watcher
        self._target = target
        self._call_id = SystemIds().uuid4()
        self.host: ExtensionHost
        self.lane: LaneRef
        self.last: CallOutcome | None = None
        """How the call ended."""

    async def call(self, timeout_ms: int | None) -> None:
        """Make the call; `last` says what came of it.

        Cancellation: it is cut off and concluded before the cancellation goes on. The lanes must live until then.

        Raises:
            CallError: `arguments`: no lane can keep them.
        """
        target = self._target
        manifest = target.extension.manifest
        try:
            arguments = await kept(self._journal, target.arguments)
        except UnkeptError as error:
            raise CallError(f"the arguments cannot be kept: {error}", code="arguments") from None
        request = CallRequested(
            call_id=self._call_id,
            extension=manifest.name,
            version=manifest.version,
            kind=target.kind,
            name=target.name,
            arguments=arguments,
            timeout_ms=timeout_ms,
            idempotency_key=self._call_id,
            idempotent=False,  # after a crash nobody waits for it: it is not made again (JRN-13)
            context=CallContext(call=self._call_id),
        )
        try:
            self.last = await call_on_lane(self._journal, self.lane, request, principal=PRINCIPAL)
        except trio.Cancelled:
            with trio.CancelScope(shield=True), trio.move_on_after(_LAST_WORD_S):
                # The lane knows it: it is not made again.
                self.last = await call_on_lane(self._journal, self.lane, request, principal=PRINCIPAL)
            raise

    async def perform(self, request: CallRequested, arguments: Any, /) -> CallOutcome:
        """See `PerformCall`."""
        return await self.host.call(
            request.kind,
            f"{request.extension}.{request.name}",
            arguments,
            context=request.context,
            timeout_ms=request.timeout_ms,
            call_id=request.call_id,
            idempotency_key=request.idempotency_key,
            on_progress=self._watcher.progress,
            ask=self._watcher.ask,
        )


async def _find(enabling: Enabling, kind: CallKind, name: str, arguments: dict[str, Any]) -> Target:
    """What a name stands for, if it may be called with these arguments. Starts nothing.

    Raises:
        EnablingError: `not_enabled`, `changed`.
        CallError: `unknown_operation`, `arguments`.
    """
    standing = await enabling.standing(_extension_of(await enabling.state(), kind, name))
    if standing.extension is None:
        assert standing.problem is not None
        raise standing.problem
    manifest = standing.extension.manifest
    last = name.rpartition(".")[2]
    part = manifest.part(kind, last)
    if part is None:
        raise CallError(f"{manifest.name} has no {kind} {last!r}", code="unknown_operation")
    schema = None if isinstance(part, Hook) else part.input_schema
    misfit = schema and compile_schema(schema, field=f"{kind}s.{last}.input_schema").misfit(arguments)
    if misfit:
        where = misfit.pointer or "the arguments"
        raise CallError(f"{where}: expected {misfit.expected}, got {misfit.found}", code="arguments")
    return Target(standing.extension, kind, last, arguments)


def _extension_of(state: ExtensionsState, kind: CallKind, name: str) -> str:
    """Which extension a name stands for: `<extension>.<name>`, or the name alone while one has it (EXT-8).

    Raises:
        CallError: `unknown_operation`.
        EnablingError: `not_enabled`.
    """
    extension, _, last = name.rpartition(".")
    if extension:
        if extension not in {one.name for one in state.enabled()}:
            raise EnablingError(f"{extension} is not enabled", code="not_enabled")
        return extension
    having = [one.name for one in state.enabled() if last in _names(one, kind)]
    if len(having) == 1:
        return having[0]
    which = ", ".join(f"{one}.{last}" for one in having)
    what = f"{last} may be {which}: say which" if having else f"no enabled extension has a {kind} {last!r}"
    raise CallError(what, code="unknown_operation")


def _names(record: ExtensionRecord, kind: CallKind) -> tuple[str, ...]:
    return record.asks.tools if kind == "tool" else record.asks.commands


def _alone(extension: EnabledExtension) -> EnabledExtension:
    """The same without spares: after this call there is no other, and a worker that waits for one costs its start."""
    manifest = extension.manifest
    resources = msgspec.structs.replace(manifest.resources, spares=0)
    return msgspec.structs.replace(extension, manifest=msgspec.structs.replace(manifest, resources=resources))


@asynccontextmanager
async def open_caller(
    around: Surroundings, watcher: Watcher, kind: CallKind, name: str, arguments: dict[str, Any]
) -> AsyncIterator[Caller]:
    """Open the journal, the lanes and a host, for one call. At the end no worker is left.

    Raises:
        EnablingError: `not_enabled`, `changed`.
        CallError: `unknown_operation`, `arguments`.
        JournalLocked: The node runs, or another verb writes.
        JournalError: The journal cannot be opened.
        WorkerStartError: Workers cannot be started here.
    """
    await trio.to_thread.run_sync(check_in_directory, around.data)
    where = around.data / "journal"
    if not (where / "journal.db").exists():
        raise EnablingError(f"nothing is enabled in {around.data}", code="not_enabled")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        backend = await enter(open_sqlite(where))
        registry = known_types(await kinds_of(backend))
        journal = await enter(open_journal(backend, registry=registry, redactor=Redactor(backend.hash_key)))
        servers = await enter(open_lane_actors(journal, {"server": SERVER_LANE}))
        enabling = Enabling(servers.lane(SERVER), journal, rules_of(around))
        target = await _find(enabling, kind, name, arguments)
        caller = Caller(journal, watcher, target)
        processes = await enter(open_processes())
        caller.host = await enter(
            open_extension_host(
                (_alone(target.extension),),
                processes,
                registry=enabling,
                options=HostOptions(worker_user=around.configuration.worker_user, hidden=around.paths.hidden),
                on_log=watcher.log,
            )
        )
        calls = CallsLane(calls=ExtensionCalls(journal, caller.perform))
        lanes = await enter(open_lane_actors(journal, {"human": calls}))
        caller.lane = lanes.lane(LANE)
        yield caller
