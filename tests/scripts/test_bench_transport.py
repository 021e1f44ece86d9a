"""The benchmark of transports measures what it says, of every peer."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.bench.figures import END, FIGURES, Task
from scripts.bench.framing import FramedLink, frame_many
from scripts.bench.loads import drive, serve
from scripts.bench.report import table
from scripts.bench.rounds import Settings, run
from scripts.bench.transport import DEFAULT_FIGURES, PEERS

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class Loop:
    """A link whose receiver gets what its sender sends."""

    def __init__(self) -> None:
        self.messages: deque[bytes] = deque()

    async def send(self, message: bytes) -> None:
        self.messages.append(message)

    async def send_many(self, messages: list[bytes]) -> None:
        self.messages.extend(messages)

    async def receive(self) -> bytes:
        return self.messages.popleft()

    async def receive_many(self) -> list[bytes]:
        messages = list(self.messages)
        self.messages.clear()
        return messages


def run_now(coroutine: Coroutine[object, None, T]) -> T:
    """Run a coroutine that never suspends, and return its result."""
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    return cast("T", stop.value.value)


@given(st.lists(st.binary(max_size=300), min_size=1), st.integers(1, 50))
def test_framing_survives_any_fragmentation(messages: list[bytes], step: int) -> None:
    wire = frame_many(messages)
    chunks = deque(wire[at : at + step] for at in range(0, len(wire), step))

    async def read() -> bytes:
        return chunks.popleft() if chunks else b""

    async def write(_data: bytes) -> None:
        raise AssertionError("nothing is sent here")

    link = FramedLink(write, read)
    assert [run_now(link.receive()) for _ in messages] == messages
    with pytest.raises(EOFError):
        link.receive().send(None)


def test_only_what_follows_the_warm_up_is_counted() -> None:
    """The first message ends a warm-up of 0 s and starts the clock: 9 of 10 are counted, the end mark is not."""
    link = Loop()
    link.messages.extend([b"x"] * 10 + [END])
    measurement = run_now(serve(link, Task(FIGURES["one_way_64_each"], 0, 1, 1)))
    assert measurement["messages"] == 9
    assert measurement["rate"] == pytest.approx(9 / measurement["seconds"])


def test_a_ping_pong_takes_its_samples_and_ends() -> None:
    link = Loop()
    measurement = run_now(drive(link, Task(FIGURES["ping_pong_64"], 0, 60, 500)))
    assert measurement["messages"] == 500
    assert 0 < measurement["p50_us"] <= measurement["p99_us"] <= measurement["max_us"]
    assert list(link.messages) == [END]


@pytest.mark.parametrize("peer", PEERS)
def test_every_peer_carries_every_figure(peer: str) -> None:
    """Section 22: two processes, every figure; the report has a row and a value for each."""
    settings = Settings(rounds=1, warm_up=0.0, seconds=0.25, samples=20, figures=DEFAULT_FIGURES)
    results = run({peer: f"scripts.bench.peers.{peer}"}, settings)
    for figure in DEFAULT_FIGURES:
        found = results[peer][figure]
        assert found["rate" if FIGURES[figure].kind == "one_way" else "p50_us"].min > 0
        assert found["server_cpu_us"].min > 0
    assert peer in table(results, DEFAULT_FIGURES, {})
