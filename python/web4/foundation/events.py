"""The event of observability contract 1.0 (OBS-1), and how a room says one.

Rooms receive an `Emitter` from above and never know a sink. `EventSource` is the node's own: it stamps what
is emitted with time, id and a gap-free number, and hands the immutable result on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from web4.foundation.clock import Clock
    from web4.foundation.ids import IdSource

Severity = Literal["debug", "info", "warning", "error"]

_LOG = logging.getLogger("web4.events")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What happened on a node. `seq` is gap-free per node; contents appear as digests only (OBS-5).

    `ts` is RFC 3339 with microseconds, `mono_ns` the node's monotonic clock in nanoseconds. `payload` is a
    read-only copy of what was said.
    """

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
    """How a room reports an event. Never blocks, never raises for what a peer did."""

    def __call__(
        self,
        type: str,  # noqa: A002 - the name of the field it fills
        /,
        *,
        severity: Severity = "info",
        lane: str | None = None,
        lane_seq: int | None = None,
        peer: str | None = None,
        session_id: str | None = None,
        protocol: str | None = None,
        msg_id: str | None = None,
        corr_id: str | None = None,
        task_id: str | None = None,
        state: str | None = None,
        **payload: Any,
    ) -> None:
        """Report that `type` (one of OBS-2) happened. `payload` holds JSON values: digests, not contents.

        Raises:
            TypeError: The payload holds something that is no JSON value: a mistake in the program.
        """
        ...


class EventSource:
    """The `Emitter` of one node: stamps each event and hands it to `sink`, which must not block or raise."""

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
        lane: str | None = None,
        lane_seq: int | None = None,
        peer: str | None = None,
        session_id: str | None = None,
        protocol: str | None = None,
        msg_id: str | None = None,
        corr_id: str | None = None,
        task_id: str | None = None,
        state: str | None = None,
        **payload: Any,
    ) -> None:
        """See `Emitter`."""
        # Freezing comes first: a payload that is refused must not leave a gap in `seq`.
        frozen = MappingProxyType({key: _frozen(value) for key, value in payload.items()})
        self._seq += 1
        event = Event(
            v="1.0",
            seq=self._seq,
            event_id=self._ids.uuid4(),
            type=type,
            ts=_format_moment(self._clock.wall_ms()),
            mono_ns=self._clock.monotonic_ns(),
            node=self._node,
            severity=severity,
            lane=lane,
            lane_seq=lane_seq,
            peer=peer,
            session_id=session_id,
            protocol=protocol,
            msg_id=msg_id,
            corr_id=corr_id,
            task_id=task_id,
            state=state,
            payload=frozen,
        )
        self._sink(event)


def no_events(type: str, /, **fields: Any) -> None:  # noqa: A002 - the name of the field it fills
    """Discard every event: the `Emitter` of a room that nobody observes."""


class IsolatedEmitter:
    """An `Emitter` around a foreign one: what that raises is logged and counted, and ends nothing of ours."""

    def __init__(self, emit: Emitter) -> None:
        self._emit = emit
        self.failures = 0
        """Events that were refused."""

    def __call__(self, type: str, /, **fields: Any) -> None:  # noqa: A002 - the name of the field it fills
        """See `Emitter`."""
        try:
            self._emit(type, **fields)
        except Exception:
            self.failures += 1
            _LOG.exception("an event of type %s was refused", type)


def encode_event(event: Event) -> bytes:
    """Write an event as one line of JSON, without a line feed; absent fields are left out."""
    return _ENCODER.encode(event)


def _frozen(value: Any) -> Any:
    """Copy a JSON value so that nobody can change it afterwards (OBS-4)."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, Mapping):
        return MappingProxyType({str(key): _frozen(item) for key, item in value.items()})
    raise TypeError(f"an event's payload holds JSON values, not {type(value).__name__}")


def _thawed(value: Any) -> Any:
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise NotImplementedError(type(value).__name__)


def _format_moment(wall_ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=wall_ms)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


_ENCODER = msgspec.json.Encoder(enc_hook=_thawed)
