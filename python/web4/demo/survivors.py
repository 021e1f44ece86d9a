"""Counting what is left of a tree of processes, from outside: by the kernel's own list, never by what they say."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Seen(NamedTuple):
    """A process, told apart from a later one of the same number by when it started."""

    pid: int
    started: int


def tree_below(pid: int) -> dict[Seen, Seen | None]:
    """All descendants of a process, each with its parent; children of `pid` itself have None.

    Processes that have ended and were not reaped count: they are something that is left.
    """
    parents = dict(_all_processes())
    known = {one.pid: one for one in parents}
    found: dict[Seen, Seen | None] = {}
    for one in parents:
        path = [one]
        while (parent := parents[path[-1]]) in known and parent != pid and known[parent] not in path:
            path.append(known[parent])
        if parent == pid:
            found |= dict(zip(path, [*path[1:], None], strict=True))
    return found


def branch_of(tree: dict[Seen, Seen | None], pid: int) -> set[Seen]:
    """Those of a tree that stand above or below `pid`: the whole branch that hangs on the root."""
    top = next((one for one in tree if one.pid == pid), None)
    while top is not None and (above := tree[top]) is not None:
        top = above
    branch = set()
    for one in tree:
        at: Seen | None = one
        while at is not None and at != top:
            at = tree[at]
        if at is not None:
            branch.add(one)
    return branch


def left_of(branch: set[Seen]) -> set[Seen]:
    """Those that are still there."""
    return branch & {one for one, _ in _all_processes()}


def _all_processes() -> list[tuple[Seen, int]]:
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                fields = (place / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:  # it has just ended
                continue
            found.append((Seen(int(place.name), int(fields[19])), int(fields[1])))
    return found
