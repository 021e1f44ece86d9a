"""How a call of an extension ends: one envelope for every end, good or bad (EXT-26)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Outcome = Literal["ok", "timeout", "crashed", "killed", "cancelled", "refused", "error"]

CODES: Final = frozenset(
    {
        "extension_timeout",
        "extension_start_timeout",
        "extension_start_failed",
        "extension_crashed",
        "extension_memory_exceeded",
        "extension_cpu_exceeded",
        "extension_output_exceeded",
        "extension_disk_exceeded",
        "extension_protocol_error",
        "extension_invalid_result",
        "extension_error",
        "extension_cancelled",
        "extension_busy",
        "extension_quarantined",
        "extension_changed",
        "extension_unprotected",
        "worker_lost",
    }
)
"""Every code that a failed call can have (EXT-27)."""


class CallOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call. Keys without a value are null, never absent (EXT-26).

    Args:
        outcome: How it ended.
        code: One of `CODES`; None when it is `ok`.
        extension: Its name.
        version: Its version.
        operation: `tool:<name>`, `command:<name>`, `hook:<point>`, … or `start`.
        reason: A sentence; for `extension_error` it begins with the extension's own code.
        timeout_ms: The limit that was in force.
        elapsed_ms: From the hand-over to a worker to the end, kill and reaping included.
        queue_ms: Waited for a free worker.
        exit_status: Of a worker that ended by itself.
        signal: The number of the signal that ended it.
        peak_memory_bytes: The most that its worker was seen to hold, up to the end of this call.
        cpu_ms: Processor time of its worker during this call.
        worker_id: Which worker; None when none had it.
        call_id: Unique in the node's life, and in the caller's lane.
        retryable: Whether another try may well end differently.
        sandbox: The level in force.
        side_effects: What the extension said: only False means that nothing happened outside (EXT-19).
        value: Of an `ok`; JSON values, and bytes where the protocol carried them.
        data: What the extension gave along with its own error.
        stderr: The last 4 KiB that a crashed worker wrote to standard error, after redaction (EXT-28).
        isolated: Always true: no failure of an extension is one of the node.
    """

    outcome: Outcome
    code: str | None
    extension: str
    version: str
    operation: str
    reason: str | None = None
    timeout_ms: int | None = None
    elapsed_ms: float | None = None
    queue_ms: float | None = None
    exit_status: int | None = None
    signal: int | None = None
    peak_memory_bytes: int | None = None
    cpu_ms: float | None = None
    worker_id: str | None = None
    call_id: str
    retryable: bool = False
    sandbox: str | None = None
    side_effects: bool | None = None
    value: Any = None
    data: Any = None
    stderr: str | None = None
    isolated: Literal[True] = True
