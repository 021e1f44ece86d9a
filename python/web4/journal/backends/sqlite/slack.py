"""What deleted values leave behind between the cells of a page, although the engine was told to overwrite them.

When the engine evens out neighbouring pages it moves cells and does not clear where they were: the space between a
page's cell pointers and its cells keeps copies of values that live elsewhere, and outlives them when they are erased.
No reader ever looks there, so it can be cleared in the file itself, at any moment, in any order, by the one writer.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import apsw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEADER: Final = 100  # of the file, at the beginning of the first page
_LEAVES: Final = frozenset({10, 13})
_TREE: Final = frozenset({2, 5, 10, 13})
"""First bytes of pages of tables and indexes. Other pages begin with the number of a page, whose first byte is 0."""
MOST_PAGES: Final = 1 << 24
"""Of a file in which pages can be told apart by that: 64 GiB."""


def clear_slack(path: Path, *, vfs: str | None) -> int:
    """Clear the unused space of every page and force it to disk; how many pages had any to clear.

    The file must have less than `MOST_PAGES` pages, the WAL must be empty, and nobody may write. The writer's own
    connection must be closed, for it would write pages again as it remembers them.

    Raises:
        apsw.Error: The file could not be read, written or synced.
    """
    flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0]
    file = apsw.VFSFile(vfs or "", str(path), flags)
    cleared = 0
    try:
        head = file.xRead(_HEADER, 0)
        page_bytes = struct.unpack(">H", head[16:18])[0]
        page_bytes = 65536 if page_bytes == 1 else page_bytes
        for number in range(file.xFileSize() // page_bytes):
            page = file.xRead(page_bytes, number * page_bytes)
            dirty = [
                (begin, end)
                for begin, end in _unused(page, _HEADER if number == 0 else 0)
                if page.count(0, begin, end) != end - begin
            ]
            for begin, end in dirty:
                file.xWrite(bytes(end - begin), number * page_bytes + begin)
            cleared += bool(dirty)
        file.xSync(apsw.SQLITE_SYNC_NORMAL)
    finally:
        file.xClose()
    return cleared


def _unused(page: bytes, header: int) -> Iterator[tuple[int, int]]:
    """The parts of a page that hold nothing: in front of its cells, and in its free blocks behind their headers."""
    if page[header] not in _TREE:
        return
    block, cells, content = struct.unpack(">HHH", page[header + 1 : header + 7])
    begin = header + (8 if page[header] in _LEAVES else 12) + 2 * cells
    content = content or 65536
    if not begin <= content <= len(page):
        return  # no page that the engine would take either
    yield begin, content
    while block:
        following, size = struct.unpack(">HH", page[block : block + 4])
        yield block + 4, min(block + size, len(page))
        if following <= block or following > len(page) - 4:
            return
        block = following
