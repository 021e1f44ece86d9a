"""One call of one worker, from the frame that asks to the ending (EXT-3, EXT-19 to EXT-21).

The caller's own task sends, waits and reads. What most calls never need is made when it is needed: a nursery for a
person's answer, for progress that is held back or for a frame that is too large for the socket; a clock for pauses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from web4.extensions.conversation import arriving
from web4.extensions.conversation.answers import of_error, of_result
from web4.extensions.conversation.call_clock import CallClock
from web4.extensions.conversation.concluding import Conclusion, Ending
from web4.extensions.conversation.dialogue import Dialogue
from web4.extensions.conversation.progressing import Progressing
from web4.extensions.conversation.values import UnfitValueError, decode_value
from web4.extensions.conversation.winding_down import wind_down
from web4.extensions.conversation.wire import WireEndedError
from web4.worker.frames import Call as CallFrame
from web4.worker.frames import FrameError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.extensions.conversation.call import Call
    from web4.extensions.conversation.conversation import Conversation

BATCH: Final = 256
"""Frames that are handled before other tasks of the node have a turn."""


class Calling:
    """A call that is open.

    Args:
        conversation: Its worker's.
        call: What is called.
    """

    __slots__ = (
        "_clock",
        "_dialogue",
        "_held",
        "_jobs",
        "_progress",
        "_sent_before",
        "_wire",
        "began",
        "call",
        "cancelling",
        "company",
        "conclusion",
        "conversation",
        "deadline",
        "fault",
        "given_up",
        "heard",
        "id",
        "scope",
    )

    def __init__(self, conversation: Conversation, call: Call) -> None:
        self.call = call
        self.conversation = conversation
        self.id = conversation.unused(call.call_id)
        """What its worker knows it by."""
        self.conclusion = Conclusion()
        self.began = conversation.now()
        self.cancelling: str | None = None
        """Why it is being cancelled; None while it is not."""
        self.fault: Exception | None = None
        """What one of the caller's own callbacks raised."""
        self.heard = False
        """Whether the worker has said anything of this call."""
        self._wire = conversation.wire
        self._sent_before = conversation.wire.sent
        self._clock: CallClock | None = None
        limit: float = call.timeout_ms
        if call.remaining_ms is not None and call.remaining_ms < limit:
            limit = call.remaining_ms
        silence = conversation.terms.manifest.timeouts.silence_ms
        if silence is not None and silence < limit:
            limit = silence
        self.deadline = self.began + limit / 1000
        """When its time is over, if nothing changes; of `trio.current_time`."""
        self.scope: trio.CancelScope | None = None
        """What to cancel to wake its task; None while waking the wire does."""
        self.given_up = False
        """Whether an answer need not be waited for any more."""
        self._progress: Progressing | None = None
        self._dialogue: Dialogue | None = None
        self._held: arriving.Emit | None = None
        self._jobs: list[Callable[[], Awaitable[None]]] = []
        self.company: trio.Nursery | None = None
        """Runs what is done beside the reading; None while there is none."""

    @property
    def clock(self) -> CallClock:
        """The clocks of the call. Who changes them says so: `moved`."""
        if self._clock is None:
            timeouts, call = self.conversation.terms.manifest.timeouts, self.call
            self._clock = CallClock(
                self.began,
                call.timeout_ms / 1000,
                remaining=float("inf") if call.remaining_ms is None else call.remaining_ms / 1000,
                silence=float("inf") if timeouts.silence_ms is None else timeouts.silence_ms / 1000,
                patience=timeouts.ui_ms / 1000,
            )
        return self._clock

    # --- from outside its task --------------------------------------------------------------------------------

    def conclude(self, ending: Ending) -> bool:
        """End it like this, if nothing ended it before; whether this did. Its task is woken."""
        if self.cancelling is not None:
            self.given_up = True  # it stays `cancelled` (EXT-19), and need not be waited for
            self._wake()
            return False
        taken = self.conclusion.conclude(ending)
        if taken:
            self._wake()
        return taken

    def cancel(self, reason: str) -> bool:
        """Begin EXT-19; whether it was open and nobody had begun before."""
        if self.conclusion or self.cancelling is not None:
            return False
        self.cancelling = reason
        self._wake()
        return True

    def moved(self) -> None:
        """Its clock was changed."""
        self.deadline = self.clock.expiry()
        self.conversation.alarm.set(self.deadline)

    def _wake(self) -> None:
        if self.scope is not None:
            self.scope.cancel()
        else:
            self._wire.wake()

    # --- its task ---------------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Hold the call; how it ended.

        Raises:
            trio.Cancelled: The caller was cancelled. The worker was told, and has answered or must die: `conclusion`
                says which.
        """
        try:
            self._send()
            if not self._jobs:
                await self._pump()
            if (self._jobs or self._held is not None) and not self._interrupted:
                await self._pump_in_company()
        except BaseException:  # Cancelled, alone or in a group
            await self._wind_down("its caller was cancelled")
            raise
        if self.cancelling is not None:
            await self._wind_down(self.cancelling)
        assert self.conclusion.ending is not None
        return self.conclusion.ending

    @property
    def _interrupted(self) -> bool:
        return self.conclusion.ending is not None or self.cancelling is not None

    async def _wind_down(self, reason: str) -> None:
        if not self.conclusion:
            self.cancelling = reason
            self.scope = None
            with trio.CancelScope(shield=True):
                self.conclusion.conclude(await wind_down(self, reason))

    def _send(self) -> None:
        call = self.call
        frame = CallFrame(
            id=self.id,
            kind=call.kind,
            name=call.name,
            arguments=call.arguments,
            deadline_ms=max(0, int((self.deadline - self.began) * 1000)),
            idempotency_key=call.idempotency_key,
            context=call.context,
        )
        try:
            if not self._wire.send(frame):
                self.flush()
        except FrameError as error:
            reason = f"the call cannot be sent: {error}"
            self.conclude(Ending("refused", "extension_error", reason, side_effects=False))
        except WireEndedError:
            self._ended(lost=True)

    async def _pump_in_company(self) -> None:
        try:
            with trio.CancelScope() as self.scope:
                async with trio.open_nursery() as self.company:
                    for job in self._jobs:
                        self.company.start_soon(job)
                    await self._pump()
                    self.company.cancel_scope.cancel()
        finally:
            self.scope = self.company = None

    def also(self, job: Callable[[], Awaitable[None]]) -> None:
        """Have something done beside the reading, as long as the call is open."""
        if self.company is not None:
            self.company.start_soon(job)
        else:
            self._jobs.append(job)

    def flush(self) -> None:
        """Have what the socket did not take sent on beside the reading."""
        job = self._wire.flushed
        if not self._wire.flushing and job not in self._jobs:
            self.also(job)

    async def _pump(self) -> None:
        """Read until the call is interrupted, or until company is needed and not there."""
        try:
            if self._held is not None:
                frame, self._held = self._held, None
                await self._emitted(frame)
            await self._read_on()
        except WireEndedError as error:
            untouched = not self.heard and self._wire.sent == self._sent_before + 1
            self._ended(lost=error.unread and untouched)
        except FrameError as error:
            self.violated(str(error))
        except UnfitValueError as error:
            self.violated(f"a field that is no value: {error}")

    async def _read_on(self) -> None:
        # All of it stands here: each more coroutine in which a short call awaits another costs it a microsecond.
        conclusion, wire, conversation = self.conclusion, self._wire, self.conversation
        handled = 0
        while conclusion.ending is None and self.cancelling is None:
            body = wire.next() if wire.ahead else None
            if body is None:
                if self._jobs and self.company is None:
                    return
                await wire.readable()
                if self._interrupted:
                    return
                body = wire.read()
                if (excess := conversation.meter.excess()) is not None:
                    conversation.fail(*excess)
                    return
                if body is None:
                    continue
            if conversation.now() >= self.deadline:
                self.expire()
                return
            arrived = arriving.decode(body)
            if type(arrived) is not arriving.Emit:
                self._take(arrived)
            elif self.company is not None:
                await self._emitted(arrived)
            else:  # its taker may wait, and must be woken when the call ends: that needs company
                self._held = arrived
                return
            handled += 1
            if handled % BATCH == 0:
                await trio.lowlevel.checkpoint()

    def _take(self, frame: arriving.Arriving) -> None:
        if type(frame) is arriving.Result and frame.id == self.id:
            if self._progress is not None:
                self._flush_progress()
            self.conclusion.conclude(of_result(frame, self.call, self.conversation.terms))
        elif not isinstance(frame, arriving.OfCall):
            self.conversation.take(frame)
        elif frame.id != self.id:
            self.conversation.take_stray(frame)
        elif isinstance(frame, arriving.Error):
            self._flush_progress()
            self.conclusion.conclude(of_error(frame, self.conversation))
        elif isinstance(frame, arriving.Progress):
            self._progressed(frame)
        elif isinstance(frame, arriving.UiRequest | arriving.Intent):
            if self._dialogue is None:
                self._dialogue = Dialogue(self)
            self._dialogue.take(frame)
        self.heard = True

    # --- what comes on the way --------------------------------------------------------------------------------

    def _progressed(self, frame: arriving.Progress) -> None:
        now = trio.current_time()
        if self.conversation.terms.manifest.timeouts.silence_ms is not None:
            self.clock.heard(now)
            self.moved()
        if self.call.on_progress is None:
            return
        if self._progress is None:
            self._progress = Progressing(self.call.on_progress, self.call.call_id)
        try:
            if self._progress.take(frame, now):
                self.also(self._when_due)
        except UnfitValueError:
            raise
        except Exception as error:
            self.failed(error)

    async def _when_due(self) -> None:
        assert self._progress is not None
        try:
            await self._progress.when_due()
        except UnfitValueError as error:
            self.violated(f"a field that is no value: {error}")
        except Exception as error:
            self.failed(error)

    def _flush_progress(self) -> None:
        if self._progress is not None:
            try:
                self._progress.flush()
            except UnfitValueError:
                raise
            except Exception as error:
                self.failed(error)

    async def _emitted(self, frame: arriving.Emit) -> None:
        if frame.id != self.id:
            self.conversation.take_stray(frame)
            return
        self.heard = True
        if self.call.kind != "workload":
            self.violated(f"a {self.call.kind} emits nothing")
            return
        payload = decode_value(frame.payload)
        try:
            if self.call.on_emit is not None:
                await self.call.on_emit(frame.event_type, payload)
        except Exception as error:
            self.failed(error)

    # --- its ends ---------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Its time is over (EXT-21)."""
        why = self.clock.cause(trio.current_time())
        self.conclude(Ending("timeout", "extension_timeout", why, retryable=True, fatal=True))

    def failed(self, error: Exception) -> None:
        """A callback of the caller raised: the call ends, and `error` is raised to the caller."""
        if self.conclude(Ending("killed", "worker_lost", "the caller failed", fatal=True)):
            self.fault = error

    def violated(self, why: str) -> None:
        """It broke the protocol: it is killed, and the call ends with that (EXT-15)."""
        why = self.conversation.terms.redaction(why)
        self.conclude(Ending("killed", "extension_protocol_error", why, fatal=True))

    def _ended(self, *, lost: bool) -> None:
        """Its socket ended. `lost`: before it had taken the call (EXT-23)."""
        self.conclude(
            Ending(
                "crashed",
                "worker_lost" if lost else "extension_protocol_error",
                "the worker ended before it had taken the call" if lost else "it closed its socket",
                retryable=lost,
                fatal=True,
                evidence=True,
            )
        )
