"""Extensions that wheels announce by the entry-point group `web4.extensions` (EXT-5), found without importing them."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP: Final = "web4.extensions"
MAX_INSTALLED: Final = 1_024
_SUFFIXES: Final = tuple(importlib.machinery.all_suffixes())
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
    """The directory of a dotted package, by the rules of the import system but without it.

    Its own finders import the parents of what they look for, or ask what other packages have hooked into them.
    """
    where = [Path(one) for one in (sys.path if path is None else path)]
    for word in package.split("."):
        where = _packages(word, where)
    return os.path.realpath(where[0]) if where else None


def _packages(word: str, where: list[Path]) -> list[Path]:
    """The directories of the package `word`: one, or the portions of a namespace package, none if it is none."""
    portions: list[Path] = []
    for base in where:
        found = base / word
        try:
            if any((found / f"__init__{suffix}").is_file() for suffix in _SUFFIXES):
                return [found]
            if any((base / f"{word}{suffix}").is_file() for suffix in _SUFFIXES):
                return []  # a module, which is no directory, wins over portions
            if found.is_dir():
                portions.append(found)
        except (OSError, ValueError):
            continue
    return portions
