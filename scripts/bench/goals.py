"""What RTT is meant to reach, against whom, and whether this run shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from scripts.bench.catalog import STREAMS
from scripts.bench.report import NOTHING, align

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scripts.bench.figures import Measurement
    from scripts.bench.robustness import Outcome
    from scripts.bench.rounds import Results, Run

OURS = "rtt"
ASYNCHRONOUS = ("trio", "asyncio", "uvloop")


class Verdict(msgspec.Struct, frozen=True):
    """One goal as this run shows it.

    Args:
        goal: What is to be reached.
        measured: Ours over theirs, or our own value; None when the run has not what it takes.
        against: Whose value ours is compared with, and which one.
        met: Whether the goal is met; None when nothing was measured.
    """

    goal: str
    measured: float | None
    against: str
    met: bool | None


def verdicts(run: Run, outcomes: Sequence[Outcome] = ()) -> list[Verdict]:
    """Return every goal's."""
    encrypted = [peer for peer, about in run.about.items() if about.encrypted and peer != OURS]
    streams = [peer for peer in encrypted if peer in STREAMS]
    messages = [peer for peer in encrypted if peer not in STREAMS]
    on_loop = [peer for peer in encrypted if run.about[peer].loop in ASYNCHRONOUS]
    results = run.results
    found = [
        *(
            _most(results, figure, 1.2, f"the best encrypted {what}", peers)
            for figure in ("one_way_64", "one_way_1k")
            for what, peers in (("message transport", messages), ("stream, framed by hand", streams))
        ),
        _most(results, "one_way_64k", 1.2, "zenoh TLS and CURVE", ["zenoh_tls", "zmq_curve"]),
        _most(results, "one_way_64k", 1.0, "TLS on uvloop (stretch)", ["uvloop_tls"]),
        _most(results, "one_way_1k_each", 3.0, "TLS on Trio", ["trio_tls"]),
        _most(results, "one_way_1k_each", 1.5, "CURVE on asyncio", ["zmq_curve_asyncio"]),
        _least(results, "p50_us", 1.3, "TCP on Trio", ["trio_tcp"]),
        _least(results, "p99_us", 1.3, "TCP on Trio", ["trio_tcp"]),
        _least(results, "p50_us", 1.0, "every encrypted peer on a loop", on_loop),
        _least(results, "p99_us", 1.0, "every encrypted peer on a loop", on_loop),
        _own(
            "control p95 under load <= 2x its idle value",
            2.0,
            _median(results, "control_under_load", "p95_ratio"),
        ),
        _own(
            "idle session <= 24 KiB at the server",
            24.0,
            _median(results, "idle_session_memory", "server_session_kib"),
        ),
        _own(
            "idle session <= 24 KiB at the client",
            24.0,
            _median(results, "idle_session_memory", "client_session_kib"),
        ),
    ]
    for held in ("resume_0", "resume_1000"):
        p50 = _damage(outcomes, held, lambda figures: figures["p50_us"] / 1e3)
        found.append(_own(f"{held}: cut -> first message p50 <= 5 ms", 5.0, p50))
    for damage in ("resets", "stall"):
        for name in ("lost", "twice", "reordered"):
            value = _damage(outcomes, damage, lambda figures, name=name: figures[name])  # type: ignore[misc]
            found.append(_own(f"{damage}: 0 {name}", 0.0, value))
    return found


def table(found: Iterable[Verdict]) -> str:
    """Return a line per goal."""
    rows = [["goal", "measured", "against", "met"]]
    for verdict in found:
        measured = NOTHING if verdict.measured is None else f"{verdict.measured:.2f}"
        met = {True: "yes", False: "no", None: "not measured"}[verdict.met]
        rows.append([verdict.goal, measured, verdict.against, met])
    return "\n".join(align(rows))


def _median(results: Results, figure: str, name: str, peer: str = OURS) -> float | None:
    found = results.get(peer, {}).get(figure, {}).get(name)
    return None if found is None else found.median


def _compare(
    results: Results, figure: str, name: str, peers: Sequence[str], best: Callable[..., str]
) -> tuple[float | None, str]:
    theirs = {peer: value for peer in peers if (value := _median(results, figure, name, peer)) is not None}
    ours = _median(results, figure, name)
    if ours is None or not theirs:
        return None, ""
    rival = best(theirs, key=lambda peer: theirs[peer])
    return ours / theirs[rival], f"{rival} {theirs[rival]:.0f}, ours {ours:.0f}"


def _most(results: Results, figure: str, least: float, who: str, peers: Sequence[str]) -> Verdict:
    ratio, against = _compare(results, figure, "rate", peers, max)
    return Verdict(f"{figure} >= {least}x {who}", ratio, against, None if ratio is None else ratio >= least)


def _least(results: Results, name: str, most: float, who: str, peers: Sequence[str]) -> Verdict:
    ratio, against = _compare(results, "ping_pong_1k", name, peers, min)
    goal = f"ping_pong_1k {name.removesuffix('_us')} <= {most}x {who}"
    return Verdict(goal, ratio, against, None if ratio is None else ratio <= most)


def _own(goal: str, most: float, value: float | None) -> Verdict:
    return Verdict(goal, value, "", None if value is None else value <= most)


def _damage(outcomes: Sequence[Outcome], damage: str, value: Callable[[Measurement], float]) -> float | None:
    for outcome in outcomes:
        if outcome.peer == OURS and outcome.damage == damage and outcome.figures:
            return value(outcome.figures)
    return None
