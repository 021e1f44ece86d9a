"""Events as OpenTelemetry log records: an event's type is the record's event name."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from web4.foundation.codec import ENCODER
from web4.observe.errors import SinkError

try:
    from opentelemetry._logs import LoggerProvider, LogRecord, SeverityNumber
except ImportError as error:
    raise SinkError(
        "install web4[observability] for the OpenTelemetry sink", code="sink_unavailable"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from web4.foundation.events import Event, Severity

_SEVERITIES: Final[dict[Severity, SeverityNumber]] = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
}
_FIELDS: Final = (
    "event_id", "seq", "node", "lane", "lane_seq", "peer", "session_id", "protocol", "msg_id", "corr_id", "task_id",
    "state",
)  # fmt: skip


class OpenTelemetrySink:
    """Hands each event to a logger of the provider that the program has set up; exporting is that provider's.

    Fields become attributes `web4.<field>`, those of the payload `web4.payload.<field>`; what is no plain value is
    written as JSON.

    Args:
        provider: An OpenTelemetry `LoggerProvider`.
        name: In `sink_lag`.
    """

    def __init__(self, provider: LoggerProvider, *, name: str = "open_telemetry") -> None:
        self.name = name
        self._logger = provider.get_logger("web4", schema_url=None)

    async def write(self, events: Sequence[Event]) -> None:
        """See `Sink.write`."""
        for event in events:
            self._logger.emit(_record(event))

    async def aclose(self) -> None:
        """See `Sink.aclose`. The provider is the program's: it is not shut down here."""


def _record(event: Event) -> LogRecord:
    attributes: dict[str, Any] = {
        f"web4.{name}": getattr(event, name) for name in _FIELDS if getattr(event, name) is not None
    }
    attributes |= {
        f"web4.payload.{name}": _plain(value) for name, value in event.payload.items() if value is not None
    }
    moment = datetime.fromisoformat(event.ts)
    return LogRecord(
        timestamp=round(moment.timestamp() * 1_000_000) * 1_000,
        severity_text=event.severity,
        severity_number=_SEVERITIES[event.severity],
        body=event.type,
        attributes=attributes,
        event_name=f"web4.{event.type}",
    )


def _plain(value: Any) -> str | int | float | bool:
    if isinstance(value, str | int | float | bool):
        return value
    return ENCODER.encode(_thawed(value)).decode()


def _thawed(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_thawed(item) for item in value]
    if hasattr(value, "items"):
        mapping: Mapping[str, Any] = value
        return {name: _thawed(item) for name, item in mapping.items()}
    return value
