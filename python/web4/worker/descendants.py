"""Who descends from a process, by the kernel's own tree: not by group or session, which one can leave (EXT-22)."""

from __future__ import annotations

import os


def descendants(pid: int) -> list[int]:
    """Every process below `pid` that has not been reaped, parents before their children.

    The tree may change while it is read: what is missing here is found by asking again.
    """
    found: list[int] = []
    known = {pid}
    level = [pid]
    while level:
        below = [child for parent in level for child in _children(parent) if child not in known]
        found += below
        known.update(below)
        level = below
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    for thread in threads:
        try:
            descriptor = os.open(f"/proc/{pid}/task/{thread}/children", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            while part := os.read(descriptor, 65536):
                found += [int(word) for word in part.split()]
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return found
