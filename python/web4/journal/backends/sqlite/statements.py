"""Few, fat statements: every step of one gives the interpreter's lock away and has to get it back.

With another thread busy, getting it back can take as long as the switch interval, many times what the step itself
takes. So a commit says what it has in rows, whatever their number, in one statement of each sort. The number of rows
is rounded up to one of a few sizes, and rows of NULL fill it up: then a prepared statement is nearly always at hand.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

SIZES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Numbers of rows that statements are prepared for."""
_ROUNDED: Final = [next(size for size in SIZES if size >= rows) for rows in range(SIZES[-1] + 1)]
_FILLED: Final = "SELECT * FROM ({rows}) WHERE column1 IS NOT NULL"


class Template(NamedTuple):
    """A statement around rows that it is given.

    Args:
        columns: Of a row.
        text: The statement, with `{rows}` where they stand.
        padded: What stands for the rows if some of them fill it up only.
    """

    columns: int
    text: str
    padded: str = "{rows}"


RECORD: Final = Template(10, "INSERT INTO record {rows}", _FILLED)
MILESTONE: Final = Template(3, "INSERT INTO milestone {rows}", _FILLED)
REF: Final = Template(3, "INSERT OR IGNORE INTO ref {rows}", _FILLED)
LANE: Final = Template(
    10,
    "INSERT INTO lane {rows} "
    "ON CONFLICT (id) DO UPDATE SET head = excluded.head, hash = excluded.hash, at = excluded.at, "
    "base = excluded.base, base_hash = excluded.base_hash, "
    "commit_number = excluded.commit_number, position = excluded.position",
    _FILLED,
)
WORK: Final = Template(7, "INSERT OR REPLACE INTO work {rows}", _FILLED)
WORK_STARTED: Final = Template(
    3,
    "UPDATE work SET started = 1 FROM ({rows}) AS done WHERE work.lane = done.column1 "
    "AND work.kind = done.column2 AND work.subject = done.column3",
)
WORK_DONE: Final = Template(3, "DELETE FROM work WHERE (lane, kind, subject) IN ({rows})")
LANES_NAMED: Final = Template(
    2,
    "SELECT kind, name, id, head, hash, at, base, base_hash, commit_number, position FROM lane "
    "WHERE (kind, name) IN ({rows})",
)


@cache
def _prepared(template: Template, rows: int, *, padded: bool) -> str:
    row = "(" + ",".join("?" * template.columns) + ")"
    values = "VALUES " + ",".join([row] * rows)
    return template.text.format(rows=template.padded.format(rows=values) if padded else values)


def run(connection: apsw.Connection, template: Template, values: list[Any]) -> list[tuple[Any, ...]]:
    """Run `template` over `values`, the rows one after another in one flat list; the rows that come back."""
    columns = template.columns
    largest = SIZES[-1] * columns
    found: list[tuple[Any, ...]] = []
    for begin in range(0, len(values), largest):
        some: Sequence[Any] = values if len(values) <= largest else values[begin : begin + largest]
        rows = len(some) // columns
        size = _ROUNDED[rows]
        if size != rows:
            some = [*some, *[None] * ((size - rows) * columns)]
        found.extend(connection.execute(_prepared(template, size, padded=size != rows), some))
    return found
