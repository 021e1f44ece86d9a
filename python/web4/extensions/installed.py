"""Extensions that wheels announce by the entry-point group `web4.extensions` (EXT-5), found without importing them."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import os
import re
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP: Final = "web4.extensions"
MAX_INSTALLED: Final = 1_024
_PACKAGE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)


class Installed(NamedTuple):
    """An entry point: its name, its directory if it was found, and why it was not."""

    name: str
    directory: str | None
    reason: str = ""


def installed_directories(path: tuple[str, ...] | None = None) -> Iterator[Installed]:
    """The directories that entry points of the group name: packages, dotted. Blocks; runs no line of any of them.

    Args:
        path: Where packages are looked for; None is `sys.path`.
    """
    for number, (name, value) in enumerate(_announced(path)):
        if number >= MAX_INSTALLED:
            yield Installed(name, None, f"more than {MAX_INSTALLED:,} extensions are installed")
            return
        if not _PACKAGE.fullmatch(value):
            yield Installed(name, None, f"the entry point {name} names no package: {value[:100]!r}")
            continue
        directory = _directory_of(value, path)
        reason = (
            ""
            if directory
            else f"the package {value} of entry point {name} is not found without importing it"
        )
        yield Installed(name, directory, reason)


def _announced(path: tuple[str, ...] | None) -> Iterator[tuple[str, str]]:
    """Names and values of the group, the first of a distribution winning as it does for imports."""
    seen: set[str] = set()
    where = sys.path if path is None else list(path)
    for distribution in importlib.metadata.distributions(path=where):
        try:
            project = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
            points = [one for one in distribution.entry_points if one.group == GROUP]
        except Exception:  # noqa: S112 - somebody else's broken package hides no extension
            continue
        if project in seen:
            continue
        seen.add(project)
        for one in points:
            yield one.name, one.value


def _directory_of(package: str, path: tuple[str, ...] | None) -> str | None:
    """The directory of a dotted package, by the import system's finder of files alone.

    `importlib.util.find_spec` imports the parents of what it looks for; this does not.
    """
    where = None if path is None else list(path)
    for name in _prefixes(package):
        try:
            spec = importlib.machinery.PathFinder.find_spec(name, where)
        except (ImportError, OSError, ValueError, AttributeError):
            return None
        if spec is None or spec.submodule_search_locations is None:
            return None
        where = list(spec.submodule_search_locations)
    return os.path.realpath(where[0]) if where else None


def _prefixes(package: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.c` of `a.b.c`."""
    words = package.split(".")
    return (".".join(words[: count + 1]) for count in range(len(words)))
