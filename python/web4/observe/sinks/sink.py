"""What a sink is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.foundation.events import Event


class Sink(Protocol):
    """Where events go. Each has a queue and a task of its own: what it does slows nobody else (OBS-4).

    `write` may fail: the events of that call are lost, and counted; it is called again with later ones.
    """

    @property
    def name(self) -> str:
        """Names it in `sink_lag`; unique in its hub."""
        ...

    async def write(self, events: Sequence[Event]) -> None:
        """Take events, in order, at least one. They are immutable. Cancelled, what was taken is not specified."""
        ...

    async def aclose(self) -> None:
        """Write out what is held, and let go. Called once, after the last `write`, within a deadline."""
        ...
