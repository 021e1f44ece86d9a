"""The hub: order, gaps, slow and failing sinks, redaction (OBS-4, OBS-5, OBS-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from web4.foundation.events import Event, encode_event
from web4.foundation.ids import SeededIds
from web4.observe import (
    CallbackSink,
    JsonLinesSink,
    ObservabilityHub,
    Redaction,
    SinkError,
    open_hub,
)
from web4.testing import ManualClock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trio.testing import MockClock


class Collecting:
    """A sink that keeps what it gets."""

    def __init__(self, name: str = "collecting") -> None:
        self.name = name
        self.seen: list[Event] = []
        self.closed = False

    async def write(self, events: Sequence[Event]) -> None:
        self.seen += events
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class Stuck(Collecting):
    """A sink that takes one call and never returns from it, until it is released."""

    def __init__(self) -> None:
        super().__init__("stuck")
        self.released = trio.Event()

    async def write(self, events: Sequence[Event]) -> None:
        await self.released.wait()
        await super().write(events)


class Spiteful(Collecting):
    """A sink that fails when it is closed."""

    async def aclose(self) -> None:
        raise OSError("no")


async def test_a_sink_that_cannot_be_closed_harms_nobody(autojump_clock: MockClock) -> None:
    """OBS-4: its failure is its own; the node stops as always, and other sinks get everything."""
    other = Collecting()
    async with open_hub("ada", sinks=[Spiteful("spiteful"), other]) as hub:
        hub.emit("error", where="here", code="1")
    assert [event.seq for event in other.seen] == [1]
    assert other.closed


async def test_obs_order_and_gap(autojump_clock: MockClock) -> None:
    """OBS-4: without loss there is no gap, and the order is that of the emitting."""
    sink = Collecting()
    async with open_hub("ada", sinks=[sink]) as hub:
        for number in range(1_000):
            hub.emit("error", where="here", code=str(number))
    assert [event.seq for event in sink.seen] == list(range(1, 1_001))
    assert [event.payload["code"] for event in sink.seen] == [str(number) for number in range(1_000)]
    assert sink.closed


async def test_obs_slow_sink(autojump_clock: MockClock) -> None:
    """OBS-4: a sink that hangs loses its own events, with a count and a visible gap; another one loses nothing."""
    stuck, quick = Stuck(), Collecting()
    async with open_hub("ada", sinks=[stuck, quick], queue=100, write_seconds=5) as hub:
        for number in range(500):
            hub.emit("error", where="here", code=str(number))
            await trio.lowlevel.checkpoint()
        await trio.sleep(1)
        assert hub.lost()["collecting"] == 0
        assert 0 < hub.lost()["stuck"] <= 500 - 100, "its queue holds a hundred, and its one call some more"
        stuck.released.set()
        await trio.sleep(6)
        hub.emit("error", where="later")
        await trio.sleep(1)
    lags = [event for event in quick.seen if event.type == "sink_lag"]
    assert sum(event.payload["lost"] for event in lags) == hub.lost()["stuck"]
    assert [event.seq for event in quick.seen] == list(range(1, len(quick.seen) + 1))
    assert len(stuck.seen) + hub.lost()["stuck"] == len(quick.seen), (
        "what it did not get is counted, and no more"
    )
    missing = {event.seq for event in quick.seen} - {event.seq for event in stuck.seen}
    assert min(lag.payload["first_seq"] for lag in lags) == min(missing)
    assert max(lag.payload["last_seq"] for lag in lags) == max(missing)
    numbers = [event.seq for event in stuck.seen]
    assert numbers == sorted(numbers)
    assert numbers[-1] - numbers[0] + 1 > len(numbers)  # its own gap is visible


async def test_a_sink_that_never_returns_is_given_up(autojump_clock: MockClock) -> None:
    """OBS-4: one call takes `write_seconds` at most; the next one may succeed."""
    stuck = Stuck()
    async with open_hub("ada", sinks=[stuck], write_seconds=5) as hub:
        for _ in range(3):
            hub.emit("error", where="first")
        await trio.sleep(6)
        assert hub.lost() == {"stuck": 3}, "all that its one call had"
        stuck.released.set()
        hub.emit("error", where="second")
        await trio.sleep(1)
    assert [event.payload["where"] for event in stuck.seen if event.type == "error"] == ["second"]


async def test_leaving_waits_two_seconds_for_a_stuck_sink(autojump_clock: MockClock) -> None:
    """OBS-4: a node that stops does not wait for a sink for ever."""
    stuck = Stuck()
    before = trio.current_time()
    async with open_hub("ada", sinks=[stuck]) as hub:
        hub.emit("error", where="here")
        await trio.sleep(0.1)
    assert trio.current_time() - before < 3


async def test_a_failing_sink_is_its_own_trouble(autojump_clock: MockClock) -> None:
    """OBS-4: what a callback raises reaches neither the emitter nor another sink."""
    seen: list[str] = []

    def call(event: Event) -> None:
        seen.append(event.type)
        if event.payload.get("where") == "bad":
            raise ValueError("no")

    quick = Collecting()
    async with open_hub("ada", sinks=[CallbackSink(call), quick]) as hub:
        hub.emit("error", where="bad")
        hub.emit("error", where="good")
        await trio.sleep(2)
    assert seen[:2] == ["error", "error"]
    (lag,) = [event for event in quick.seen if event.type == "sink_lag"]
    assert (lag.payload["sink"], lag.payload["reason"]) == ("callback", "ExceptionGroup")


async def test_an_async_callback(autojump_clock: MockClock) -> None:
    """One event at a time, in order."""
    running, most, seen = 0, 0, []

    async def call(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.1)
        seen.append(event.seq)
        running -= 1

    async with open_hub("ada", sinks=[CallbackSink(call)]) as hub:
        for _ in range(5):
            hub.emit("error")
        await trio.sleep(1)
    assert (seen, most) == ([1, 2, 3, 4, 5], 1)


def test_obs_deterministic() -> None:
    """OBS-6: equal clocks and ids give equal events."""

    def run() -> list[bytes]:
        hub = ObservabilityHub("ada", clock=ManualClock(), ids=SeededIds(7))
        hub.emit("session_open", peer="ab" * 32, initiator=True)
        hub.emit("claim_accepted", claim_key="cd" * 32, statement="water is wet", mode="strict")
        return [encode_event(event) for event in hub.memory]

    assert run() == run()


def test_contents_and_people_are_not_seen_unless_asked_for() -> None:
    """OBS-5, HCP-11."""
    closed, open_ = (
        ObservabilityHub("ada", redaction=redaction)
        for redaction in (Redaction(), Redaction(show_contents=True, show_human_state=True))
    )
    for hub in (closed, open_):
        hub.emit("check_in_asked", human="ana", check_in="c1", question="May I?", pressure=80)
    (seen,), (shown,) = closed.memory, open_.memory
    assert seen.payload["question"]["length"] == 6
    assert len(seen.payload["question"]["blake3"]) == 64
    assert shown.payload["question"] == "May I?"
    for hub in (closed, open_):
        assert hub.redaction.withheld == {"check_in_asked.pressure": 1}


def test_the_ring_is_bounded() -> None:
    """OBS-4: the oldest events give way; a selection pages on by number."""
    hub = ObservabilityHub("ada", ring=10)
    for _ in range(25):
        hub.emit("error")
    assert [event.seq for event in hub.memory] == list(range(16, 26))
    assert [event.seq for event in hub.memory.select(lambda _: True, after=17, limit=3)] == [18, 19, 20]


def test_a_watcher_is_told_at_once() -> None:
    """The doors of a node follow events without a queue of the hub's."""
    hub, seen = ObservabilityHub("ada"), []
    end = hub.watch(lambda event: seen.append(event.type))
    hub.emit("error")
    end()
    end()
    hub.emit("error")
    assert seen == ["error"]


def test_names_are_unique() -> None:
    """A lag names one sink."""
    with pytest.raises(SinkError, match="name"):
        ObservabilityHub("ada", sinks=[Collecting(), Collecting()])
    with pytest.raises(SinkError) as caught:
        ObservabilityHub("ada", queue=0)
    assert caught.value.code == "sink_options"


async def test_lines_survive_the_end_of_the_body(tmp_path: Path) -> None:
    """A body that raises leaves its last events."""

    async def body() -> None:
        async with open_hub("ada", sinks=[JsonLinesSink(tmp_path / "e.jsonl")]) as hub:
            hub.emit("error", where="here")
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        await body()
    assert b'"where":"here"' in (tmp_path / "e.jsonl").read_bytes()
