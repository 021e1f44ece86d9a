"""The one deadline of a session's handshake, set anew with each step (HS-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Deadline:
    """Waits for the deadline of one step at a time.

    Args:
        over: Called with the step whose time is over.
    """

    def __init__(self, over: Callable[[int], Awaitable[None]]) -> None:
        self._over = over
        self._waiting: trio.CancelScope | None = None

    def arm(self, nursery: trio.Nursery, step: int, after_ms: int | None) -> None:
        """Forget the deadline that was set, and set that of `step`, if it has one."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if after_ms is not None:
            self._waiting = trio.CancelScope()
            nursery.start_soon(self._wait, self._waiting, step, after_ms / 1_000)

    async def _wait(self, scope: trio.CancelScope, step: int, seconds: float) -> None:
        with scope:
            await trio.sleep(seconds)
        if not scope.cancelled_caught:
            await self._over(step)
