"""One call of one worker, from the frame that asks to the outcome (EXT-3, EXT-19 to EXT-21).

The caller's own task sends, waits and reads. A nursery is opened only for a call that turns out to need one: a person
is asked, progress is held back, or a frame is too large for the socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from web4.extensions import arriving
from web4.extensions.call_clock import CallClock
from web4.extensions.concluding import Conclusion, Ending
from web4.extensions.dialogue import Dialogue
from web4.extensions.evidence import is_memory_error
from web4.extensions.progressing import Progressing
from web4.extensions.values import UnfitValueError, decode_value
from web4.extensions.wire import WireEndedError
from web4.worker.frames import Call as CallFrame
from web4.worker.frames import Cancel, FrameError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.extensions.call import Call
    from web4.extensions.conversation import Conversation

BATCH: Final = 256
"""Frames that are handled before other tasks of the node have a turn."""
MAX_MESSAGE: Final = 4096
"""Characters of what an extension says of its own error."""


class Calling:
    """A call that is open.

    Args:
        conversation: Its worker's.
        call: What is called.
    """

    def __init__(self, conversation: Conversation, call: Call) -> None:
        self.call = call
        self.conversation = conversation
        self.conclusion = Conclusion()
        self.began = trio.current_time()
        self.cancelling: str | None = None
        """Why it is being cancelled; None while it is not."""
        self.fault: Exception | None = None
        """What one of the caller's own callbacks raised."""
        self.heard = False
        """Whether the worker has said anything of this call."""
        self._wire = conversation.wire
        self._sent_before = self._wire.sent
        timeouts = conversation.terms.manifest.timeouts
        self.clock = CallClock(
            self.began,
            call.timeout_ms / 1000,
            remaining=float("inf") if call.remaining_ms is None else call.remaining_ms / 1000,
            silence=float("inf") if timeouts.silence_ms is None else timeouts.silence_ms / 1000,
            patience=timeouts.ui_ms / 1000,
        )
        self._scope = trio.CancelScope(deadline=self.clock.expiry())
        self._progress = Progressing(call.on_progress) if call.on_progress is not None else None
        self._dialogue: Dialogue | None = None
        self._jobs: list[Callable[[], Awaitable[None]]] = []
        self._company: trio.Nursery | None = None

    # --- from outside its task --------------------------------------------------------------------------------

    def conclude(self, ending: Ending) -> bool:
        """End it like this, if nothing ended it before; whether this did. Its task is woken."""
        taken = self.conclusion.conclude(ending)
        if taken:
            self._scope.cancel()
        return taken

    def cancel(self, reason: str) -> bool:
        """Begin EXT-19; whether it was open and nobody had begun before."""
        if self.conclusion or self.cancelling is not None:
            return False
        self.cancelling = reason
        self._scope.cancel()
        return True

    def moved(self) -> None:
        """Its clock was changed."""
        self._scope.deadline = self.clock.expiry()

    # --- its task ---------------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Hold the call; how it ended.

        Raises:
            trio.Cancelled: The caller was cancelled. The worker was told, and has answered or must die: `conclusion`
                says which.
        """
        try:
            with self._scope:
                await self._converse()
        except BaseException:  # Cancelled, alone or in a group
            with trio.CancelScope(shield=True):
                await self._wind_down("its caller was cancelled")
            raise
        if self.cancelling is not None and not self.conclusion:
            with trio.CancelScope(shield=True):
                await self._wind_down(self.cancelling)
        if not self.conclusion:
            self._expire()
        assert self.conclusion.ending is not None
        return self.conclusion.ending

    async def _converse(self) -> None:
        call = self.call
        frame = CallFrame(
            id=call.call_id,
            kind=call.kind,
            name=call.name,
            arguments=call.arguments,
            deadline_ms=max(0, int((self.clock.expiry() - self.began) * 1000)),
            idempotency_key=call.idempotency_key,
            context=call.context,
        )
        try:
            if not self._wire.send(frame):
                self.flush()
        except FrameError as error:
            reason = f"the call cannot be sent: {error}"
            self.conclusion.conclude(Ending("refused", "extension_error", reason, side_effects=False))
            return
        except WireEndedError:
            self._ended(lost=True)
            return
        await self._pump()
        if self._jobs and not self.conclusion:
            async with trio.open_nursery() as self._company:
                for job in self._jobs:
                    self._company.start_soon(job)
                await self._pump()
                self._company.cancel_scope.cancel()

    def also(self, job: Callable[[], Awaitable[None]]) -> None:
        """Have something done beside the reading, as long as the call is open."""
        if self._company is not None:
            self._company.start_soon(job)
        else:
            self._jobs.append(job)

    def flush(self) -> None:
        """Have what the socket did not take sent on beside the reading."""
        job = self._wire.flushed
        if not self._wire.flushing and job not in self._jobs:
            self.also(job)

    async def _pump(self) -> None:
        """Read until the call is concluded, or until company is needed and not there."""
        wire = self._wire
        handled = 0
        try:
            body = wire.next()
            while not self.conclusion:
                if body is None:
                    if self._jobs and self._company is None:
                        return
                    handled = 0
                    await wire.readable()
                    try:
                        body = wire.read()
                    except BlockingIOError:
                        continue
                    if not self.conversation.check_output():
                        return
                    if body is None:
                        continue
                if trio.current_time() >= self._scope.deadline:
                    self._expire()
                    return
                await self._take(arriving.decode(body))
                if self.conclusion:
                    return  # what came behind it is looked at when the call is finished
                body = wire.next()
                handled += 1
                if handled % BATCH == 0:
                    await trio.lowlevel.checkpoint()
        except WireEndedError as error:
            untouched = not self.heard and self._wire.sent == self._sent_before + 1
            self._ended(lost=error.unread and untouched)
        except FrameError as error:
            self.violated(str(error))
        except UnfitValueError as error:
            self.violated(f"a field that is no value: {error}")

    async def _take(self, frame: arriving.Arriving) -> None:
        conversation = self.conversation
        if not isinstance(frame, arriving.OfCall):
            conversation.take(frame)
            return
        if frame.id != self.call.call_id:
            conversation.take_stray(frame)
            return
        self.heard = True
        match frame:
            case arriving.Result():
                self._result(frame)
            case arriving.Error():
                self._error(frame)
            case arriving.Progress():
                self._progressed(frame)
            case arriving.Emit():
                await self._emitted(frame)
            case _:
                if self._dialogue is None:
                    self._dialogue = Dialogue(self)
                self._dialogue.take(frame)

    def _result(self, frame: arriving.Result) -> None:
        if self._progress is not None:
            self._guarded(self._progress.flush)
        self.conclusion.conclude(self._ending(frame))

    def _ending(self, frame: arriving.Result) -> Ending:
        effects = frame.side_effects
        try:
            value = decode_value(frame.value)
        except UnfitValueError as error:
            return Ending(
                "error", "extension_invalid_result", f"the value is none: {error}", side_effects=effects
            )
        schema = self.conversation.terms.output(self.call.kind, self.call.name)
        if schema is not None and (complaint := schema.complaint(value)) is not None:
            reason = f"the value does not fit its schema: {complaint}"
            return Ending("error", "extension_invalid_result", reason, side_effects=effects)
        return Ending("ok", value=value, side_effects=effects)

    def _error(self, frame: arriving.Error) -> None:
        if self._progress is not None:
            self._guarded(self._progress.flush)
        data = decode_value(frame.data)
        conversation = self.conversation
        memory = is_memory_error(frame.code, conversation.process.protections.memory)
        self.conclusion.conclude(
            Ending(
                "error",
                "extension_memory_exceeded" if memory else "extension_error",
                conversation.terms.redaction(f"{frame.code[:64]}: {frame.message[:MAX_MESSAGE]}"),
                data=data,
                side_effects=frame.side_effects,
                retryable=frame.retryable,
                unclean=memory,
            )
        )

    def _progressed(self, frame: arriving.Progress) -> None:
        now = trio.current_time()
        self.clock.heard(now)
        self.moved()
        progress = self._progress
        if progress is not None and self._guarded(lambda: progress.take(frame, now)):
            self.also(self._when_due)

    async def _when_due(self) -> None:
        assert self._progress is not None
        try:
            await self._progress.when_due()
        except UnfitValueError as error:
            self.violated(f"a field that is no value: {error}")
        except Exception as error:
            self.failed(error)

    async def _emitted(self, frame: arriving.Emit) -> None:
        if self.call.kind != "workload":
            self.violated(f"a {self.call.kind} emits nothing")
            return
        payload = decode_value(frame.payload)
        try:
            if self.call.on_emit is not None:
                await self.call.on_emit(frame.event_type, payload)
        except Exception as error:
            self.failed(error)

    def _guarded(self, step: Callable[[], Any]) -> Any:
        """Run what calls the caller back: what that raises is the caller's, and is kept for it."""
        try:
            return step()
        except UnfitValueError:
            raise
        except Exception as error:
            self.failed(error)
            return None

    # --- its ends ---------------------------------------------------------------------------------------------

    def failed(self, error: Exception) -> None:
        """A callback of the caller raised: the call ends, and `error` is raised to the caller."""
        if self.conclude(Ending("killed", "worker_lost", "the caller failed", fatal=True)):
            self.fault = error

    def violated(self, why: str) -> None:
        """It broke the protocol: it is killed, and the call ends with that."""
        self.conversation.broken()
        self.conclude(Ending("killed", "extension_protocol_error", why, fatal=True))

    def _ended(self, *, lost: bool) -> None:
        """Its socket ended. `lost`: before it had taken the call."""
        self.conclusion.conclude(
            Ending(
                "crashed",
                "worker_lost" if lost else "extension_protocol_error",
                "the worker ended before it had taken the call" if lost else "it closed its socket",
                retryable=lost,
                fatal=True,
                evidence=True,
            )
        )

    def _expire(self) -> None:
        why = self.clock.cause(trio.current_time())
        self.conclusion.conclude(Ending("timeout", "extension_timeout", why, retryable=True, fatal=True))

    async def _wind_down(self, reason: str) -> None:
        """Tell the worker to stop, and wait for its answer within the time of EXT-19. Only the answer counts."""
        if self.conclusion:
            return
        self.cancelling = reason
        call = self.call
        grace = self.conversation.terms.manifest.timeouts.cancel_ms if call.cancellable else call.settle_ms
        self._scope = scope = trio.CancelScope(deadline=trio.current_time() + grace / 1000)
        answer: arriving.Result | arriving.Error | None = None
        try:
            with scope:
                if call.cancellable:
                    self._wire.send(Cancel(id=call.call_id, reason=reason))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._wire.flushed)
                    answer = await self._answer()
                    nursery.cancel_scope.cancel()
        except* (WireEndedError, FrameError):
            pass  # it will not answer: it is killed below
        self.conclusion.conclude(
            Ending(
                "cancelled",
                "extension_cancelled",
                reason,
                side_effects=None if answer is None else answer.side_effects,
                fatal=answer is None,
            )
        )

    async def _answer(self) -> arriving.Result | arriving.Error:
        wire = self._wire
        while True:
            while (body := wire.next()) is None:
                await wire.readable()
                try:
                    body = wire.read()
                except BlockingIOError:
                    continue
                if body is not None:
                    break
            frame = arriving.decode(body)
            if not isinstance(frame, arriving.OfCall):
                self.conversation.take(frame)
            elif frame.id != self.call.call_id:
                self.conversation.take_stray(frame)
            elif isinstance(frame, arriving.Result | arriving.Error):
                return frame
            elif isinstance(frame, arriving.UiRequest | arriving.Intent):
                Dialogue.decline(self, frame)
