"""What an extension asks for, for the eyes of whoever is to let it run (EXT-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.cli.text import paint, visible
from web4.extensions.enabling.asking import asked_since, shown

if TYPE_CHECKING:
    from web4.extensions.enabling.asking import Asks

_MEANING: Final = {
    "level": {"none": "no sandbox: it may do whatever you may"},
    "network": {"allow": "it reaches the network"},
    "ui": {"yes": "it may ask people questions"},
}
_GRAVE: Final = frozenset({"read", "write", "environment", "open hooks", "high risk", "ui"})
"""What reaches beyond a worker's own. Of `level` and `network` one value does."""


def lines_of(asks: Asks) -> list[str]:
    """All that is asked for; what is grave is marked, and not by its colour alone (UX-7)."""
    pairs = shown(asks)
    width = max(len(key) for key, _ in pairs)
    lines = []
    for key, text in pairs:
        meaning = _MEANING.get(key, {}).get(text)
        grave = meaning is not None or key in _GRAVE
        line = visible(
            f"{'!' if grave else ' '} {key.ljust(width)}  {text}{f' ({meaning})' if meaning else ''}"
        )
        lines.append(paint(line, "yellow") if grave else line)
    return lines


def changes_of(before: Asks, now: Asks) -> list[str]:
    """What it asks for now and did not before, and the other way round."""
    lines = []
    for change in asked_since(before, now):
        key = change.key.replace("_", " ")
        lines += [paint(visible(f"+ {key}: {one}"), "yellow") for one in change.gained]
        lines += [visible(f"- {key}: {one}") for one in change.lost]
    return lines
