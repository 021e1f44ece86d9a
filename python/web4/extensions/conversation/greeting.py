"""The first words: `hello` to a worker, `ready` from it, and whether it is what its manifest says (EXT-15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

from web4.extensions.conversation import arriving
from web4.extensions.conversation.evidence import cause_of, describe
from web4.extensions.conversation.wire import WireEndedError
from web4.extensions.errors import WorkerStartError
from web4.extensions.outcome import CallOutcome, Outcome
from web4.worker.frames import PROTOCOL, FrameError, Hello, Ready

if TYPE_CHECKING:
    from web4.extensions.conversation.conversation import Conversation
    from web4.extensions.processes import Exit

_SHOWN = 300
"""Characters of standard error that an error message quotes."""


async def greet(conversation: Conversation) -> None:
    """Have a worker say that it is ready, within `startup_ms`.

    Raises:
        WorkerStartError: See `Conversation.greet`.
    """
    began = trio.current_time()
    startup_ms = conversation.terms.manifest.timeouts.startup_ms
    failure: tuple[Outcome, str, str] | None = None
    ended = False
    with trio.move_on_after(startup_ms / 1000) as scope:
        try:
            async with trio.open_nursery() as nursery:
                conversation.wire.send(_hello(conversation))
                nursery.start_soon(conversation.wire.flushed)
                _check(conversation, await _first(conversation))
                nursery.cancel_scope.cancel()
        except* WireEndedError:
            ended = True
        except* FrameError as group:
            failure = ("killed", "extension_protocol_error", str(group.exceptions[0]))
    if scope.cancelled_caught:
        failure = ("timeout", "extension_start_timeout", f"it was not ready within {startup_ms} ms")
    if ended:
        failure = ("crashed", "extension_start_failed", "it closed its socket before it was ready")
    if failure is not None:
        await _give_up(conversation, began, failure, ended=ended)


def _hello(conversation: Conversation) -> Hello:
    terms, process = conversation.terms, conversation.process
    return Hello(
        protocol=PROTOCOL,
        extension=terms.manifest.name,
        version=terms.manifest.version,
        worker_id=process.worker_id,
        generation=terms.generation,
        config=terms.config,
        limits=terms.limits(),
        tmp=process.tmp,
    )


async def _first(conversation: Conversation) -> Ready:
    """The first frame that is not log or ping."""
    wire = conversation.wire
    while True:
        body = wire.next()
        if body is None:
            await wire.readable()
            body = wire.read()
            conversation.check_output()
            if body is None:
                continue
        frame = arriving.decode(body)
        if isinstance(frame, Ready):
            return frame
        if isinstance(frame, arriving.OfCall):
            raise FrameError("a frame of a call before it was ready")
        conversation.take(frame)


def _check(conversation: Conversation, ready: Ready) -> None:
    if ready.protocol != PROTOCOL:
        raise FrameError(f"it speaks protocol {ready.protocol}, not {PROTOCOL}")
    terms = conversation.terms
    for kind, said, declared in (
        ("tools", ready.tools, terms.tools),
        ("commands", ready.commands, terms.commands),
        ("hooks", ready.hooks, terms.hooks),
    ):
        if len(said) != len(declared) or set(said) != declared:
            different = sorted(set(said) ^ declared) or said
            raise FrameError(f"its {kind} are not the manifest's: {', '.join(different)[:_SHOWN]}")


async def _give_up(
    conversation: Conversation, began: float, failure: tuple[Outcome, str, str], *, ended: bool
) -> NoReturn:
    """Kill it, learn why it ended, and say so."""
    outcome, code, reason = failure
    exited: Exit | None = await conversation.reaped() if ended else None
    if exited is None:
        exited = await conversation.end(code)
    stderr = conversation.last_words()
    terms, process = conversation.terms, conversation.process
    if ended and exited is not None and exited.reason in ("exited", "signalled"):
        cause = cause_of(
            exited,
            memory_by=process.protections.memory,
            cpu_ns=None,
            cpu_limit_ns=terms.cpu_ns,
            stderr=stderr,
        )
        reason = f"it {describe(exited)} before it was ready"
        if cause.code != "extension_crashed":
            reason = f"{reason}: {cause.reason}"
    if conversation.failure is not None:
        outcome, code, reason = "killed", "extension_start_failed", conversation.failure
    elif stderr is not None:
        reason = f"{reason}; it said: {stderr.rstrip().rpartition(chr(10))[2][:_SHOWN]}"
    reason = terms.redaction(reason)
    conversation.last = CallOutcome(
        outcome=outcome,
        code=code,
        extension=terms.manifest.name,
        version=terms.manifest.version,
        operation="start",
        reason=reason,
        timeout_ms=terms.manifest.timeouts.startup_ms,
        elapsed_ms=round((trio.current_time() - began) * 1e3, 3),
        exit_status=None if exited is None else exited.status,
        signal=None if exited is None else exited.signal,
        peak_memory_bytes=None if exited is None else exited.peak_memory_bytes,
        cpu_ms=None if exited is None else exited.cpu_ms,
        worker_id=process.worker_id,
        call_id="start",
        retryable=code == "extension_start_timeout",
        sandbox=process.protections.level,
        stderr=stderr,
    )
    raise WorkerStartError(reason, code=code)
