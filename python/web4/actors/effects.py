"""The effects of one lane while they run: started, cut off, abandoned (ACT-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.actors.definition import Effect, LaneDefinition, Outcome
    from web4.actors.metrics import ActorMetrics
    from web4.foundation.events import Emitter, Severity
    from web4.journal.lane import Lane

GRACE_SECONDS: Final = 5.0
MAX_RUNNING: Final = 2_048
"""Effects of one lane that may run, those included that were abandoned and have not ended."""
MAX_RESULTS: Final = 4 * MAX_RUNNING
"""Results of one lane that can be on their way: each run has two at most, each open effect one besides."""


class Result:
    """What came of an effect: a command of its own, or how it ended without one."""

    __slots__ = ("command", "effect", "outcome", "reason")

    def __init__(
        self, effect: Effect, *, command: Any = None, outcome: Outcome | None = None, reason: str = ""
    ) -> None:
        self.effect = effect
        self.command = command
        self.outcome = outcome
        self.reason = reason


class _Run:
    """One effect from its start until its last result was taken."""

    __slots__ = ("concluded", "effect", "ended", "reason", "scope", "timer")

    def __init__(self, effect: Effect) -> None:
        self.effect = effect
        self.scope = trio.CancelScope()
        self.timer: trio.CancelScope | None = None
        self.reason = "cancelled"
        self.concluded = False
        """Whether its conclusion is decided, or on its way: what else comes of it is late."""
        self.ended = False


class Effects:
    """Runs what durable requests ask for, each as a task of its own.

    Args:
        lane: Whose they are.
        definition: Performs them.
        deliver: Takes each result; called from the effect's task. Must not raise.
        ended: Called when an effect ended and nothing will be delivered.
        emit: Where `effect_failed` and `effect_abandoned` go.
        metrics: Where they are counted.
        grace_seconds: How long a cancelled effect may take to end before it is abandoned.
    """

    def __init__(
        self,
        lane: Lane,
        definition: LaneDefinition[Any, Any, Any, Any],
        *,
        deliver: Callable[[Result], None],
        ended: Callable[[], None],
        emit: Emitter,
        metrics: ActorMetrics,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._lane = lane
        self._definition = definition
        self._deliver = deliver
        self._ended = ended
        self._emit = emit
        self._metrics = metrics
        self._grace = grace_seconds
        self._runs: dict[str, _Run] = {}
        self._leaving = False
        self.nursery: trio.Nursery | None = None
        """Where the tasks run; whoever runs the actor opens it."""

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, effect_id: str) -> bool:
        return effect_id in self._runs

    def start(self, effect: Effect) -> None:
        """Start an effect whose request is durable; nothing if it runs already.

        Where it cannot run, it is concluded without: the actor is leaving, too many that were abandoned run on, one
        of them has its id, or its request was erased. One that may be performed again is left to the next boot by an
        actor that is leaving.
        """
        if self.nursery is None or (self._leaving and effect.idempotent):
            return
        known = self._runs.get(effect.id)
        if known is not None:
            if known.concluded:
                self._deliver(Result(effect, outcome="error", reason="busy"))
            return
        if self._leaving:
            self._deliver(Result(effect, outcome="cancelled", reason="shutdown"))
            return
        if len(self._runs) >= MAX_RUNNING or effect.request is None:
            reason = "busy" if effect.request is not None else "payload_unavailable"
            self._deliver(Result(effect, outcome="error", reason=reason))
            return
        self._metrics.effects += 1
        run = self._runs[effect.id] = _Run(effect)
        self.nursery.start_soon(self._perform, run, name=f"effect {effect.id} of {self._lane}")

    def cut_off(self, effect_id: str, reason: str = "cancelled") -> None:
        """Cancel an effect; it is concluded as `cancelled`, or `abandoned` when its grace is over."""
        run = self._runs.get(effect_id)
        if run is not None and not run.ended and run.timer is None:
            run.reason = reason
            run.scope.cancel()
            self._watch(run)

    def concluded(self, effect_id: str) -> None:
        """Its conclusion is durable. If it still runs, it ends; what comes of it all the same is late (JRN-13e)."""
        run = self._runs.get(effect_id)
        if run is None:
            return
        run.concluded = True
        if run.ended:
            del self._runs[effect_id]
        elif run.timer is None:
            run.scope.cancel()
            self._watch(run)

    def leave(self) -> None:
        """Start nothing more, and cancel what runs. Idempotent effects stay open: the next boot performs them again."""
        self._leaving = True
        for run in tuple(self._runs.values()):
            if run.effect.idempotent:
                run.concluded = True
                run.scope.cancel()
            else:
                self.cut_off(run.effect.id, "shutdown")

    def drop(self) -> None:
        """Cancel everything and deliver nothing more: the lane was halted, or has another writer."""
        self._leaving = True
        for run in tuple(self._runs.values()):
            run.concluded = True
            run.scope.cancel()
            if not run.ended:
                self._kill(run)

    async def _perform(self, run: _Run) -> None:
        effect = run.effect
        result: Result | None = None
        try:
            with run.scope:
                result = Result(effect, command=await self._definition.perform(effect.request))
        except Exception as error:  # also what tasks of its own raised beside their cancellation
            result = Result(effect, outcome="error", reason=self._failed(effect, error))
        except BaseExceptionGroup as errors:
            # The actor is cancelled: what else there was must not take others down with it.
            self._failed(effect, errors)
            _, ending = errors.split(Exception)
            if ending is not None:
                raise ending from None
        run.ended = True
        if run.timer is not None:
            run.timer.cancel()
        if result is None and not run.concluded:
            result = Result(effect, outcome="cancelled", reason=run.reason)
        if run.concluded and (self._leaving or result is None or result.command is None):
            # It ended without an answer after it was concluded without it: nothing is late.
            self._runs.pop(effect.id, None)
            self._ended()
        elif result is not None:
            self._deliver(result)

    def _failed(self, effect: Effect, error: BaseException, severity: Severity = "warning") -> str:
        """Say that an effect raised; what."""
        reason = type(error).__name__
        lane = str(self._lane)
        self._emit("effect_failed", severity=severity, lane=lane, effect_id=effect.id, reason=reason)
        return reason

    def _watch(self, run: _Run) -> None:
        run.timer = trio.CancelScope()
        if self.nursery is not None:
            self.nursery.start_soon(self._abandon, run, run.timer)

    async def _abandon(self, run: _Run, timer: trio.CancelScope) -> None:
        with timer:
            await trio.sleep(self._grace)
            if run.ended:
                return
            self._metrics.abandoned += 1
            self._emit("effect_abandoned", severity="warning", lane=str(self._lane), effect_id=run.effect.id)
            self._kill(run)
            if not run.concluded:
                run.concluded = True
                self._deliver(Result(run.effect, outcome="abandoned", reason=run.reason))

    def _kill(self, run: _Run) -> None:
        try:
            self._definition.kill(run.effect)
        except Exception as error:  # whatever it was, the lane goes on
            self._failed(run.effect, error, "error")

    def taken(self, result: Result) -> None:
        """A result was dealt with, for good."""
        run = self._runs.get(result.effect.id)
        if run is not None and run.ended:
            del self._runs[result.effect.id]
