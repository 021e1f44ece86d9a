"""What is counted of extensions (EXT-40)."""

from __future__ import annotations

import msgspec

from tests.extensions.calling import outcome, request
from web4.extensions.metrics import ExtensionMetrics, HostMetrics


def test_calls_are_counted_by_how_they_ended() -> None:
    """EXT-40: outcome, code, latency and queue."""
    metrics = ExtensionMetrics()
    metrics.concluded(outcome(request(), elapsed_ms=2.0, queue_ms=0.001))
    metrics.concluded(outcome(request(), elapsed_ms=4.0, queue_ms=0.0))
    metrics.concluded(outcome(request(), outcome="timeout", code="extension_timeout", elapsed_ms=100.0))
    refused = outcome(request(), outcome="refused", code="extension_busy", worker_id=None, elapsed_ms=0.0)
    metrics.concluded(refused)
    said = metrics.summary()
    assert said["calls"] == 4
    assert said["outcomes"] == {"ok": 2, "refused": 1, "timeout": 1}
    assert said["codes"] == {"extension_busy": 1, "extension_timeout": 1}
    assert said["latency_us"]["count"] == 3, "what no worker had took no time of one"
    assert said["latency_us"]["max"] == 100_000
    assert said["queue_us"]["count"] == 4


def test_workers_are_counted() -> None:
    """EXT-40: kills and cold starts."""
    metrics = ExtensionMetrics()
    metrics.started(3.5, waited_for=False)
    metrics.started(900.0, waited_for=True)
    metrics.killed("extension_timeout")
    metrics.killed("extension_timeout")
    metrics.killed("idle")
    said = metrics.summary()
    assert (said["warm_starts"], said["cold_starts"]) == (1, 1)
    assert said["start_us"]["max"] == 900_000
    assert said["kills"] == {"extension_timeout": 2, "idle": 1}


def test_each_extension_has_its_own() -> None:
    """EXT-40, as JSON."""
    metrics = HostMetrics()
    metrics.of("b").exits += 1
    metrics.of("a").concluded(outcome(request()))
    assert metrics.of("b") is metrics.of("b")
    said = msgspec.json.decode(msgspec.json.encode(metrics.summary()))
    assert list(said) == ["a", "b"]
    assert said["b"]["exits"] == 1
