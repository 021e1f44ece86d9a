"""Timestamps of envelopes (section 3)."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web4.foundation.clock import SystemClock, format_timestamp, parse_timestamp

FIRST_MS = -62_135_596_800_000
"""The first millisecond of year 1."""
LAST_MS = 253_402_300_799_999
"""The last millisecond of year 9999."""


@pytest.mark.parametrize(
    ("wall_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_007, "2000-02-29T00:00:00.007Z"),
        (FIRST_MS, "0001-01-01T00:00:00.000Z"),
        (LAST_MS, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_known_moments(wall_ms: int, text: str) -> None:
    assert format_timestamp(wall_ms) == text
    assert parse_timestamp(text) == wall_ms


@given(st.integers(FIRST_MS, LAST_MS))
def test_round_trip(wall_ms: int) -> None:
    text = format_timestamp(wall_ms)
    assert len(text) == 24
    assert parse_timestamp(text) == wall_ms
    assert datetime.fromisoformat(text).timestamp() == pytest.approx(wall_ms / 1000, abs=0.001)


@pytest.mark.parametrize("wall_ms", [FIRST_MS - 1, LAST_MS + 1])
def test_moments_outside_the_calendar(wall_ms: int) -> None:
    with pytest.raises(OverflowError):
        format_timestamp(wall_ms)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.67Z",
        "2026-01-02T03:04:05.6789Z",
        "2026-01-02T03:04:05.678",
        "2026-01-02T03:04:05.678z",
        "2026-01-02t03:04:05.678Z",
        "2026-01-02 03:04:05.678Z",
        "2026-01-02T03:04:05.678+00:00",
        "2026-01-02T03:04:05,678Z",
        "2026-1-2T03:04:05.678Z",
        "20260102T030405.678Z",
        "2026-02-29T00:00:00.000Z",
        "2026-13-01T00:00:00.000Z",
        "2026-01-32T00:00:00.000Z",
        "2026-01-01T24:00:00.000Z",
        "2026-01-01T23:60:00.000Z",
        "2026-01-01T23:59:60.000Z",
        "0000-01-01T00:00:00.000Z",
        "2026-01-02T03:04:05.678Z\n",
        " 2026-01-02T03:04:05.678Z",
        "٢٠٢٦-01-02T03:04:05.678Z",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - datetime words its own
        parse_timestamp(text)


def test_the_system_clock_runs() -> None:
    clock = SystemClock()
    assert clock.monotonic_ns() <= clock.monotonic_ns()
    assert parse_timestamp(format_timestamp(clock.wall_ms())) <= clock.wall_ms()
