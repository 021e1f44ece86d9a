"""What an extension asks for, as it is shown to whoever is to let it run (EXT-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from web4.cli.text import visible
from web4.extensions.manifest import Manifest, Resources
from web4.worker.request import PythonEntry

if TYPE_CHECKING:
    from collections.abc import Iterable


class Wish(NamedTuple):
    """One thing that is asked for.

    Args:
        what: Its name, as it stands in the manifest.
        value: What is asked for, in words.
        grave: Whether it weakens what protects the node or the person: it is pointed out.
    """

    what: str
    value: str
    grave: bool = False


def wishes_of(manifest: Manifest) -> list[Wish]:
    """All that it asks for, what weighs most first."""
    sandbox = manifest.sandbox
    wishes = [
        Wish("level", sandbox.level, grave=sandbox.level == "none"),
        Wish("network", sandbox.network, grave=sandbox.network == "allow"),
        *(Wish("read", path, grave=True) for path in sandbox.read),
        *(Wish("write", path, grave=True) for path in sandbox.write),
        *(Wish("variable", name, grave=True) for name in manifest.environment),
    ]
    if sandbox.required:
        wishes.append(Wish("required", ", ".join(sandbox.required)))
    if manifest.ui:
        wishes.append(Wish("ui", "it may ask people questions", grave=True))
    wishes += _hooks(manifest)
    wishes += [
        Wish("high risk", f"tool {one.name}", grave=True) for one in manifest.tools if one.high_risk
    ]
    wishes += [
        Wish("permissions", f"tool {one.name}: {', '.join(one.permissions)}")
        for one in manifest.tools
        if one.permissions
    ]
    return wishes + _resources(manifest.resources)


def offers_of(manifest: Manifest) -> list[tuple[str, str]]:
    """What it adds to a node: kind and name."""
    offers = [("tool", one.name) for one in manifest.tools]
    for kind in ("command", "service", "workload", "rule"):
        offers += [(kind, one.name) for one in getattr(manifest, f"{kind}s")]
    return [*offers, *(("hook", one.point) for one in manifest.hooks)]


def entry_of(manifest: Manifest) -> str:
    """What runs, in words."""
    entry = manifest.entry
    return f"{entry.module}:{entry.object} in Python" if isinstance(entry, PythonEntry) else " ".join(entry.argv)


def lines_of(wishes: Iterable[Wish]) -> list[str]:
    """The wishes for people; what is grave has a mark that needs no colour."""
    wishes = list(wishes)
    width = max((len(one.what) for one in wishes), default=0)
    return [visible(f"{'!' if one.grave else ' '} {one.what.ljust(width)}  {one.value}") for one in wishes]


def _hooks(manifest: Manifest) -> list[Wish]:
    wishes = []
    for one in manifest.hooks:
        fails = "closed" if one.fails_closed else "open"
        words = [one.point, f"fails {fails}"]
        words += [f"of {', '.join(one.tools)}"] if one.tools else []
        words += ["may rewrite arguments"] if one.rewrites else []
        grave = one.rewrites or (one.point == "tool_call" and not one.fails_closed)
        wishes.append(Wish("hook", ", ".join(words), grave=grave))
    return wishes


def _resources(asked: Resources) -> list[Wish]:
    """Those that are not the defaults; more than one process is pointed out."""
    plain = Resources()
    return [
        Wish(name, str(value), grave=name == "processes" and value > 1)
        for name, value in msgspec.structs.asdict(asked).items()
        if value != getattr(plain, name)
    ]
