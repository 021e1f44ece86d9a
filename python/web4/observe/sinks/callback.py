"""Events to a function of the program's own."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from web4.foundation.events import Event


class CallbackSink:
    """Calls a function with each event, one at a time, in order.

    Args:
        call: May be async. One that blocks without `await` blocks the whole program, here as anywhere in Trio.
        name: In `sink_lag`.
    """

    def __init__(
        self, call: Callable[[Event], Awaitable[object] | object], *, name: str = "callback"
    ) -> None:
        self.name = name
        self._call = call

    async def write(self, events: Sequence[Event]) -> None:
        """See `Sink.write`. What the function raises for one event does not keep the others of the call from it."""
        failures: list[Exception] = []
        for event in events:
            try:
                result = self._call(event)
                if inspect.isawaitable(result):
                    await result
            except Exception as error:  # whatever it was, it is that function's own
                failures.append(error)
        if failures:
            raise ExceptionGroup("the callback failed", failures)

    async def aclose(self) -> None:
        """See `Sink.aclose`."""
