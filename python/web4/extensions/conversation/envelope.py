"""The envelope of a call, from its ending and from what is known of its worker (EXT-26, EXT-28)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from web4.extensions.conversation.evidence import cause_of, describe
from web4.extensions.outcome import CallOutcome

if TYPE_CHECKING:
    from web4.extensions.conversation.calling import Calling
    from web4.extensions.conversation.concluding import Ending
    from web4.extensions.conversation.conversation import Conversation
    from web4.extensions.processes import Exit


def by_evidence(
    ending: Ending, exited: Exit, conversation: Conversation, cpu_ms: float | None, stderr: str | None
) -> Ending:
    """The ending of a call whose worker ended, told by how it did."""
    if exited.reason not in ("exited", "signalled"):
        if exited.reason == ending.code:
            return ending  # it lived on behind a closed socket: what was said stands
        if exited.reason == "processes":
            reason = "it was ended: it had more processes than it may"
            return replace(ending, outcome="killed", code="extension_crashed", reason=reason, retryable=False)
        reason = f"it was ended: {exited.reason}"
        return replace(ending, outcome="killed", code="worker_lost", reason=reason, retryable=True)
    cause = cause_of(
        exited,
        memory_by=conversation.process.protections.memory,
        cpu_ns=None if cpu_ms is None else int(cpu_ms * 1e6),
        cpu_limit_ns=conversation.terms.cpu_ns,
        stderr=stderr,
    )
    if ending.code == "worker_lost" and cause.code == "extension_crashed":
        return replace(ending, reason=f"the worker {describe(exited)} before it had taken the call")
    return replace(ending, code=cause.code, outcome=cause.outcome, reason=cause.reason, retryable=False)


def envelope(
    conversation: Conversation,
    calling: Calling,
    ending: Ending,
    exited: Exit | None,
    cpu_ms: float | None,
    stderr: str | None,
    now: float,
) -> CallOutcome:
    """Fill every field; null is what is not known."""
    call, manifest, process = calling.call, conversation.terms.manifest, conversation.process
    if ending.code is None:  # nearly always; what is left out is null
        return CallOutcome(
            outcome="ok",
            code=None,
            extension=manifest.name,
            version=manifest.version,
            operation=f"{call.kind}:{call.name}",
            timeout_ms=call.timeout_ms,
            elapsed_ms=round((now - calling.began) * 1e3, 3),
            queue_ms=call.queue_ms,
            peak_memory_bytes=conversation.meter.peak,
            cpu_ms=cpu_ms,
            worker_id=process.worker_id,
            call_id=call.call_id,
            sandbox=process.protections.level,
            side_effects=ending.side_effects,
            value=ending.value,
        )
    return CallOutcome(
        outcome=ending.outcome,
        code=ending.code,
        extension=manifest.name,
        version=manifest.version,
        operation=f"{call.kind}:{call.name}",
        reason=ending.reason,
        timeout_ms=call.timeout_ms,
        elapsed_ms=round((now - calling.began) * 1e3, 3),
        queue_ms=call.queue_ms,
        exit_status=None if exited is None else exited.status,
        signal=None if exited is None else exited.signal,
        peak_memory_bytes=conversation.meter.peak,
        cpu_ms=cpu_ms,
        worker_id=process.worker_id,
        call_id=call.call_id,
        retryable=ending.retryable,
        sandbox=process.protections.level,
        side_effects=ending.side_effects,
        value=ending.value,
        data=ending.data,
        stderr=stderr if ending.outcome in ("crashed", "killed") else None,
    )
