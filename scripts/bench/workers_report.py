"""What workers are meant to reach (EXT-45), whether a run shows it, and how its figures are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from scripts.bench.report import NOTHING, align, short
from scripts.bench.workers_rounds import KILLING, POOLS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.bench.workers_rounds import Run


class Verdict(msgspec.Struct, frozen=True):
    """A goal, and whether this run shows it; None where it has no figures for it."""

    goal: str
    value: float | None
    met: bool | None


def verdicts(run: Run) -> list[Verdict]:
    """Hold what was measured against EXT-45 and against the peers of the same run."""
    of = _Values(run)
    return [*_of_calls(of), *_of_kills(of), *_of_processes(of)]


def _of_calls(of: _Values) -> list[Verdict]:
    noop = of.get("noop_call/web4", "p50_us")
    return [
        _most("noop_call p50 <= 4 F", _over(noop, of.get("noop_call/ping_pong", "p50_us")), 4),
        _most(
            "noop_call p99 <= 10 F",
            _over(of.get("noop_call/web4", "p99_us"), of.get("noop_call/ping_pong", "p50_us")),
            10,
        ),
        _most(
            "noop_call p50 <= 0.5x trio-parallel",
            _over(noop, of.get("noop_call/trio_parallel", "p50_us")),
            0.5,
        ),
        _below("noop_call p50 below every peer", _over(noop, of.best("noop_call", "p50_us", min)), 1),
        _least(
            "noop_call_16 >= the serial rate",
            _over(of.get("noop_call_16/web4", "rate"), of.get("noop_call/web4", "rate")),
            1,
        ),
        _least(
            "noop_call_16 >= 1.5x anyio.to_process",
            _over(
                of.get("noop_call_16/web4", "rate"),
                of.best("noop_call_16", "rate", max, of=("anyio_trio", "anyio_asyncio")),
            ),
            1.5,
        ),
    ]


def _of_kills(of: _Values) -> list[Verdict]:
    return [
        *[
            _most(
                f"overshoot, {kind}: {part} <= {limit} ms",
                of.milliseconds(f"overshoot_{kind}/web4", part),
                limit,
            )
            for kind in ("sleeping", "spinning", "forking")
            for part, limit in (("p50", 5), ("p99", 20))
        ],
        _most(
            "kill_to_served, from the deadline on: p50 <= 5 ms",
            of.milliseconds("kill_to_served/web4", "p50"),
            5,
        ),
        _most(
            "deadline to served <= 1/8 of the best peer that kills",
            _over(of.get("kill_to_served/web4", "p50_us"), of.best_kill()),
            0.125,
        ),
    ]


def _of_processes(of: _Values) -> list[Verdict]:
    return [
        _most(
            "spawn_warm p50 <= 5 S",
            _over(of.get("starts/web4", "p50_us"), of.get("starts/fork", "p50_us")),
            5,
        ),
        _most(
            "fork to ready <= 1/20 of a fresh interpreter",
            _over(of.get("starts/web4", "ready_p50_us"), of.get("starts/interpreter", "p50_us")),
            0.05,
        ),
        _most(
            "private memory of a warm worker <= 3 MiB", _over(of.get("memory/web4", "private_kib"), 1024), 3
        ),
        _most("kills_1000: descriptors left over", of.get("kills_1000/web4", "descriptors"), 0),
        _most("kills_1000: threads left over", of.get("kills_1000/web4", "threads"), 0),
        _most("kills_1000: children left over", of.get("kills_1000/web4", "children"), 0),
        _most("kills_1000: files left over", of.get("kills_1000/web4", "files"), 0),
        _most("kills_1000: memory <= +5 %", of.get("kills_1000/web4", "memory_ratio"), 1.05),
    ]


class _Values:
    """The medians of a run."""

    def __init__(self, run: Run) -> None:
        self._results = run.results

    def get(self, name: str, value: str) -> float | None:
        found = self._results.get(name, {}).get(value)
        return None if found is None else found.median

    def milliseconds(self, name: str, part: str) -> float | None:
        return _over(self.get(name, f"{part}_us"), 1_000)

    def best(
        self,
        figure: str,
        value: str,
        choose: Callable[[list[float]], float],
        *,
        of: Sequence[str] = POOLS[1:],
    ) -> float | None:
        found = [self.get(f"{figure}/{name}", value) for name in of]
        known = [one for one in found if one is not None]
        return choose(known) if known else None

    def best_kill(self) -> float | None:
        found = [
            self.best(name, "p50_us", min, of=KILLING[1:]) for name in ("kill_to_served", "kill_to_served_2")
        ]
        return min((one for one in found if one is not None), default=None)


def tables(run: Run, found: Sequence[Verdict]) -> str:
    """Everything a reader wants to see of a run."""
    of = _Values(run)
    rows = [
        [
            "contender",
            "no-op p50 / p99 us",
            "of F",
            "16 callers",
            "deadline to served ms (1, 2 workers)",
            "MiB",
        ]
    ]
    floor = of.get("noop_call/ping_pong", "p50_us")
    for name in ("ping_pong", "ping_pong_trio", *POOLS):
        p50, p99 = (of.get(f"noop_call/{name}", f"{part}_us") for part in ("p50", "p99"))
        kills = [of.get(f"{figure}/{name}", "p50_us") for figure in ("kill_to_served", "kill_to_served_2")]
        rate, private = of.get(f"noop_call_16/{name}", "rate"), of.get(f"memory/{name}", "private_kib")
        rows.append(
            [
                name,
                NOTHING if p50 is None or p99 is None else f"{p50:.0f} / {p99:.0f}",
                _shown(_over(p50, floor), "{:.2f}"),
                NOTHING if rate is None else short(rate),
                ", ".join(_shown(_over(one, 1_000), "{:.1f}") for one in kills),
                _shown(_over(private, 1_024), "{:.1f}"),
            ]
        )
    lines = [
        *align(rows),
        "",
        *_starts(of),
        *(f"{name}: {reason}" for name, reason in run.failures.items()),
        "",
    ]
    goals = [["goal", "value", "met"]]
    for one in found:
        met = NOTHING if one.met is None else "yes" if one.met else "NO"
        goals.append([one.goal, _shown(one.value, "{:.3g}"), met])
    return "\n".join([*lines, *align(goals)])


def _starts(of: _Values) -> list[str]:
    figures = [
        ("a bare fork (S)", "starts/fork", "p50_us"),
        ("spawn_warm: fork of the template to a complete sandbox", "starts/web4", "p50_us"),
        ("the same to `ready`", "starts/web4", "ready_p50_us"),
        ("spawn_cold: exec of an interpreter to the first worker's `ready`", "spawn_cold/web4", "p50_us"),
        ("a fresh interpreter with the same modules", "starts/interpreter", "p50_us"),
        ("deadline to concluded, sleeping", "overshoot_sleeping/web4", "p50_us"),
        ("deadline to concluded, spinning", "overshoot_spinning/web4", "p50_us"),
        ("deadline to concluded, forking", "overshoot_forking/web4", "p50_us"),
    ]
    return [
        f"{text}: {_shown(_over(of.get(name, value), 1_000), '{:.2f}')} ms" for text, name, value in figures
    ]


def _shown(value: float | None, form: str) -> str:
    return NOTHING if value is None else form.format(value)


def _over(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base


def _least(goal: str, value: float | None, least: float) -> Verdict:
    return Verdict(goal, value, None if value is None else value >= least)


def _most(goal: str, value: float | None, most: float) -> Verdict:
    return Verdict(goal, value, None if value is None else value <= most)


def _below(goal: str, value: float | None, limit: float) -> Verdict:
    return Verdict(goal, value, None if value is None else value < limit)
