"""Events and their source (OBS-1, OBS-4, OBS-6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from web4.foundation.events import Event, EventSource, IsolatedEmitter, encode_event, no_events
from web4.foundation.ids import SeededIds


class StillClock:
    """A clock that stands."""

    def wall_ms(self) -> int:
        return 1_767_323_045_678

    def monotonic_ns(self) -> int:
        return 42


def recording() -> tuple[EventSource, list[Event]]:
    events: list[Event] = []
    return EventSource("n" * 64, clock=StillClock(), ids=SeededIds(1), sink=events.append), events


def test_an_event_is_stamped() -> None:
    """OBS-1: version, gap-free number, id, time with microseconds; absent fields stay absent."""
    emit, events = recording()
    emit("session_open", peer="p", lane="server", lane_seq=7, task_id="t", digest="d", sizes=[1, 2])
    emit("error", severity="error")
    assert json.loads(encode_event(events[0])) == {
        "v": "1.0",
        "seq": 1,
        "event_id": SeededIds(1).uuid4(),
        "type": "session_open",
        "ts": "2026-01-02T03:04:05.678000Z",
        "mono_ns": 42,
        "node": "n" * 64,
        "severity": "info",
        "lane": "server",
        "lane_seq": 7,
        "peer": "p",
        "task_id": "t",
        "payload": {"digest": "d", "sizes": [1, 2]},
    }
    assert [event.seq for event in events] == [1, 2]
    assert events[1].severity == "error"
    assert b"\n" not in encode_event(events[0])


def test_obs_deterministic() -> None:
    """OBS-6: with clock and ids given, equal runs give equal events."""

    def run() -> list[bytes]:
        emit, events = recording()
        emit("a", x=1)
        emit("b", state="idle")
        return [encode_event(event) for event in events]

    assert run() == run()


def test_payloads_are_immutable_copies() -> None:
    """OBS-4: neither who emits nor who receives can change what was said."""
    emit, events = recording()
    inner: dict[str, Any] = {"list": [1, {"deep": True}]}
    emit("a", inner=inner)
    inner["list"].append(2)
    inner["more"] = 1
    assert json.loads(encode_event(events[0]))["payload"] == {"inner": {"list": [1, {"deep": True}]}}
    with pytest.raises(TypeError):
        events[0].payload["x"] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        events[0].payload["inner"]["x"] = 1
    with pytest.raises(AttributeError):
        events[0].seq = 9  # type: ignore[misc]


def test_a_payload_that_is_no_json_leaves_no_gap() -> None:
    emit, events = recording()
    with pytest.raises(TypeError, match="not bytes"):
        emit("a", secret=b"x")
    emit("b")
    assert [(event.seq, event.type) for event in events] == [(1, "b")]


def test_nobody_listens() -> None:
    no_events("a", severity="info", anything=object())


def test_an_isolated_emitter_hands_on_and_counts_what_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """What foreign code raises ends nothing, and is seen in the log with its place."""
    seen: list[str] = []

    def emit(name: str, /, **fields: object) -> None:
        if name == "error":
            raise RuntimeError
        seen.append(f"{name} {fields}")

    isolated = IsolatedEmitter(emit)
    isolated("session_open", peer="p", initiator=True)
    isolated("error")
    assert seen == ["session_open {'peer': 'p', 'initiator': True}"]
    assert isolated.failures == 1
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [RuntimeError]
