"""How trust is shown: the word always, a colour where it is seen (UX-7)."""

from typing import TYPE_CHECKING, Final

from web4.cli.text import paint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLOURS: Final = {"trusted": "green", "untrusted": "yellow", "blacklisted": "red"}


def painted(lines: "Sequence[str]", states: "Iterable[str | None]") -> list[str]:
    """Lines, each in the colour of its state."""
    return [
        paint(line, COLOURS[state]) if state in COLOURS else line
        for line, state in zip(lines, states, strict=True)
    ]
