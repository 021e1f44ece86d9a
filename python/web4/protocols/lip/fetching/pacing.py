"""How often a host is asked, and how much is asked at once (FETCH-7, FETCH-8)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from web4.protocols.lip.errors import FetchFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.protocols.lip.fetching.options import FetchOptions

MAX_HOSTS: Final = 4_096
"""Hosts whose last request is remembered; those that nobody waits for any more go first."""


class _Host:
    __slots__ = ("limiter", "next_start", "users")

    def __init__(self, per_host: int) -> None:
        self.limiter = trio.Semaphore(per_host)
        self.next_start = float("-inf")
        self.users = 0


class Pacing:
    """Gives out turns. A fetch that waits for a host's sake takes no turn from fetches of other hosts.

    Args:
        options: See `FetchOptions`.
    """

    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._all = trio.Semaphore(options.in_all)
        self._hosts: dict[str, _Host] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._hosts)

    @asynccontextmanager
    async def turn(self, host: str, delay_seconds: float = 0.0) -> AsyncIterator[None]:
        """Wait for a turn at a host and hold it.

        Args:
            host: Its name or address. Ports share it: one machine answers them.
            delay_seconds: What its robots.txt asks for between two requests; never less than the own spacing.

        Raises:
            FetchFailed: `fetcher_busy`: too many wait.
        """
        if self._waiting >= self._options.waiting or (
            len(self._hosts) >= MAX_HOSTS and host not in self._hosts
        ):
            self._forget()
            if self._waiting >= self._options.waiting or len(self._hosts) >= MAX_HOSTS:
                raise FetchFailed("too many fetches wait", code="fetcher_busy", retry_after_ms=1_000)
        entry = self._hosts.setdefault(host, _Host(self._options.per_host))
        entry.users += 1
        self._waiting += 1
        waiting = True
        try:
            async with entry.limiter:
                await self._start(entry, max(delay_seconds, self._options.spacing_seconds))
                self._waiting -= 1
                waiting = False
                try:
                    yield
                finally:
                    self._all.release()
        finally:
            self._waiting -= waiting
            entry.users -= 1

    async def _start(self, entry: _Host, spacing: float) -> None:
        """Wait until the host may be asked and there is room in all; then the room is taken."""
        while True:
            await trio.sleep_until(max(entry.next_start, trio.current_time()))
            await self._all.acquire()
            now = trio.current_time()
            if now >= entry.next_start:  # else a sibling was faster
                entry.next_start = now + spacing
                return
            self._all.release()

    def _forget(self) -> None:
        now = trio.current_time()
        for host in [host for host, one in self._hosts.items() if not one.users and one.next_start <= now]:
            del self._hosts[host]
