"""A call as it is given to a worker's conversation, and what comes back on the way (EXT-15 to EXT-19)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple

import msgspec

from web4.worker.frames import CallContext, CallKind, UiMethod, UiOutcome


class ProgressUpdate(NamedTuple):
    """How far a call has come, as its worker says; `fraction` from 0 to 1. `data` is bounded (`MAX_PROGRESS_DATA`)."""

    call_id: str
    message: str | None
    fraction: float | None
    data: Any


class UiQuestion(NamedTuple):
    """What an extension wants to ask a person (EXT-18). `fields` by the method; the text is the extension's own."""

    extension: str
    call_id: str
    request_id: str
    method: UiMethod
    fields: dict[str, Any]


class UiReply(NamedTuple):
    """What a person answered, or why nobody did."""

    outcome: UiOutcome
    value: Any = None


class IntentReply(NamedTuple):
    """What the node decided about an intent of a workload (TURN-20)."""

    ok: bool
    error: str | None = None


class LogLine(NamedTuple):
    """One line of an extension's log, redacted and cut to `MAX_LINE` characters.

    `source` says where it came from: a `log` frame, or what the worker printed. `dropped` counts lines that were left
    out before this one because there were too many.
    """

    extension: str
    worker_id: str
    call_id: str | None
    source: Literal["log", "stdout", "stderr"]
    level: str
    text: str
    dropped: int = 0


OnProgress = Callable[[ProgressUpdate], None]
Ask = Callable[[UiQuestion], Awaitable[UiReply | None]]
OnEmit = Callable[[str, Any], Awaitable[None]]
OnIntent = Callable[[str, Any], Awaitable[IntentReply]]
OnLog = Callable[[LogLine], None]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Do this. What its worker does never raises; what the callbacks below raise ends the call and is raised on.

    Args:
        call_id: Unique in the node's life, as it should be. Given again, a worker knows that call by another id.
        kind: What is called.
        name: Of the tool, command, … or the point of a hook.
        arguments: JSON values and bytes; checked against the input schema before.
        timeout_ms: The limit of the call, positive (EXT-20).
        remaining_ms: What is left of its run, where it has one; no question to a person stops that clock.
        idempotency_key: Handed to the extension; the same for a retry (EXT-23).
        context: Ids for the extension (EXT-16).
        cancellable: Whether it is sent `cancel`; if not it gets `settle_ms` to finish instead (EXT-19, TURN-8c).
        settle_ms: See `cancellable`.
        queue_ms: What the call has waited before; goes to its outcome.
        on_progress: Gets its progress, in order, at most 20 times a second; must not block.
        ask: Asks a person; None as its answer, or none at all, is `refused`.
        on_emit: Gets a workload's events, one after another; its worker waits while it does not return. Without it
            they go nowhere.
        on_intent: Decides an intent of a workload, by its id.
    """

    call_id: str
    kind: CallKind
    name: str
    arguments: Any
    timeout_ms: int
    remaining_ms: int | None = None
    idempotency_key: str | None = None
    context: CallContext = CallContext()
    cancellable: bool = True
    settle_ms: int = 5_000
    queue_ms: float = 0.0
    on_progress: OnProgress | None = None
    ask: Ask | None = None
    on_emit: OnEmit | None = None
    on_intent: OnIntent | None = None
