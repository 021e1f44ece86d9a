"""What a host tells its registry, one thing after another, without a call waiting for it (EXT-38)."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import trio

from web4.extensions.errors import EnablingError
from web4.foundation.errors import Web4Error

if TYPE_CHECKING:
    from web4.extensions.enabling.standing import EnabledExtension, Standing
    from web4.extensions.quarantine import Change
    from web4.foundation.events import Emitter

_LOG: Final = logging.getLogger("web4.extensions")


class Registry(Protocol):
    """Who knows what is enabled: `Enabling` on a node, `Provisional` where no lane is."""

    async def standing(self, name: str) -> Standing:
        """See `Enabling.standing`."""
        ...

    async def reloaded(self, extension: EnabledExtension, generation: int) -> None:
        """See `Enabling.reloaded`."""
        ...

    async def breaker_changed(self, name: str, change: Change, *, by: str | None = None) -> None:
        """See `Enabling.breaker_changed`."""
        ...


class Recording:
    """Changes of quarantine on their way to the registry, in order. Of each extension the latest waits, no other."""

    def __init__(self, registry: Registry, emit: Emitter) -> None:
        self._registry = registry
        self._emit = emit
        self._waiting: dict[str, Change] = {}
        self._order: deque[str] = deque()
        self._news = trio.Event()
        self._idle = trio.Event()
        self._idle.set()

    def changed(self, name: str, change: Change) -> None:
        """Record this soon. At most one change of each extension waits."""
        if name not in self._waiting:
            self._order.append(name)
        self._waiting[name] = change
        self._idle = trio.Event() if self._idle.is_set() else self._idle
        self._news.set()

    async def flushed(self) -> None:
        """Until nothing waits."""
        await self._idle.wait()

    async def run(self) -> None:
        """Record what comes. What the registry refuses is told and gone: a call never fails for it."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while self._order:
                name = self._order.popleft()
                await self._record(name, self._waiting.pop(name))
            self._idle.set()

    async def _record(self, name: str, change: Change) -> None:
        try:
            await self._registry.breaker_changed(name, change)
        except EnablingError:
            return  # it was disabled meanwhile
        except Exception as error:
            _LOG.exception("a quarantine could not be recorded")
            code = error.code if isinstance(error, Web4Error) else type(error).__name__
            self._emit(
                "extension_unrecorded", severity="error", extension=name, change=change.event, code=code
            )
