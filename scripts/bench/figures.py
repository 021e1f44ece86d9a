"""What is measured, and what one measurement yields."""

from __future__ import annotations

from typing import Literal

import msgspec

END = b""
"""The message that ends a figure: every link must carry it, and no load sends it otherwise."""

Kind = Literal["one_way", "ping_pong", "control", "open", "idle", "crowd", "resets", "stall", "resume"]


class Figure(msgspec.Struct, frozen=True):
    """One load over one link.

    Args:
        name: What the report calls it.
        kind: `one_way` counts what the server receives; `ping_pong` times round trips, one in flight; `control` times
            them beside a saturated channel; `open` times opening; `idle` weighs idle sessions; `crowd` opens very
            many and has a few of them busy; `resets`, `stall` and `resume` are those of `robustness`.
        size: Bytes of a message.
        batch: Messages handed over by one call; 1 means one awaited call per message at both ends.
        hogged: Whether a second Python thread of the client computes without a pause.
        count: Sessions, or messages where the figure has a fixed number of them.
    """

    name: str
    kind: Kind
    size: int = 0
    batch: int = 1
    hogged: bool = False
    count: int = 0

    @property
    def needs(self) -> frozenset[str]:
        """What kinds of figures a peer must carry for this one."""
        return frozenset({self.kind, "open"} if self.kind == "ping_pong" and self.count else {self.kind})


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
        Figure("ping_pong_1k_among_1000", "ping_pong", 1024, count=1_000),  # with as many idle sessions
        Figure("control_under_load", "control", 65536, batch=8),
        Figure("open_time", "open"),
        Figure("idle_session_memory", "idle", count=5_000),
        Figure("ten_thousand", "crowd", 1024, count=10_000),
    )
}
GRACE = 30.0
"""Seconds a process may take beyond what its figure was given: to drain what is on the way, above all."""


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

    @property
    def limit(self) -> float:
        """Seconds after which a process that has not answered is taken for hung."""
        figure = self.figure
        waits = {"control": 2, "crowd": 15}.get(figure.kind, 1)
        each = 0.0005 if figure.kind in ("resets", "stall") else 0.05
        return self.warm_up + self.seconds * waits + figure.count * each + GRACE


Measurement = dict[str, float]
"""What one process saw, by name. Times are microseconds (`_us`), or seconds; CPU is per message or round trip.

`cpu_us` is that of the whole process, `cpu_main_us` of its Python thread alone. Names of `OF_A_SIDE` mean something
at each side; all others come from the one side that can tell.
"""

OF_A_SIDE = frozenset({"messages", "seconds", "cpu_us", "cpu_main_us", "session_kib", "idle_cpu_s"})
