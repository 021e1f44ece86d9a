"""What a lane records of the calls it makes: each is requested, and concluded once (EXT-3, EXT-26)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from web4.extensions.outcome import CallOutcome, Outcome
from web4.journal.event_types import EventType
from web4.worker.frames import CallContext, CallKind


class KeptBlob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of a value that is in a blob.

    Args:
        at: Where it belongs: a JSON pointer; empty where it is the whole value.
        blob: The blob's name (JRN-8).
        size: Its bytes.
        json: Whether the blob holds the value's JSON; else it is the bytes that stood there.
    """

    at: str
    blob: str
    size: int
    json: bool = False


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A value as a lane keeps it: JSON, with its bytes, or all of it if it is large or has no canonical form, in blobs.

    Args:
        inline: The value, with null where a blob belongs.
        blobs: What is not inline.
    """

    inline: Any = None
    blobs: tuple[KeptBlob, ...] = ()


NOTHING: Final = Kept()


class CallRequested(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A worker is to be called. Durable before any worker sees it (EXT-3).

    Args:
        call_id: Unique in the lane.
        extension: Its name.
        version: The version that was enabled when it was requested.
        kind: Of the operation.
        name: Of the operation, without the extension's.
        arguments: What it is called with.
        timeout_ms: The limit that was asked for; None for the manifest's.
        idempotency_key: The same at every try, so that an extension can tell them apart.
        idempotent: What the manifest says: whether it may be called again after a crash of the node.
        context: Where the call comes from: ids.
        command: The command of the lane that it belongs to, if it belongs to one.
    """

    call_id: str
    extension: str
    version: str
    kind: CallKind
    name: str
    arguments: Kept
    timeout_ms: int | None
    idempotency_key: str
    idempotent: bool
    context: CallContext
    command: str | None = None

    @property
    def operation(self) -> str:
        """As it stands in the envelope: `tool:<name>` … (EXT-26)."""
        return f"{self.kind}:{self.name}"


class CallCut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody wants a call to end; it is concluded as cancelled (EXT-19), unless it was faster."""

    call_id: str
    reason: str


class CallConcluded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a call ended: every field of `CallOutcome`, present also where it is null (EXT-26)."""

    call_id: str
    outcome: Outcome
    code: str | None
    extension: str
    version: str
    operation: str
    reason: str | None
    timeout_ms: int | None
    elapsed_ms: float | None
    queue_ms: float | None
    exit_status: int | None
    signal: int | None
    peak_memory_bytes: int | None
    cpu_ms: float | None
    worker_id: str | None
    retryable: bool
    sandbox: str | None
    side_effects: bool | None
    stderr: str | None
    isolated: bool
    value: Kept
    data: Kept

    def as_outcome(self, value: Any, data: Any) -> CallOutcome:
        """The envelope again, with what `kept_values.restored` made of `value` and `data`."""
        fields = msgspec.structs.asdict(self) | {"value": value, "data": data}
        del fields["isolated"]
        return CallOutcome(**fields)


CALL_EVENTS: Final = (
    EventType(
        name="extension.call_requested",
        struct=CallRequested,
        classes={
            "call_id": "structural",
            "extension": "structural",
            "version": "structural",
            "kind": "structural",
            "name": "structural",
            "arguments": "retainable",
            "timeout_ms": "structural",
            "idempotency_key": "structural",
            "idempotent": "structural",
            "context": "retainable",
            "command": "structural",
        },
        phase="request",
        subject="call_id",
        command="command",
        idempotent="idempotent",
        refs={"extension": "extension"},
    ),
    EventType(
        name="extension.call_cut",
        struct=CallCut,
        classes={"call_id": "structural", "reason": "retainable"},
        refs={"effect": "call_id"},
    ),
    EventType(
        name="extension.call_concluded",
        struct=CallConcluded,
        classes={
            **dict.fromkeys(CallConcluded.__struct_encode_fields__, "structural"),
            # What an extension or its caller put in words.
            "reason": "retainable",
            "stderr": "retainable",
            "value": "retainable",
            "data": "retainable",
        },
        phase="conclusion",
        subject="call_id",
        refs={"extension": "extension"},
    ),
)
"""Every event type of a calling lane. A lane that is composed of more than calls adds them to its own."""
