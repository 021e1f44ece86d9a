"""The life of one worker, from `hello` to its end, as the node lives it (EXT-14 to EXT-28).

What a worker does never raises here: it becomes an outcome. One call is open at a time, and its caller's task does the
reading. Beside it there are four tasks: two read what the worker prints, one waits for its end, one for deadlines.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from web4.extensions.conversation import arriving
from web4.extensions.conversation.alarm import Alarm
from web4.extensions.conversation.calling import BATCH, Calling
from web4.extensions.conversation.capture import TAIL, Capture
from web4.extensions.conversation.concluding import Ending
from web4.extensions.conversation.envelope import by_evidence, envelope
from web4.extensions.conversation.extension_log import ExtensionLog
from web4.extensions.conversation.greeting import greet
from web4.extensions.conversation.metering import Meter
from web4.extensions.conversation.wire import BacklogError, Wire, WireEndedError
from web4.worker.frames import Drain, Frame, FrameError, Ping, Pong

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.extensions.conversation.call import Call
    from web4.extensions.conversation.terms import Terms
    from web4.extensions.outcome import CallOutcome, Outcome
    from web4.extensions.processes import Exit, Usage, WorkerProcess

REAPING: Final = 0.25
"""Seconds after which a call is concluded though its worker is not reaped yet (EXT-21)."""
MAX_STRAYS: Final = 64
"""Frames of concluded calls that a worker may send before it is killed for them."""
_PONGS: Final = 16 * 1024
"""Bytes that wait for a worker, from which on its pings are not answered."""
_UNREAD: Final = 256 * 1024
"""Bytes of answers that wait for a worker which does not read them, beside the frame of a call."""


class Conversation:
    """One worker. `open_conversation` makes it.

    Args:
        process: The worker's process, its sandbox complete.
        terms: What its extension is held to.
    """

    def __init__(self, process: WorkerProcess, terms: Terms) -> None:
        self.process = process
        self.terms = terms
        self.now = trio.lowlevel.current_clock().current_time
        """`trio.current_time`, by the shortest way."""
        self.wire = Wire(process.socket, terms.frame_limit)
        self.log = ExtensionLog(terms, process.worker_id)
        self.stdout = Capture(process.stdout, "stdout", self.log, self._wrote)
        self.stderr = Capture(process.stderr, "stderr", self.log, self._wrote)
        self._fit = False
        self.discarded = 0
        """Frames of calls that had been concluded."""
        self.calls = 0
        """Calls it was given."""
        self.idle_since = trio.current_time()
        """When it became ready, or its last call ended; of `trio.current_time`."""
        self.meter = Meter(process, terms, self.wire)
        """What it uses and writes."""
        self.alarm = Alarm(self._ring)
        self.last: CallOutcome | None = None
        """The outcome of the last call, also when its caller was cancelled; of its start, when that failed."""
        self.failure: str | None = None
        """Why it was ended while no call was open."""
        self.ended = trio.Event()
        """Set when no process of it exists."""
        self._concluded: set[str] = set()
        self._calling: Calling | None = None

    # --- the start --------------------------------------------------------------------------------------------

    async def greet(self) -> None:
        """Say hello and wait until it is ready (EXT-15).

        Raises:
            WorkerStartError: It did not become ready: `extension_start_failed`, `extension_start_timeout` or
                `extension_protocol_error`. It is dead then; `last` holds the envelope.
        """
        await greet(self)
        self.meter.end()
        self.idle_since = trio.current_time()
        self._fit = self.failure is None

    @property
    def reusable(self) -> bool:
        """Whether it may take another call: it is ready, alive, and nothing speaks against it."""
        return self._fit and self.process.exit is None

    def retire(self) -> None:
        """Let it take no other call."""
        self._fit = False

    # --- calls ------------------------------------------------------------------------------------------------

    async def call(self, call: Call) -> CallOutcome:
        """Do one call, to its one conclusion (EXT-3, EXT-26).

        Cancelling the caller begins EXT-19: the worker is told, has its time to answer, and is killed if it does not;
        then the cancellation goes on, and `last` holds the outcome.

        Raises:
            RuntimeError: Another call is open.
            Exception: What a callback of `call` raised; the worker is killed.
        """
        if self._calling is not None:
            raise RuntimeError("a worker has one call at a time")
        calling = self._calling = Calling(self, call)
        if calling.deadline < self.alarm.at:
            self.alarm.set(calling.deadline)
        self.meter.begin()
        self.log.call_id = call.call_id
        self.calls += 1
        self.process.calls += 1
        try:
            ending = await calling.run()
        except BaseException:
            # A mistake of ours may have come in between: even then the worker serves nobody else.
            calling.conclusion.conclude(Ending("killed", "worker_lost", "the node failed", fatal=True))
            assert calling.conclusion.ending is not None
            await self._finish(calling, calling.conclusion.ending)
            raise
        outcome = await self._finish(calling, ending) if ending.fatal else self._finish_alive(calling, ending)
        if calling.fault is not None:
            raise calling.fault
        return outcome

    def unused(self, call_id: str) -> str:
        """An id that no call of this worker has had: two calls of one id must not take each other's frames (EXT-3)."""
        found, number = call_id, len(self._concluded)
        while found in self._concluded:
            found = f"{call_id}~{number}"
            number += 1
        return found

    def cancel(self, call_id: str, reason: str) -> bool:
        """Cancel an open call (EXT-19); its outcome will be `cancelled`. False if it is not open, or no more."""
        calling = self._calling
        return calling is not None and calling.call.call_id == call_id and calling.cancel(reason)

    def fail(self, code: str, reason: str, outcome: Outcome = "killed", *, retryable: bool = False) -> None:
        """Kill the worker. A call that is open concludes with this, unless it has concluded already."""
        self._fit = False
        if self._calling is None:
            self.failure = self.failure or reason
            self.process.kill(code)
        else:
            self._calling.conclude(Ending(outcome, code, reason, retryable=retryable, fatal=True))

    @property
    def open_call(self) -> str | None:
        """The id of the call that is open."""
        return None if self._calling is None else self._calling.call.call_id

    # --- the end ----------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Ask it to end, and kill it after `drain_ms`. Not while a call is open. Returns as `close` does."""
        self._fit = False
        with trio.move_on_after(self.terms.manifest.timeouts.drain_ms / 1000), suppress(WireEndedError):
            self.wire.send(Drain())
            await self.wire.flushed()
            await self.ended.wait()
        await self.end("drained")

    async def end(self, reason: str) -> Exit | None:
        """Kill it, if it lives; how it ended, or None when that is not known within `REAPING` (EXT-21)."""
        self._fit = False
        self.process.kill(reason)
        return await self.reaped()

    async def reaped(self) -> Exit | None:
        """How it ended; None if nothing is known of that within `REAPING`. Waits shielded, so that it is bounded."""
        with trio.CancelScope(deadline=trio.current_time() + REAPING, shield=True):
            return await self.process.wait()
        return self.process.exit

    def stderr_tail(self) -> str | None:
        """The last of what it wrote to standard error, redacted, at most `TAIL` bytes; None if that is nothing."""
        text = self.terms.redaction(self.stderr.tail.decode("utf-8", "replace"))
        return text.encode()[-TAIL:].decode("utf-8", "ignore") or None

    async def watch(self) -> None:
        """Wait for its end, and let its reader find it. One task does, as long as the worker lives."""
        await self.process.wait()
        self._fit = False
        self.ended.set()
        # A descendant may hold the other end. What had arrived can be read all the same.
        with suppress(OSError):
            self.process.socket.shutdown(socket.SHUT_RD)

    # --- frames that belong to no open call -------------------------------------------------------------------

    def attend(self) -> None:
        """Handle what it sent while no call is open, without waiting. Bounded; called every now and then."""
        if self._calling is not None or self.failure is not None or self.process.exit is not None:
            return
        try:
            if not self._overhear() and (body := self.wire.read()) is not None:
                self._take_idle(body)
                self._overhear()
            self.wire.flush()
            self.check_output()
        except WireEndedError:
            self.fail("extension_crashed", "it closed its socket")
        except FrameError as error:
            self.fail("extension_protocol_error", self.terms.redaction(str(error)))

    def take(self, frame: arriving.OfNone) -> None:
        """Handle a frame that belongs to no call.

        Raises:
            FrameError: It has no place here.
        """
        if isinstance(frame, arriving.Log):
            self.log.frame(frame)
        elif isinstance(frame, Ping):
            if self.wire.waiting < _PONGS:  # who does not read the last ones is not waiting for this one
                self.answer(Pong(nonce=frame.nonce))
        elif not isinstance(frame, Pong):
            raise FrameError("a second ready")

    def answer(self, frame: Frame) -> None:
        """Send an answer. A worker that has gone is told to the one who reads.

        Raises:
            BacklogError: It does not read what it asked for.
            FrameError: The answer is too long, or is none.
        """
        if self.wire.waiting > self.terms.frame_limit + _UNREAD:
            raise BacklogError("it does not read its answers")
        try:
            if not self.wire.send(frame) and self._calling is not None:
                self._calling.flush()
        except WireEndedError:
            pass

    def take_stray(self, frame: arriving.OfCall) -> None:
        """Discard a frame of a call that is concluded. The worker takes no other call after that (EXT-3).

        Raises:
            FrameError: Its id was never opened, or there are too many.
        """
        if frame.id not in self._concluded:
            raise FrameError("an id that was never opened")
        self._fit = False
        self.discarded += 1
        if (
            self.discarded & (self.discarded - 1) == 0
        ):  # told at 1, 2, 4, …: a flood of them is no flood of events
            self.terms.emit(
                "worker_discarded_frame",
                severity="warning",
                worker_id=self.process.worker_id,
                extension=self.terms.manifest.name,
                frame=type(frame).__name__.lower(),
                discarded=self.discarded,
            )
        if self.discarded > MAX_STRAYS:
            raise FrameError("too many frames of calls that are concluded")

    # --- limits -----------------------------------------------------------------------------------------------

    @property
    def usage(self) -> Usage | None:
        """What it used after its last call."""
        return self.meter.usage

    def check_output(self) -> None:
        """End it if it wrote more than it may (EXT-24)."""
        if self.process.exit is None and (excess := self.meter.excess()) is not None:
            self.fail(*excess)

    def sample(self) -> None:
        """Look at what it uses, and end it if its open call uses too much (EXT-28)."""
        if self._calling is not None and (excess := self.meter.excess_of_call()) is not None:
            self.fail(*excess)

    def _wrote(self, size: int) -> None:
        self.meter.wrote(size)
        self.check_output()

    def _ring(self) -> float:
        """The time of a call may be over: which it is told, or when it will be."""
        calling = self._calling
        if calling is None:
            return inf
        if trio.current_time() < calling.deadline:
            return calling.deadline
        calling.expire()
        return inf

    # --- conclusions ------------------------------------------------------------------------------------------

    async def _finish(self, calling: Calling, ending: Ending) -> CallOutcome:
        """Conclude, the worker's end included if that is asked for."""
        if not ending.fatal:
            return self._finish_alive(calling, ending)
        self._concluded.add(calling.id)
        self._fit = False
        exited = await self.reaped() if ending.evidence else None
        if exited is None:
            exited = await self.end(ending.code or "ended")
        stderr = self.last_words()
        cpu_ms = self.meter.end_by(exited)
        if ending.evidence and exited is not None:
            ending = by_evidence(ending, exited, self, cpu_ms, stderr)
        self._calling = None
        now = self.idle_since = self.now()
        outcome = self.last = envelope(self, calling, ending, exited, cpu_ms, stderr, now)
        return outcome

    def _finish_alive(self, calling: Calling, ending: Ending) -> CallOutcome:
        self._concluded.add(calling.id)
        self._calling = None
        if ending.unclean:
            self._fit = False
        if self.wire.ahead:
            try:
                self._overhear()  # so that a worker in doubt is not given another call
            except FrameError as error:
                self.fail("extension_protocol_error", self.terms.redaction(str(error)))
        now = self.now()
        cpu_ms = self.meter.end(now - calling.began)
        self.idle_since = now
        outcome = self.last = envelope(self, calling, ending, None, cpu_ms, None, now)
        return outcome

    def last_words(self) -> str | None:
        """What it had printed when it ended is read; the last of standard error, as `stderr_tail`."""
        self.stdout.read_rest()
        self.stderr.read_rest()
        return self.stderr_tail()

    def _overhear(self) -> bool:
        """Handle what has arrived already, up to a bound; whether that was anything.

        Raises:
            FrameError: It has no place here.
        """
        for handled in range(BATCH):
            if (body := self.wire.next()) is None:
                return handled > 0
            self._take_idle(body)
        return True

    def _take_idle(self, body: bytes) -> None:
        frame = arriving.decode(body)
        if isinstance(frame, arriving.OfCall):
            self.take_stray(frame)
        else:
            self.take(frame)


@asynccontextmanager
async def open_conversation(process: WorkerProcess, terms: Terms) -> AsyncIterator[Conversation]:
    """Hold a worker. On leaving it is killed and its descriptors are closed; an open call has ended before.

    Raises:
        BaseException: What the body raised, as it was.
    """
    conversation = Conversation(process, terms)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(conversation.stdout.run)
            nursery.start_soon(conversation.stderr.run)
            nursery.start_soon(conversation.watch)
            nursery.start_soon(conversation.alarm.run)
            try:
                yield conversation
            finally:
                await conversation.end("retired")
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:  # the body's own: those tasks raise nothing
            raise group.exceptions[0] from None
        raise
    finally:
        conversation.stdout.read_rest()
        conversation.stderr.read_rest()
        process.close()
