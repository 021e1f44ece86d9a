"""Long computations beside the loop: while one runs, heartbeats and answers of everybody else go out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")
LARGE_BYTES: Final = 1024 * 1024
"""From here on a state takes longer to write or read than the loop should stand still."""


async def aside(size: int, do: Callable[..., _Result], *arguments: object) -> _Result:
    """What `do(*arguments)` gives: at once, or from a thread if it is about many bytes. It must be pure.

    Args:
        size: How many bytes it is about, more or less.
        do: What to do.
        arguments: With what.

    Cancellation: waits for the thread; what it computed is dropped.
    """
    if size < LARGE_BYTES:
        return do(*arguments)
    return await trio.to_thread.run_sync(do, *arguments)
