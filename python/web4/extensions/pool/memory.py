"""One ceiling over the memory of all workers and spares of a node (EXT-37)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable

GUESS: Final = 32 * 1024 * 1024
"""What a first worker of an extension is taken to need, bytes."""


class Giver(Protocol):
    """A pool that can do with fewer workers."""

    def idle_since(self) -> float | None:
        """When the worker that it could best spare was last of use; None when it can spare none."""
        ...

    def give_up_one(self) -> None:
        """Kill that worker."""
        ...


class MemoryCeiling:
    """Adds up what workers are seen to hold. Over the ceiling none is started, and idle ones are given up.

    What counts is resident memory as it was last seen: at start and after each call. Pages that forks share count
    for each of them, so the sum errs on the careful side. A busy worker is never given up: its own limit holds it.

    Args:
        ceiling: Bytes; None for none.
    """

    def __init__(self, ceiling: int | None = None) -> None:
        self.ceiling = ceiling
        self.used = 0
        """Bytes, as last seen."""
        self.refused = 0
        """Starts for which there was no room."""
        self._seen: dict[Hashable, int] = {}
        self._givers: list[Giver] = []

    def join(self, pool: Giver) -> None:
        """From now on this pool is asked to give up workers when others have no room."""
        self._givers.append(pool)

    def leave(self, pool: Giver) -> None:
        """It has no workers any more."""
        self._givers.remove(pool)

    def saw(self, worker: Hashable, resident: int) -> None:
        """`worker` holds that many bytes now; gives up idle workers while that is too much in all."""
        self.used += resident - self._seen.get(worker, 0)
        self._seen[worker] = resident
        if self.ceiling is not None and self.used > self.ceiling:
            self._make_room(0)

    def forget(self, worker: Hashable) -> None:
        """It is gone, or as good as gone: killed."""
        self.used -= self._seen.pop(worker, 0)

    def has_room(self, resident: int, *, needed: bool) -> bool:
        """Whether one more worker of that size may start; when it is `needed` for a call, room is made for it."""
        if self.ceiling is None or self.used + resident <= self.ceiling:
            return True
        if needed and self._make_room(resident):
            return True
        self.refused += 1
        return False

    def _make_room(self, resident: int) -> bool:
        assert self.ceiling is not None
        while self.used + resident > self.ceiling:
            best: Giver | None = None
            longest = float("inf")
            for pool in self._givers:
                since = pool.idle_since()
                if since is not None and since < longest:
                    best, longest = pool, since
            before = self.used
            if best is not None:
                best.give_up_one()
            if self.used >= before:  # nobody has one to spare, or it held nothing
                return False
        return True
