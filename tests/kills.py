"""For tests that kill a process at any moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized


def kills(least: int, *seen: Sized) -> Iterator[int]:
    """Number the kills: so many, and more of them as long as there is none of what has to be `seen` at least once.

    A process on a busy machine may be killed before it has done anything; not twenty times as often.
    """
    number = 0
    while number < least or (number < 20 * least and not all(map(len, seen))):
        yield number
        number += 1
