"""How long handlers may take: one cancel scope for many of them, and somebody who looks at the clock (ROUTE-5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from web4.protocols.router.foreign import shut_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Any, Self


class Patience:
    """The limits of handlers that one task asks, one after the other. A context manager around all of them.

    A scope with a deadline for each costs more than most handlers do. So they share one, which is left only when it was
    cancelled: by `expire`, for which whoever was told of `due` looks at the clock.

    Args:
        tell: Told of each `due`.
    """

    def __init__(self, tell: Callable[[float], None]) -> None:
        self.due = math.inf
        """When the handler that runs has to be cancelled, in Trio's time, unless it was."""
        self._tell = tell
        self._scope: trio.CancelScope | None = None

    async def ask(self, due: float, handler: Callable[[Any], Awaitable[Any]], about: object) -> Any:
        """Ask a handler, until `due` in Trio's time; see `shut_in`.

        Raises:
            TimeoutError: It was cancelled because it took longer.
            HandlerError: It failed.
        """
        scope = self._scope
        if scope is None:
            scope = self._scope = trio.CancelScope()
            scope.__enter__()
        self.due = due
        self._tell(due)
        try:
            result = await shut_in(handler, about)
        except BaseException as error:
            if not scope.cancel_called:
                raise
            # Left here, as at the end of a `with`: it takes its own cancellation, and no other.
            self._scope = None
            if not scope.__exit__(type(error), error, error.__traceback__):
                raise
        else:
            if scope.cancel_called:  # too late: the handler had what it waited for
                self._scope = None
                scope.__exit__(None, None, None)
            return result
        finally:
            self.due = math.inf
        raise TimeoutError

    def expire(self) -> None:
        """Cancel the handler that runs: once."""
        self.due = math.inf
        if self._scope is not None:
            self._scope.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        scope, self._scope = self._scope, None
        return scope is not None and bool(scope.__exit__(kind, error, traceback))
