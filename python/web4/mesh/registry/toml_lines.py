"""Where a key of a TOML file stands, for errors that are read by people: parsers that give values forget that."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

_HEADER: Final = re.compile(r"\s*(\[{1,2})\s*([A-Za-z0-9_.-]+)\s*\]{1,2}")
_KEY: Final = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=""")
_FIELD: Final = re.compile(r"([A-Za-z0-9_-]+)(?:\[(\d+)\])?(?:\.([A-Za-z0-9_-]+))?(?:\[(\d+)\])?")


def line_of(field: str, text: str) -> int | None:
    """The line of a key of an array of tables, such as `peer[2].addresses[0]`, counted from 1.

    A key that is not there, as it should be, has the line of its table's header. None for what is not written in the
    usual way: one header and one key a line.

    Args:
        field: Dotted path, as errors name it.
        text: The file's.
    """
    wanted = _FIELD.match(field)
    if wanted is None:
        return None
    table, index, key = wanted[1], int(wanted[2] or 0), wanted[3]
    count: Counter[str] = Counter()
    header: int | None = None
    here = ""
    for number, line in enumerate(text.split("\n"), 1):
        opened = _HEADER.match(line)
        if opened:
            if header is not None:
                return header  # its table is over, and the key was not there
            here = opened[2]
            count[here] += 1
            if here == table and count[here] == index + 1:
                header = number
                if key is None:
                    return number
            continue
        named = _KEY.match(line)
        if named and header is not None and named[1] == key:
            return number
        if named and not here and named[1] == table:
            return number
    return header
