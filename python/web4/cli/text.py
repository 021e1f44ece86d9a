"""Text for people: what others wrote is made visible, columns stand in line, colours only where they are seen."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from web4.foundation.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["coloured", "facts", "moment", "paint", "size", "table", "visible"]

_COLOURS: Final = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}


def coloured(stream: Any) -> bool:
    """Whether colours may go to `stream`."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(stream.isatty())


def paint(text: str, colour: str, *, on: bool | None = None) -> str:
    """`text` in a colour, if it goes to a terminal."""
    on = coloured(sys.stdout) if on is None else on
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if on else text


def table(rows: Iterable[Sequence[object]]) -> list[str]:
    """Rows with their columns in line. Numbers stand right."""
    cells = [[visible(cell) for cell in row] for row in rows]
    numbers = [[isinstance(cell, int) for cell in row] for row in rows] if isinstance(rows, list) else []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for at, row in enumerate(cells):
        aligned = (
            cell.rjust(width) if numbers and numbers[at][place] else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(aligned).rstrip())
    return lines


def facts(pairs: Iterable[tuple[str, object]]) -> list[str]:
    """Names and values, one pair a line."""
    known = [(name, value) for name, value in pairs if value is not None]
    width = max(len(name) for name, _ in known)
    return [f"{name.ljust(width)}  {visible(value)}" for name, value in known]


def moment(at_ms: int) -> str:
    """A time, RFC 3339 in UTC; one that no calendar has, as its number."""
    try:
        return (
            datetime.fromtimestamp(at_ms / 1000, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
    except (ValueError, OverflowError, OSError):
        return str(at_ms)


def size(count: int) -> str:
    """Bytes as people read them, with the exact number."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{count} B" if unit == "B" else f"{amount:.1f} {unit} ({count} B)"
        amount /= 1024
    raise AssertionError
