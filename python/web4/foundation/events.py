"""The event of observability contract 1.0 (OBS-1), and how a room says one.

Rooms receive an `Emitter` from above and never know a sink. `EventSource` is the node's own: it stamps what
is emitted with time, id and a gap-free number, and hands the immutable result on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from web4.foundation.clock import Clock
    from web4.foundation.ids import IdSource

Severity = Literal["debug", "info", "warning", "error"]


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What happened on a node. `seq` is gap-free per node; contents appear as digests only (OBS-5)."""

    v: Literal["1.0"]
    seq: int
    event_id: str
    type: str
    ts: str
    mono_ns: int
    node: str
    severity: Severity
    lane: str | None = None
    lane_seq: int | None = None
    peer: str | None = None
    session_id: str | None = None
    protocol: str | None = None
    msg_id: str | None = None
    corr_id: str | None = None
    task_id: str | None = None
    state: str | None = None
    payload: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Emitter(Protocol):
    """How a room reports an event. Never blocks, never raises."""

    def __call__(
        self,
        type: str,  # noqa: A002 - the name of the field it fills
        /,
        *,
        severity: Severity = "info",
        peer: str | None = None,
        session_id: str | None = None,
        protocol: str | None = None,
        msg_id: str | None = None,
        corr_id: str | None = None,
        state: str | None = None,
        **payload: Any,  # noqa: ANN401 - any JSON value
    ) -> None:
        """Report that `type` (one of OBS-2) happened."""
        ...


class EventSource:
    """The `Emitter` of one node: stamps each event and hands it to `sink`."""

    def __init__(self, node: str, *, clock: Clock, ids: IdSource, sink: Callable[[Event], None]) -> None:
        self._node = node
        self._clock = clock
        self._ids = ids
        self._sink = sink
        self._seq = 0

    def __call__(
        self,
        type: str,  # noqa: A002 - the name of the field it fills
        /,
        *,
        severity: Severity = "info",
        peer: str | None = None,
        session_id: str | None = None,
        protocol: str | None = None,
        msg_id: str | None = None,
        corr_id: str | None = None,
        state: str | None = None,
        **payload: Any,
    ) -> None:
        """See `Emitter`."""
        self._seq += 1
        wall_ms = self._clock.wall_ms()
        event = Event(
            v="1.0",
            seq=self._seq,
            event_id=self._ids.uuid4(),
            type=type,
            ts=datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            mono_ns=self._clock.monotonic_ns(),
            node=self._node,
            severity=severity,
            peer=peer,
            session_id=session_id,
            protocol=protocol,
            msg_id=msg_id,
            corr_id=corr_id,
            state=state,
            payload=dict(payload),
        )
        self._sink(event)


def no_events(type: str, /, **fields: Any) -> None:  # noqa: A002, ANN401
    """Discard every event: the `Emitter` of a room that nobody observes."""
