"""Where the figures were taken, and how they are printed."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bench.figures import FIGURES
from web4 import _core

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bench.rounds import Results, Spread


def machine() -> dict[str, object]:
    """Return what a reader needs to judge the figures: hardware, kernel, runtime, commit, build."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "trio": version("trio"),
        "openssl": ssl.OPENSSL_VERSION,
        "build": _core.build_info(),
        "commit": commit.stdout.strip() or "unknown",
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def table(results: Results, figures: Sequence[str], notes: Mapping[str, str]) -> str:
    """Return one line per peer and one column per figure; the ratio is to the first peer."""
    reference = next(iter(results))
    header = ["peer", *(["kind"] if notes else []), *figures]
    rows = [header]
    for peer, found in results.items():
        cells = [peer, *([notes[peer]] if notes else [])]
        cells += [_cell(figure, found[figure], results[reference][figure]) for figure in figures]
        rows.append(cells)
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    legend = f"one_way: messages/s, ping_pong: p50 / p99 in us; (ratio of medians to {reference})"
    return "\n".join([*(line.rstrip() for line in lines), "", legend])


def _cell(figure: str, found: Mapping[str, Spread], reference: Mapping[str, Spread]) -> str:
    if FIGURES[figure].kind == "one_way":
        rate = found["rate"].median
        return f"{_short(rate)} ({rate / reference['rate'].median:.2f}x)"
    p50 = found["p50_us"].median
    return f"{p50:.0f} / {found['p99_us'].median:.0f} ({p50 / reference['p50_us'].median:.2f}x)"


def _short(rate: float) -> str:
    if rate >= 1e6:
        return f"{rate / 1e6:.2f}M"
    return f"{rate / 1e3:.1f}k"
