"""Figures from events for Prometheus: counts by type, and how things stand."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

from web4.observe.errors import SinkError

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
except ImportError as error:
    raise SinkError("install web4[observability] for the Prometheus sink", code="sink_unavailable") from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.foundation.events import Event


class PrometheusSink:
    """Keeps figures in a `CollectorRegistry`. Labels have few values: no peer, no id is ever one.

    Args:
        registry: Where the figures are; one of its own when left out. `prometheus_client` serves it, or `render` does.
        name: In `sink_lag`.
    """

    def __init__(self, registry: CollectorRegistry | None = None, *, name: str = "prometheus") -> None:
        self.name = name
        self.registry = CollectorRegistry() if registry is None else registry
        self._events = Counter(
            "web4_events", "Events, by type and severity.", ["type", "severity"], registry=self.registry
        )
        self._envelopes = Counter(
            "web4_envelopes", "Envelopes, by what became of them.", ["what", "type"], registry=self.registry
        )
        self._rejections = Counter(
            "web4_envelope_rejections", "Refused envelopes, by code.", ["code"], registry=self.registry
        )
        self._sessions = Gauge("web4_sessions", "Sessions that are open.", registry=self.registry)
        self._peers = Gauge(
            "web4_peers", "Peers whose trust moved here, by state.", ["trust"], registry=self.registry
        )
        self._claims = Counter(
            "web4_claim_changes",
            "Changes of claims, by the state they came to.",
            ["state"],
            registry=self.registry,
        )
        self._lost = Counter(
            "web4_sink_lost_events", "Events that sinks lost.", ["sink"], registry=self.registry
        )
        self._trust: Tally[str] = Tally()

    def render(self) -> bytes:
        """The figures in Prometheus' text format."""
        return bytes(generate_latest(self.registry))

    async def write(self, events: Sequence[Event]) -> None:
        """See `Sink.write`."""
        for event in events:
            self._count(event)

    async def aclose(self) -> None:
        """See `Sink.aclose`."""

    def _count(self, event: Event) -> None:
        self._events.labels(event.type, event.severity).inc()
        payload = event.payload
        what, _, rest = event.type.partition("_")
        if what == "envelope":
            self._envelopes.labels(rest, payload.get("type") or "").inc()
            if rest == "rejected":
                self._rejections.labels(payload.get("code") or "").inc()
        elif what == "trust" and payload.get("from") != payload.get("to"):
            self._move(str(payload.get("from")), str(payload.get("to")))
        elif what == "claim" and rest != "vote":
            self._claims.labels(rest).inc()
        elif event.type == "session_open":
            self._sessions.inc()
        elif event.type == "session_close":
            self._sessions.dec()
        elif event.type == "sink_lag":
            self._lost.labels(str(payload.get("sink"))).inc(payload.get("lost") or 0)

    def _move(self, before: str, after: str) -> None:
        self._trust[after] += 1
        self._trust[before] -= 1
        for state in (before, after):
            self._peers.labels(state).set(max(0, self._trust[state]))
