"""What is measured, and what one measurement yields."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

import msgspec

END = b""
"""The message that ends a figure: every link must carry it, and no load sends it otherwise."""


class Figure(msgspec.Struct, frozen=True):
    """One load over one link.

    Args:
        name: What the report calls it.
        kind: `one_way` counts what the server receives; `ping_pong` times round trips, one in flight.
        size: Bytes of a message.
        batch: Messages handed over by one call; 1 means one awaited call per message at both ends.
        hogged: Whether a second Python thread of the client computes without a pause.
    """

    name: str
    kind: Literal["one_way", "ping_pong"]
    size: int
    batch: int = 1
    hogged: bool = False


FIGURES = {
    figure.name: figure
    for figure in (
        Figure("one_way_64", "one_way", 64, batch=64),
        Figure("one_way_1k", "one_way", 1024, batch=64),
        # 512 KiB: a whole batch fits a `knowledge` channel's queue with its default limits (RTT-62).
        Figure("one_way_64k", "one_way", 65536, batch=8),
        Figure("one_way_64_each", "one_way", 64),
        Figure("one_way_1k_each", "one_way", 1024),
        Figure("one_way_64k_each", "one_way", 65536),
        Figure("ping_pong_64", "ping_pong", 64),
        Figure("ping_pong_1k", "ping_pong", 1024),
        Figure("ping_pong_1k_hogged", "ping_pong", 1024, hogged=True),
    )
}


class Task(msgspec.Struct, frozen=True):
    """A figure with the times to spend on it, as the parent hands it to both processes.

    Args:
        figure: The load.
        warm_up: Seconds before anything is counted.
        seconds: Seconds of a one-way load, and the longest a ping-pong may take.
        samples: Round trips of a ping-pong.
    """

    figure: Figure
    warm_up: float
    seconds: float
    samples: int


class Measurement(TypedDict):
    """What one process saw. Times are microseconds, CPU is microseconds per message or round trip.

    `cpu_us` is that of the whole process, `cpu_main_us` of its Python thread alone.
    """

    messages: int
    seconds: float
    cpu_us: float
    cpu_main_us: float
    rate: NotRequired[float]
    mib_s: NotRequired[float]
    p50_us: NotRequired[float]
    p99_us: NotRequired[float]
    max_us: NotRequired[float]
