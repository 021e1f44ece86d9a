"""The numbers of the router, checked when they are set (LIM-1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterOptions:
    """How a router treats handlers.

    Args:
        handler_ms: How long a handler may take for a message; `register` can say otherwise.
        grace_ms: How long one that was cancelled may take to end before the peer's next message goes on without it.
        retries: How often an idempotent handler is asked again (ROUTE-5).
        retry_ms: The pause before it is, doubling.
        peers: Peers whose messages are handled at once; those of others wait their turn.
        dead_letters: Dead letters that are listed; beyond, the oldest falls off with an event. Their peers' lanes
            keep them as settled with status `failed`.
        remembered: Messages whose status is remembered in memory; their lanes remember them all (REP-1).
        abandoned: Handlers that may run on after they were given up; beyond, their peers wait.
    """

    handler_ms: int = 30_000
    grace_ms: int = 1_000
    retries: int = 3
    retry_ms: int = 100
    peers: int = 256
    dead_letters: int = 1_024
    remembered: int = 65_536
    abandoned: int = 64

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < (0 if name in {"retries", "abandoned"} else 1):
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if self.retries > 3:
            raise ValueError("at most 3 retries (ROUTE-5)")
