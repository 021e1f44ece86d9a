"""What lane `server` records of services that peers call here (GRAPH-4)."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from web4.extensions.calls.call_events import Kept
from web4.journal.event_types import DataClass, EventType

ServiceStatus = Literal["ok", "refused", "failed", "timeout"]


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What all have: Unix milliseconds that came with the command, the caller, and the id of its call."""

    at_ms: int
    peer: str
    call_id: str


class ServiceAsked(_Event, frozen=True, kw_only=True):
    """A call was let in: the handler runs from now on.

    Args:
        effect_id: Of the effect.
        service, version: What is called.
        args: The arguments.
        result_id: The id of the answer's envelope, whenever it is sent.
        deadline_ms: When the caller gives up, Unix milliseconds.
        idempotent: Whether the handler may be run again.
    """

    effect_id: str
    service: str
    version: str
    args: Kept
    result_id: str
    deadline_ms: int
    idempotent: bool


class ServiceRefused(_Event, frozen=True, kw_only=True):
    """A call was not let in, and never will be: its id is used."""

    service: str
    version: str
    result_id: str
    status: ServiceStatus
    code: str


class ServiceCut(_Event, frozen=True, kw_only=True):
    """A call is to end early."""

    effect_id: str
    reason: str


class ServiceEnded(_Event, frozen=True, kw_only=True):
    """The handler has ended."""

    effect_id: str
    status: ServiceStatus
    code: str | None = None
    result: Kept | None = None


class AnswerAsked(_Event, frozen=True, kw_only=True):
    """The answer is to be put into the peer's outbox. May be done again: its id never changes (OUT-2)."""

    effect_id: str
    service: str
    result_id: str
    status: ServiceStatus
    code: str | None = None
    result: Kept | None = None
    idempotent: bool


class AnswerGiven(_Event, frozen=True, kw_only=True):
    """The answer is in the peer's outbox; with `code`, it could not be put there."""

    effect_id: str
    code: str | None = None


ServiceEvent = ServiceAsked | ServiceRefused | ServiceCut | ServiceEnded | AnswerAsked | AnswerGiven
_WORDS: Final = frozenset({"args", "result", "reason"})


def _type(name: str, struct: type[msgspec.Struct], **kind: Any) -> EventType:
    classes: dict[str, DataClass] = {
        field: "retainable" if field in _WORDS else "structural" for field in struct.__struct_encode_fields__
    }
    refs = {"peer": "peer", "call": "call_id"}
    return EventType(name=f"service.{name}", struct=struct, classes=classes, refs=refs, **kind)


_REQUEST: Final[dict[str, Any]] = {"phase": "request", "subject": "effect_id", "idempotent": "idempotent"}
_CONCLUSION: Final[dict[str, Any]] = {"phase": "conclusion", "subject": "effect_id"}
SERVICE_EVENTS: Final = (
    _type("asked", ServiceAsked, **_REQUEST),
    _type("refused", ServiceRefused),
    _type("cut", ServiceCut),
    _type("ended", ServiceEnded, **_CONCLUSION),
    _type("answer_asked", AnswerAsked, **_REQUEST),
    _type("answer_given", AnswerGiven, **_CONCLUSION),
)
"""Every event type of the services' part of lane `server`."""
