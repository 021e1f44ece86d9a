"""How the figures are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.bench.figures import FIGURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bench.rounds import Results, Run, Spread
    from scripts.bench.side import Hello

NOTHING = "-"


def kind(about: Hello | None) -> str:
    """Return in a few words what a peer is."""
    return NOTHING if about is None else f"{about.loop}, {'encrypted' if about.encrypted else 'plain'}"


def table(results: Results, figures: Sequence[str], notes: Mapping[str, str]) -> str:
    """Return one line per peer and one column per figure; the ratio is to the first peer."""
    reference = next(iter(results))
    header = ["peer", *(["kind"] if notes else []), *figures]
    rows = [header]
    for peer, found in results.items():
        cells = [peer, *([notes[peer]] if notes else [])]
        cells += [_cell(figure, found.get(figure), results[reference].get(figure)) for figure in figures]
        rows.append(cells)
    legend = (
        "one_way: messages/s; ping_pong, open_time, ten_thousand: p50 / p99 in us; control_under_load: p95 in us and "
        f"its ratio to the idle one; idle_session_memory: KiB at the server; else (ratio of medians to {reference})"
    )
    return "\n".join([*align(rows), "", legend])


def cpu_table(results: Results, figures: Sequence[str]) -> str:
    """Return the CPU time per message of every one-way figure, which others disturb less than rates."""
    names = [figure for figure in figures if FIGURES[figure].kind == "one_way"]
    rows = [["CPU us per message", *names]]
    for peer, found in results.items():
        cells = []
        for figure in names:
            sides = [
                f"{found[figure][f'{role}_cpu_us'].median:.2f} ({found[figure][f'{role}_cpu_main_us'].median:.2f})"
                for role in ("client", "server")
                if found.get(figure)
            ]
            cells.append(" / ".join(sides) or NOTHING)
        rows.append([peer, *cells])
    return "\n".join([*align(rows), "client / server: the process (its Python thread)"])


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines whose columns are below each other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def failures(run: Run) -> list[str]:
    """Return a line for each figure that is missing, with the reason."""
    lines = []
    for peer, found in run.failures.items():
        for figure, reason in found.items():
            what = "absent" if figure == "open" else figure
            hint = " (`make bench-peers` installs it)" if "NotFoundError" in reason else ""
            lines.append(f"{peer}, {what}: {reason}{hint}")
    return lines


def _cell(figure: str, found: Mapping[str, Spread] | None, reference: Mapping[str, Spread] | None) -> str:
    if not found:
        return NOTHING
    kind = FIGURES[figure].kind
    if kind == "control":
        return f"{found['p95_us'].median:.0f} ({found['p95_ratio'].median:.1f}x)"
    if kind == "idle":
        return f"{found['server_session_kib'].median:.1f}"
    if kind == "one_way":
        name = "rate"
        text = short(found[name].median)
    else:
        name = "p50_us"
        text = f"{found[name].median:.0f} / {found['p99_us'].median:.0f}"
    if not reference:
        return text
    return f"{text} ({found[name].median / reference[name].median:.2f}x)"


def short(rate: float) -> str:
    """Return a rate in few characters."""
    if rate >= 1e6:
        return f"{rate / 1e6:.2f}M"
    return f"{rate / 1e3:.1f}k" if rate >= 1e3 else f"{rate:.0f}"
