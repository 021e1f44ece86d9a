"""Sinks that write: files that rotate, a stream, Prometheus, OpenTelemetry (OBS-4)."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from web4.observe import JsonLinesSink, ObservabilityHub, SinkError, StreamSink, open_hub
from web4.observe.sinks.open_telemetry import OpenTelemetrySink
from web4.observe.sinks.prometheus import PrometheusSink

if TYPE_CHECKING:
    from pathlib import Path

    from web4.foundation.events import Event


def some_events(number: int) -> list[Event]:
    """So many events."""
    hub = ObservabilityHub("ada", ring=100_000)
    for index in range(number):
        hub.emit("error", where="x" * 100, code=str(index))
    return list(hub.memory)


def lines(path: Path) -> list[dict[str, Any]]:
    """The documents of a file."""
    return [msgspec.json.decode(line) for line in path.read_bytes().split(b"\n")[:-1]]


async def test_lines_rotate_and_nothing_is_lost_before_the_oldest(tmp_path: Path) -> None:
    """Every line is whole, files stay near their size, and together they hold the newest events in order."""
    path = tmp_path / "events.jsonl"
    sink = JsonLinesSink(path, max_bytes=5_000, keep=3)
    events = some_events(200)
    for start in range(0, 200, 5):
        await sink.write(events[start : start + 5])
    await sink.aclose()
    files = [path.with_name(f"{path.name}.{number}") for number in (3, 2, 1)] + [path]
    assert all(file.stat().st_size < 5_000 + 5 * 500 for file in files)
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    kept = [document["seq"] for file in files for document in lines(file)]
    assert kept == list(range(kept[0], 201))
    assert not path.with_name(f"{path.name}.4").exists()


async def test_a_line_that_a_crash_cut_off_is_ended(tmp_path: Path) -> None:
    """A torn line spoils itself only."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"torn":')
    sink = JsonLinesSink(path)
    await sink.write(some_events(2))
    await sink.aclose()
    torn, *rest = path.read_bytes().split(b"\n")[:-1]
    assert torn == b'{"torn":'
    assert [msgspec.json.decode(line)["seq"] for line in rest] == [1, 2]


async def test_a_file_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    """OBS-4: its events are lost and counted; later ones arrive."""
    directory = tmp_path / "logs"
    sink = JsonLinesSink(directory / "events.jsonl")
    first, second = some_events(2)
    with pytest.raises(FileNotFoundError):
        await sink.write([first])
    directory.mkdir()
    await sink.write([second])
    await sink.aclose()
    assert [document["seq"] for document in lines(directory / "events.jsonl")] == [2]


async def test_no_rotated_file_is_kept_if_none_is_wanted(tmp_path: Path) -> None:
    """keep=0."""
    path = tmp_path / "events.jsonl"
    sink = JsonLinesSink(path, max_bytes=1, keep=0)
    for event in some_events(3):
        await sink.write([event])
    await sink.aclose()
    assert [document["seq"] for document in lines(path)] == [3]
    assert not path.with_name("events.jsonl.1").exists()


@pytest.mark.parametrize(("max_bytes", "keep"), [(0, 1), (1, -1)])
def test_options_are_checked(tmp_path: Path, max_bytes: int, keep: int) -> None:
    """LIM-1."""
    with pytest.raises(SinkError) as caught:
        JsonLinesSink(tmp_path / "x", max_bytes=max_bytes, keep=keep)
    assert caught.value.code == "sink_options"


async def test_a_stream() -> None:
    """Lines on a descriptor, which is closed with the sink; the given one stays open."""
    reading, writing = os.pipe()
    sink = StreamSink(writing)
    await sink.write(some_events(2))
    await sink.aclose()
    os.close(writing)
    data = b""
    while piece := os.read(reading, 65_536):
        data += piece
    os.close(reading)
    assert [msgspec.json.decode(line)["seq"] for line in data.splitlines()] == [1, 2]


async def test_prometheus_counts() -> None:
    """Counts by type and code, sessions as they stand, and no id in any label."""
    sink = PrometheusSink()
    peer = "ab" * 32
    async with open_hub("ada", sinks=[sink]) as hub:
        hub.emit("session_open", peer=peer, initiator=True)
        hub.emit("session_open", peer=peer, initiator=False)
        hub.emit("session_close", peer=peer, reason="local", code="normal")
        hub.emit("envelope_rejected", peer=peer, code="syntax", type=None)
        moved: dict[str, Any] = {"from": "unknown", "to": "probing", "event": "handshake_ok"}
        hub.emit("trust_transition", peer=peer, **moved)
        hub.emit("claim_accepted", claim_key="cd" * 32)
    text = sink.render().decode()
    assert "web4_sessions 1.0" in text
    assert 'web4_envelope_rejections_total{code="syntax"} 1.0' in text
    assert 'web4_peers{trust="probing"} 1.0' in text
    assert 'web4_claim_changes_total{state="accepted"} 1.0' in text
    assert peer not in text


async def test_open_telemetry_records() -> None:
    """Each event is a log record with its type as event name, its fields as attributes."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    async with open_hub("ada", sinks=[OpenTelemetrySink(provider)]) as hub:
        hub.emit(
            "trust_transition", peer="ab" * 32, severity="warning", evidence=[{"blake3": "cd" * 32}], seq=3
        )
    (data,) = exporter.get_finished_logs()
    record = data.log_record
    assert record.event_name == "web4.trust_transition"
    assert record.severity_text == "warning"
    attributes = dict(record.attributes or {})
    assert attributes["web4.peer"] == "ab" * 32
    assert attributes["web4.payload.seq"] == 3
    assert attributes["web4.payload.evidence"] == '[{"blake3":"' + "cd" * 32 + '"}]'
