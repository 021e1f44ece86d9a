"""Calls of extensions as effects of a lane: requested and concluded by events (EXT-3, ACT-3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from web4.actors.definition import LaneDefinition, Origin
from web4.extensions.calls.call_events import (
    CALL_EVENTS,
    NOTHING,
    CallConcluded,
    CallCut,
    CallRequested,
    Kept,
)
from web4.extensions.calls.calls_logic import (
    CallsCommand,
    CallsEvent,
    CallsLogic,
    CallsReply,
    CallsState,
    ConcludeCall,
    CutCall,
)
from web4.extensions.calls.kept_values import UnkeptError, kept, restored
from web4.extensions.errors import CallError
from web4.journal.errors import BlobNotFoundError, CorruptJournalError, InvalidEventError
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from web4.actors.definition import Effect
    from web4.actors.definition import Outcome as Ended
    from web4.extensions.outcome import CallOutcome, Outcome
    from web4.journal.event_types import EventType
    from web4.journal.journal import Journal

MAX_REASON: Final = 4_096
"""Characters of a reason that are recorded."""
MAX_STDERR: Final = 8_192
"""Characters of standard error that are recorded."""
_CUT_OFF: Final = frozenset({"cancelled", "shutdown", "requester_gone"})
"""Why an effect ends that somebody cut off: every other reason of an abandoned one is a crash of the node."""


class PerformCall(Protocol):
    """How a request reaches a worker: the extension host, behind an adapter."""

    async def __call__(self, request: CallRequested, arguments: Any, /) -> CallOutcome:
        """Make the call; how it ended (EXT-26).

        Cancellation: the worker is told, and killed if it does not yield (EXT-19).

        Args:
            request: As it is durable.
            arguments: What `request.arguments` stands for.

        Raises:
            CallError: Nothing was called.
        """
        ...


class _Verdict(NamedTuple):
    """What is said of a call that brought no envelope of its own."""

    outcome: Outcome
    code: str
    reason: str
    retryable: bool = False


def _nothing_to_kill(_: str) -> None:
    """The performer kills by itself what outlives its cancellation (EXT-19)."""


class ExtensionCalls:
    """The effects of a lane that are calls of extensions. Any `LaneDefinition` can be composed with it.

    Its `perform` and `conclude` give the event that concludes a call; a command of the lane brings that event to its
    logic. `CALL_EVENTS` belong to the lane's events. See `CallsLane` for all there is to it.

    Args:
        journal: Where the lane is: large values are its blobs, its clock tells how long a call took.
        call: Makes a call.
        kill: Ends the worker of a call, by its id, at once and without blocking.
    """

    def __init__(
        self, journal: Journal, call: PerformCall, *, kill: Callable[[str], None] = _nothing_to_kill
    ) -> None:
        self._journal = journal
        self._call = call
        self._kill = kill
        self._begun: dict[str, int] = {}
        """When each call began that has brought no envelope, on the monotonic clock: as many as effects are open."""

    async def perform(self, request: CallRequested) -> CallConcluded:
        """Make the call that a durable request asks for; how it ended. What a worker does wrong is data (EXT-4).

        Cancellation: passes on to the call; the lane concludes it then, by `conclude`.

        Raises:
            JournalError: What it answered could not be kept; the lane concludes it as an error.
        """
        self._begun[request.call_id] = self._journal.clock.monotonic_ns()
        try:
            arguments = await restored(self._journal, request.arguments)
        except (BlobNotFoundError, CorruptJournalError) as error:
            verdict = _Verdict("refused", "worker_lost", f"its arguments are gone ({error.code})")
            return self._ended(request, verdict)
        try:
            outcome = await self._call(request, arguments)
        except CallError as error:
            code = "extension_cancelled" if error.code == "host_closed" else "extension_changed"
            reason = f"it was not called: {error}"
            return self._ended(request, _Verdict("refused", code, reason, retryable=True))
        concluded = await self._concluded(request, outcome)
        self._begun.pop(request.call_id, None)
        return concluded

    async def _concluded(self, request: CallRequested, outcome: CallOutcome) -> CallConcluded:
        """The envelope as an event. A value that no lane can keep makes the call fail: nobody could read it."""
        ended, code, reason, value = outcome.outcome, outcome.code, outcome.reason, NOTHING
        try:
            value = await kept(self._journal, outcome.value)
        except (UnkeptError, InvalidEventError) as error:
            if ended == "ok":
                ended, code, reason = "error", "extension_invalid_result", f"its value is none: {error}"
        try:
            data = await kept(self._journal, outcome.data)
        except (UnkeptError, InvalidEventError) as error:
            data, reason = NOTHING, f"{reason or ''} (its data is none: {error})"
        return CallConcluded(
            call_id=request.call_id,
            outcome=ended,
            code=code,
            extension=outcome.extension,
            version=outcome.version,
            operation=outcome.operation,
            reason=None if reason is None else reason[:MAX_REASON],
            timeout_ms=outcome.timeout_ms,
            elapsed_ms=outcome.elapsed_ms,
            queue_ms=outcome.queue_ms,
            exit_status=outcome.exit_status,
            signal=outcome.signal,
            peak_memory_bytes=outcome.peak_memory_bytes,
            cpu_ms=outcome.cpu_ms,
            worker_id=outcome.worker_id,
            retryable=outcome.retryable,
            sandbox=outcome.sandbox,
            side_effects=outcome.side_effects,
            stderr=None if outcome.stderr is None else outcome.stderr[-MAX_STDERR:],
            isolated=True,
            value=value,
            data=data,
        )

    def conclude(self, effect: Effect, outcome: Ended, reason: str) -> CallConcluded:
        """How a call ended that brought no envelope: it was cut off, or the node crashed under it (JRN-13).

        Args:
            effect: The open effect.
            outcome: `error`, `cancelled` or `abandoned`.
            reason: Why: a code word, or the class of an exception.
        """
        request = effect.request
        if not isinstance(request, CallRequested):  # its payload was erased
            request = _unknown_request(effect.id)
        match outcome:
            case "cancelled":
                verdict = _Verdict("cancelled", "extension_cancelled", f"it was cut off ({reason})")
            case "abandoned" if reason in _CUT_OFF:
                verdict = _Verdict("killed", "extension_cancelled", f"cut off ({reason}), it did not yield")
            case "abandoned":
                why = f"the node ended before the call did ({reason}); what it did is not known"
                verdict = _Verdict("killed", "worker_lost", why)
            case _:
                why = f"what came of it cannot be recorded ({reason})"
                verdict = _Verdict("error", "extension_invalid_result", why)
        return self._ended(request, verdict)

    def _ended(self, request: CallRequested, verdict: _Verdict) -> CallConcluded:
        begun = self._begun.pop(request.call_id, None)
        elapsed = None if begun is None else (self._journal.clock.monotonic_ns() - begun) / 1e6
        return CallConcluded(
            call_id=request.call_id,
            outcome=verdict.outcome,
            code=verdict.code,
            extension=request.extension,
            version=request.version,
            operation=request.operation,
            reason=verdict.reason[:MAX_REASON],
            timeout_ms=request.timeout_ms,
            elapsed_ms=elapsed,
            queue_ms=None,
            exit_status=None,
            signal=None,
            peak_memory_bytes=None,
            cpu_ms=None,
            worker_id=None,
            retryable=verdict.retryable,
            sandbox=None,
            side_effects=None,
            stderr=None,
            isolated=True,
            value=NOTHING,
            data=NOTHING,
        )

    def now(self) -> int:
        """The time that a conclusion gets, Unix milliseconds."""
        return self._journal.clock.wall_ms()

    def kill(self, effect: Effect) -> None:
        """End the worker of a call that outlived its grace. Does not block."""
        self._kill(effect.id)


def _unknown_request(call_id: str) -> CallRequested:
    """What is left of a request whose payload was erased."""
    return CallRequested(
        call_id=call_id,
        extension="",
        version="",
        kind="tool",
        name="",
        arguments=Kept(),
        timeout_ms=None,
        idempotency_key=call_id,
        idempotent=False,
        context=CallContext(),
    )


@dataclass(frozen=True, kw_only=True)
class CallsLane(LaneDefinition[CallsState, CallsCommand, CallsEvent, CallsReply]):
    """A lane that calls extensions and nothing else: what `web4 ext call` runs, of kind `human`.

    Args:
        calls: Its effects.
    """

    logic: Any = field(default_factory=CallsLogic)
    state: Any = CallsState
    events: tuple[EventType, ...] = CALL_EVENTS
    calls: ExtensionCalls

    def origin(self, command: CallsCommand) -> Origin:
        """See `LaneDefinition.origin`."""
        return Origin(command.at, principal=command.principal)

    async def perform(self, request: CallsEvent) -> CallsCommand:
        """See `ExtensionCalls.perform`."""
        assert isinstance(request, CallRequested)
        concluded = await self.calls.perform(request)
        return ConcludeCall(concluded=concluded, at=self.calls.now())

    def conclude(self, effect: Effect, outcome: Ended, reason: str, at: int) -> CallsCommand:
        """See `ExtensionCalls.conclude`."""
        return ConcludeCall(concluded=self.calls.conclude(effect, outcome, reason), at=at)

    def cancels(self, event: CallsEvent) -> Iterable[str]:
        """A call that somebody cut is cut off, once that is durable."""
        return (event.call_id,) if isinstance(event, CallCut) else ()

    def stops(self, state: CallsState, command: CallsCommand) -> Iterable[str]:
        """Cutting a call works while the journal cannot write, too (JRN-15c)."""
        return (command.call_id,) if isinstance(command, CutCall) and command.call_id in state.open else ()

    def kill(self, effect: Effect) -> None:
        """See `ExtensionCalls.kill`."""
        self.calls.kill(effect)
