"""A relay stream without I/O, against the bytes that were written: exact, or broken, and never more than its window."""

from __future__ import annotations

import base64
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from web4.mesh.relay import FlowBroken, FlowLimits, RelayFlow
from web4.protocols.messages.mesh import RELAY_BYTES, MeshRelay

if TYPE_CHECKING:
    from collections.abc import Iterable

STREAM = "1f0c3f0e-6d0b-4f3c-9b1e-2a5d7c9e0b11"
LIMITS = FlowLimits(window=4_096)


def opened(limits: FlowLimits = LIMITS) -> tuple[RelayFlow, RelayFlow]:
    here, there = RelayFlow(STREAM, limits), RelayFlow(STREAM, limits)
    there.feed(here.opening(0), 0)
    here.feed(there.window(), 0)
    return here, there


def data(offset: int, content: bytes) -> MeshRelay:
    return MeshRelay(stream=STREAM, kind="data", offset=offset, data=base64.b64encode(content).decode())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 3_000), max_size=30))
def test_every_byte_once_and_in_order(seed: int, sizes: list[int]) -> None:
    """Parts that overtake each other within the window, or come twice, change nothing."""
    chance = random.Random(seed)
    here, there = opened()
    expected, got = b"", b""
    under_way: list[MeshRelay] = []
    now = 0.0
    for size in [*sizes, 0]:
        rest = chance.randbytes(size)
        expected += rest
        while rest or under_way:
            now += 1
            if rest and here.room:
                before = here.unanswered
                part = here.part(rest, now)
                rest = rest[here.unanswered - before :]
                under_way += [part] * chance.choice((1, 1, 2))
            elif under_way:
                there.feed(under_way.pop(chance.randrange(len(under_way))), now)
            got += there.read(chance.randint(1, 2_000), now)
            answer = there.answer(now + 100)
            if answer is not None:
                here.feed(answer, now)
            assert there._unread + there._early_bytes <= LIMITS.window
            assert here.unanswered <= LIMITS.window
            if not under_way and not here.room:
                here.feed(there.window(), now)
    there.feed(here.closing(), now)
    got += there.read(10**6, now)
    assert got == expected
    assert there.ended


def test_a_reader_that_does_not_read_stops_the_writer() -> None:
    here, there = opened()
    there.feed(here.part(bytes(10_000), 0), 0)
    while here.room:
        there.feed(here.part(bytes(10_000), 0), 0)
    assert here.unanswered == LIMITS.window
    answer = there.answer(1_000)
    assert answer is not None
    assert answer.room == 0
    here.feed(answer, 1_000)
    assert here.room == 0
    assert here.unanswered == 0
    here.check(60_000)  # nothing is owed: it may wait for ever
    there.read(LIMITS.window // 4 - 1, 1_000)
    assert there.answer(60_000) is None
    there.read(1, 60_000)
    answer = there.answer(60_000)
    assert answer is not None
    here.feed(answer, 60_000)
    assert here.room == LIMITS.window // 4


def test_silence_and_gaps_break_it() -> None:
    """MESH-5: nobody answers, or a part is missing: it breaks, and only silence lets the way be suspected."""
    here, there = opened()
    first, second = here.part(b"first", 0), here.part(b"second", 0)
    assert here.next_ms() == LIMITS.dead_ms
    here.check(LIMITS.dead_ms - 1)
    with pytest.raises(FlowBroken) as caught:
        here.check(LIMITS.dead_ms)
    assert (caught.value.reason, caught.value.dead) == ("dead", True)
    there.feed(second, 10)
    assert there.next_ms() == 10 + LIMITS.answer_ms
    there.answer(100)
    there.check(9 + LIMITS.gap_ms)
    with pytest.raises(FlowBroken) as caught:
        there.check(10 + LIMITS.gap_ms)
    assert (caught.value.reason, caught.value.dead) == ("gap", False)
    there.feed(first, 20)
    there.check(10_000)
    assert there.read(100, 20) == b"firstsecond"


def test_an_opening_that_nobody_answers_is_dead() -> None:
    here = RelayFlow(STREAM, LIMITS)
    here.opening(5)
    assert here.next_ms() == 5 + LIMITS.dead_ms
    with pytest.raises(FlowBroken, match="dead"):
        here.check(5 + LIMITS.dead_ms)


def bad_parts() -> dict[str, Iterable[MeshRelay]]:
    window: Any = {"stream": STREAM, "kind": "window"}
    return {
        "overrun": [data(0, bytes(LIMITS.window + 1))],
        "overrun far away": [data(LIMITS.window, b"x")],
        "overlapping": [data(at, bytes(2_000)) for at in range(1, 4)],
        "behind the end": [MeshRelay(stream=STREAM, kind="close", offset=3), data(0, b"four")],
        "two ends": [MeshRelay(stream=STREAM, kind="close", offset=at) for at in (3, 4)],
        "end before what came": [data(0, b"four"), MeshRelay(stream=STREAM, kind="close", offset=3)],
        "never sent": [MeshRelay(**window, offset=1, room=1)],
        "no room": [MeshRelay(**window, offset=0)],
        "no base64": [MeshRelay(stream=STREAM, kind="data", offset=0, data="A")],
        "loose bits": [MeshRelay(stream=STREAM, kind="data", offset=0, data="eB==")],
        "reset": [MeshRelay(stream=STREAM, kind="reset", offset=0)],
    }


@pytest.mark.parametrize("name", bad_parts())
def test_what_cannot_be_breaks_it(name: str) -> None:
    here, _ = opened()
    *before, last = bad_parts()[name]
    for part in before:
        here.feed(part, 0)
    with pytest.raises(FlowBroken):
        here.feed(last, 0)


def test_a_part_holds_32_kib() -> None:
    here, there = opened(FlowLimits(window=10**6))
    part = here.part(bytes(10**5), 0)
    assert here.unanswered == RELAY_BYTES
    there.feed(part, 0)
    assert len(there.read(10**6, 0)) == RELAY_BYTES
