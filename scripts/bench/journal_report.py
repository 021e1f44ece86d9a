"""What the journal is meant to reach, whether a run shows it, and how its figures are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from scripts.bench.journal_rounds import CONTENDERS
from scripts.bench.report import NOTHING, align, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bench.journal_boot import Boots
    from scripts.bench.journal_rounds import Run

_FLOORS = {
    "sqlite": {1: 0.40, 16: 0.30, 256: 0.13},
    "sqlite_one_lane": {1: 0.40, 16: 0.30, 256: 0.13},
    "postgresql": {16: 0.25, 256: 0.08},
}


class Verdict(msgspec.Struct, frozen=True):
    """A goal, and whether this run shows it; None where it has no figures for it."""

    goal: str
    value: float | None
    met: bool | None


def verdicts(run: Run, boots: Boots | None) -> list[Verdict]:
    """Hold what was measured against JRN-26 and its like."""
    found = [
        _least(f"{load}/{callers} >= {floor} of raw", _ratio(run, f"{load}/{callers}"), floor)
        for load, floors in _FLOORS.items()
        for callers, floor in floors.items()
    ]
    for load in ("sqlite", "postgresql"):
        for callers in (16, 256):
            value = _times(run, f"{load}/{callers}", f"postgresql_contended/{callers}")
            found.append(_least(f"{load}/{callers} >= 10x PostgreSQL contended on one row", value, 10))
    found += [
        _least(
            "sqlite_actors_64/256 >= 0.6 of sqlite/256",
            _times(run, "sqlite_actors_64/256", "sqlite/256"),
            0.6,
        ),
        _least("mailbox >= 10x a memory channel", _times(run, "mailbox/1", "memory_channel/1"), 10),
    ]
    if boots is not None:
        found += [
            _most("boot with snapshots <= 3 s", _of(boots, "boot", "boot_s"), 3),
            _least("replay >= 50000 events/s", _of(boots, "replay", "events_per_s"), 50_000),
            _most("kill -9 to the first command <= 3 s", _of(boots, "recover", "recovery_s"), 3),
            _most("memory after boot <= 256 MiB", _of(boots, "boot", "resident_mib"), 256),
        ]
    return found


def tables(run: Run, boots: Boots | None, found: Sequence[Verdict]) -> str:
    """Everything a reader wants to see of a run."""
    parts = [_appends(run)]
    parts += [f"{name}: {reason}" for name, reason in run.failures.items()]
    if boots is not None:
        parts.append(_boots(boots))
        parts += [f"{name}: {reason}" for name, reason in boots.failures.items()]
    rows = [["goal", "value", "met"]]
    for one in found:
        value = NOTHING if one.value is None else f"{one.value:.3g}"
        rows.append([one.goal, value, NOTHING if one.met is None else "yes" if one.met else "NO"])
    return "\n".join([*parts, "", *align(rows)])


def _appends(run: Run) -> str:
    rows = [
        [
            "contender/callers",
            "records/s",
            "of raw",
            "p50 us",
            "p99 us",
            "CPU us",
            "main thread",
            "per commit",
        ]
    ]
    for name in CONTENDERS:
        values = run.results.get(name)
        if values is None:
            if name in run.failures:
                rows.append([name, *[NOTHING] * 7])
            continue
        cells = [name, short(values["rate"].median)]
        cells.append(f"{run.ratios[name].median:.3f}" if name in run.ratios else NOTHING)
        for key, form in (
            ("p50_us", ".0f"),
            ("p99_us", ".0f"),
            ("cpu_us", ".2f"),
            ("cpu_main_us", ".2f"),
            ("records_per_commit", ".1f"),
        ):
            cells.append(format(values[key].median, form) if key in values else NOTHING)
        rows.append(cells)
    legend = "medians over rounds; CPU is that of the measured process alone, per record, servers not counted"
    return "\n".join([*align(rows), legend])


def _boots(boots: Boots) -> str:
    lines = [
        f"\n{boots.events} events of {boots.payload} B in {boots.lanes} lanes, {boots.store_mib:.0f} MiB"
    ]
    for load, values in boots.results.items():
        lines.append(f"{load}: " + ", ".join(f"{name} {one.median:.4g}" for name, one in values.items()))
    return "\n".join(lines)


def _ratio(run: Run, name: str) -> float | None:
    return run.ratios[name].median if name in run.ratios else None


def _times(run: Run, ours: str, theirs: str) -> float | None:
    if ours not in run.results or theirs not in run.results:
        return None
    return run.results[ours]["rate"].median / run.results[theirs]["rate"].median


def _of(boots: Boots, load: str, name: str) -> float | None:
    return boots.results[load][name].median if load in boots.results else None


def _least(goal: str, value: float | None, least: float) -> Verdict:
    return Verdict(goal, value, None if value is None else value >= least)


def _most(goal: str, value: float | None, most: float) -> Verdict:
    return Verdict(goal, value, None if value is None else value <= most)
