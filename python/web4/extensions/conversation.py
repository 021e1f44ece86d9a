"""The life of one worker, from `hello` to its end, as the node lives it (EXT-14 to EXT-28).

What a worker does never raises here: it becomes an outcome. One call is open at a time, and its caller's task does the
reading. Beside it there are three tasks: two that read what the worker prints, one that waits for its end.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

from web4.extensions import arriving
from web4.extensions.calling import Calling
from web4.extensions.capture import TAIL, Capture
from web4.extensions.concluding import Ending
from web4.extensions.evidence import cause_of, describe
from web4.extensions.extension_log import ExtensionLog
from web4.extensions.greeting import greet
from web4.extensions.outcome import CallOutcome
from web4.extensions.wire import BacklogError, Wire, WireEndedError
from web4.worker.frames import Drain, Frame, FrameError, Ping, Pong

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.extensions.call import Call
    from web4.extensions.outcome import Outcome
    from web4.extensions.processes import Exit, Usage, WorkerProcess
    from web4.extensions.terms import Terms

REAPING: Final = 0.25
"""Seconds after which a call is concluded though its worker is not reaped yet (EXT-21)."""
MAX_STRAYS: Final = 64
"""Frames of concluded calls that a worker may send before it is killed for them."""
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
        self.wire = Wire(process.socket, terms.frame_limit)
        self.log = ExtensionLog(terms, process.worker_id)
        self.stdout = Capture(process.stdout, "stdout", self.log, self._count)
        self.stderr = Capture(process.stderr, "stderr", self.log, self._count)
        self.reusable = False
        """Whether it may take another call: it is ready, alive, and nothing speaks against it."""
        self.calls = 0
        """Calls it was given."""
        self.discarded = 0
        """Frames of calls that had been concluded."""
        self.idle_since = trio.current_time()
        """When it became ready, or its last call ended; of `trio.current_time`."""
        self.usage: Usage | None = None
        """What it used after its last call."""
        self.last: CallOutcome | None = None
        """The outcome of the last call, also when its caller was cancelled; of its start, when that failed."""
        self.failure: str | None = None
        """Why it was ended while no call was open."""
        self.ended = trio.Event()
        """Set when no process of it exists."""
        self._concluded: set[str] = set()
        self._calling: Calling | None = None
        self._written = 0
        self._received = 0
        self._cpu = 0
        self._peak: int | None = None

    # --- the start --------------------------------------------------------------------------------------------

    async def greet(self) -> None:
        """Say hello and wait until it is ready (EXT-15).

        Raises:
            WorkerStartError: It did not become ready: `extension_start_failed`, `extension_start_timeout` or
                `extension_protocol_error`. It is dead then; `last` holds the envelope.
        """
        await greet(self)
        self.usage = self.process.usage()
        self._peak = self.usage.resident
        self.idle_since = trio.current_time()
        self._written, self._received = 0, self.wire.received
        self.reusable = self.process.exit is None

    # --- calls ------------------------------------------------------------------------------------------------

    async def call(self, call: Call) -> CallOutcome:
        """Do one call, to its one conclusion (EXT-3, EXT-26).

        Cancelling the caller begins EXT-19: the worker is told, has its time to answer, and is killed if it does not;
        then the cancellation goes on, and `last` holds the outcome.

        Raises:
            RuntimeError: Another call is open.
            ValueError: It was given this `call_id` before.
            Exception: What a callback of `call` raised; the worker is killed.
        """
        if self._calling is not None:
            raise RuntimeError("a worker has one call at a time")
        if call.call_id in self._concluded:
            raise ValueError("a worker is given a call_id once")
        calling = self._calling = Calling(self, call)
        self._written, self._received = 0, self.wire.received
        self._cpu = self.process.usage().cpu_ns or 0
        self.log.call_id = call.call_id
        self.calls += 1
        self.process.calls += 1
        try:
            ending = await calling.run()
        except BaseException:
            assert calling.conclusion.ending is not None
            await self._finish(calling, calling.conclusion.ending)
            raise
        outcome = await self._finish(calling, ending)
        if calling.fault is not None:
            raise calling.fault
        return outcome

    def cancel(self, call_id: str, reason: str) -> bool:
        """Cancel an open call (EXT-19); its outcome will be `cancelled`. False if it is not open, or no more."""
        calling = self._calling
        return calling is not None and calling.call.call_id == call_id and calling.cancel(reason)

    def fail(self, code: str, reason: str, outcome: Outcome = "killed", *, retryable: bool = False) -> None:
        """Kill the worker. A call that is open concludes with this, unless it has concluded already."""
        self.reusable = False
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
        self.reusable = False
        with trio.move_on_after(self.terms.manifest.timeouts.drain_ms / 1000), suppress(WireEndedError):
            self.wire.send(Drain())
            await self.wire.flushed()
            await self.ended.wait()
        await self.end("drained")

    async def end(self, reason: str) -> Exit | None:
        """Kill it, if it lives; how it ended, or None when that is not known within `REAPING` (EXT-21)."""
        self.reusable = False
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
        self.reusable = False
        self.ended.set()
        # A descendant may hold the other end. What had arrived can be read all the same.
        with suppress(OSError):
            self.process.socket.shutdown(socket.SHUT_RD)

    # --- frames that belong to no open call -------------------------------------------------------------------

    def attend(self) -> None:
        """Handle what it sent while no call is open, without waiting. Bounded; called every now and then."""
        if self._calling is not None or self.process.exit is not None:
            return
        try:
            body = self.wire.next() or self.wire.read()
            while body is not None:
                frame = arriving.decode(body)
                if isinstance(frame, arriving.OfCall):
                    self.take_stray(frame)
                else:
                    self.take(frame)
                body = self.wire.next()
            self.wire.flush()
            self.check_output()
        except BlockingIOError:
            self.wire.flush()
        except WireEndedError:
            self.fail("extension_crashed", "it closed its socket")
        except FrameError as error:
            self.broken()
            self.fail("extension_protocol_error", str(error))

    def take(self, frame: arriving.OfNone) -> None:
        """Handle a frame that belongs to no call.

        Raises:
            FrameError: It has no place here.
        """
        if isinstance(frame, arriving.Log):
            self.log.frame(frame)
        elif isinstance(frame, Ping):
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
        self.reusable = False
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

    def broken(self) -> None:
        """It violated the protocol."""
        self.reusable = False

    # --- measures ---------------------------------------------------------------------------------------------

    def check_output(self) -> bool:
        """Whether what it said is within its limit; ends it otherwise (EXT-24)."""
        if self._written + self.wire.received - self._received <= self.terms.output_bytes:
            return True
        self.fail(
            "extension_output_exceeded", f"it wrote more than {self.terms.output_bytes} bytes in one call"
        )
        return False

    def _count(self, size: int) -> None:
        self._written += size
        if self.process.exit is None:
            self.check_output()

    def sample(self) -> None:
        """Look at what it uses, and end it if that is too much. For a call that is open (EXT-28)."""
        usage = self.process.usage()
        self._saw(usage)
        if self._calling is None:
            return
        terms = self.terms
        if usage.cpu_ns is not None and usage.cpu_ns - self._cpu > terms.cpu_ns:
            self.fail(
                "extension_cpu_exceeded", f"it used more than {terms.cpu_ns // 10**9} s of processor time"
            )
        elif (
            usage.resident is not None
            and usage.resident > terms.memory
            and self.process.protections.memory != "cgroup"
        ):
            self.fail("extension_memory_exceeded", f"it holds more than {terms.memory} bytes")

    def _saw(self, usage: Usage) -> None:
        if usage.resident is not None and (self._peak is None or usage.resident > self._peak):
            self._peak = usage.resident

    # --- outcomes ---------------------------------------------------------------------------------------------

    async def _finish(self, calling: Calling, ending: Ending) -> CallOutcome:
        call = calling.call
        self._concluded.add(call.call_id)
        if ending.unclean:
            self.reusable = False
        exited: Exit | None = None
        stderr: str | None = None
        if ending.fatal:
            self.reusable = False
            if ending.evidence:
                exited = await self.reaped()
            if exited is None:
                exited = await self.end(ending.code or "ended")
            self.stdout.read_rest()
            self.stderr.read_rest()
            stderr = self.stderr_tail()
            if ending.evidence and exited is not None:
                ending = self._by_evidence(ending, exited, stderr)
        else:
            self._overhear()
        self._calling = None
        self._written, self._received = 0, self.wire.received
        outcome = self.last = self._outcome(calling, ending, exited, stderr)
        self.idle_since = trio.current_time()
        return outcome

    def _overhear(self) -> None:
        """Handle what came behind the answer, so that a worker in doubt is not given another call."""
        calling, self._calling = self._calling, None
        try:
            while (body := self.wire.next()) is not None:
                frame = arriving.decode(body)
                if isinstance(frame, arriving.OfCall):
                    self.take_stray(frame)
                else:
                    self.take(frame)
        except FrameError as error:
            self.fail("extension_protocol_error", str(error))
        self._calling = calling
        self.usage = self.process.usage()
        self._saw(self.usage)

    def _by_evidence(self, ending: Ending, exited: Exit, stderr: str | None) -> Ending:
        if exited.reason not in ("exited", "signalled"):
            if exited.reason == ending.code:
                return ending  # it lived on behind a closed socket: the code stands
            return ending._replace(
                outcome="killed", code="worker_lost", reason=f"it was ended: {exited.reason}", retryable=True
            )
        cpu = None if exited.cpu_ms is None else int(exited.cpu_ms * 1e6) - self._cpu
        cause = cause_of(
            exited,
            memory_by=self.process.protections.memory,
            cpu_ns=cpu,
            cpu_limit_ns=self.terms.cpu_ns,
            stderr=stderr,
        )
        if ending.code == "worker_lost" and cause.code == "extension_crashed":
            return ending._replace(reason=f"the worker {describe(exited)} before it had taken the call")
        return ending._replace(code=cause.code, outcome=cause.outcome, reason=cause.reason)

    def _outcome(
        self, calling: Calling, ending: Ending, exited: Exit | None, stderr: str | None
    ) -> CallOutcome:
        call, manifest = calling.call, self.terms.manifest
        cpu_ms: float | None = None
        peak = self._peak
        if exited is not None:
            if exited.cpu_ms is not None:
                cpu_ms = round(max(0.0, exited.cpu_ms - self._cpu / 1e6), 3)
            peak = max(peak or 0, exited.peak_memory_bytes or 0) or None
        elif not ending.fatal and self.usage is not None and self.usage.cpu_ns is not None:
            cpu_ms = (self.usage.cpu_ns - self._cpu) / 1e6
        return CallOutcome(
            outcome=ending.outcome,
            code=ending.code,
            extension=manifest.name,
            version=manifest.version,
            operation=f"{call.kind}:{call.name}",
            reason=ending.reason,
            timeout_ms=call.timeout_ms,
            elapsed_ms=round((trio.current_time() - calling.began) * 1e3, 3),
            queue_ms=call.queue_ms,
            exit_status=None if exited is None else exited.status,
            signal=None if exited is None else exited.signal,
            peak_memory_bytes=peak,
            cpu_ms=cpu_ms,
            worker_id=self.process.worker_id,
            call_id=call.call_id,
            retryable=ending.retryable,
            sandbox=self.process.protections.level,
            side_effects=ending.side_effects,
            value=ending.value,
            data=ending.data,
            stderr=stderr if ending.outcome in ("crashed", "killed") else None,
        )


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
            try:
                yield conversation
            finally:
                await conversation.end("retired")
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:  # the body's own: the three tasks raise nothing
            raise group.exceptions[0] from None
        raise
    finally:
        conversation.stdout.read_rest()
        conversation.stderr.read_rest()
        process.close()
