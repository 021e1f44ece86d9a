"""What runs for humans at the moment, so that a revocation ends it at once (HCP-3)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAVING_SECONDS: Final = 0.5
"""How long a revocation waits for what it cancelled, before it purges: the rest is purged when it comes."""


class Running:
    """Cancel scopes by the lanes of the humans they are for. In memory: a process that ended runs nothing."""

    def __init__(self) -> None:
        self._scopes: dict[str, set[trio.CancelScope]] = {}
        self._left = trio.lowlevel.ParkingLot()
        self.barred: set[str] = set()
        """Humans whose consent is being revoked, by lane, until their lane says it: nothing begins for them."""

    @contextmanager
    def entered(self, lanes: tuple[str, ...]) -> Iterator[trio.CancelScope]:
        """A cancel scope that ends when one of these humans revokes consent; at once if one is about to."""
        with trio.CancelScope() as scope:
            for lane in lanes:
                self._scopes.setdefault(lane, set()).add(scope)
            if self.barred.intersection(lanes):
                scope.cancel()
            try:
                yield scope
            finally:
                for lane in lanes:
                    self._scopes[lane].discard(scope)
                    if not self._scopes[lane]:
                        del self._scopes[lane]
                self._left.unpark_all()

    def count(self, lane: str) -> int:
        """How much runs for a human."""
        return len(self._scopes.get(lane, ()))

    def stop(self, lane: str) -> int:
        """Cancel everything that runs for a human; how much it was. Does not wait for it."""
        scopes = tuple(self._scopes.get(lane, ()))
        for scope in scopes:
            scope.cancel()
        return len(scopes)

    async def left(self, lane: str) -> None:
        """Wait until what was cancelled has ended, for half a second at most."""
        with trio.move_on_after(LEAVING_SECONDS):
            while self._scopes.get(lane):
                await self._left.park()
