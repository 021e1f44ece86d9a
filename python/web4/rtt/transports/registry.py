"""Which transport a scheme stands for (RTT-66)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from web4.rtt.errors import TransportUnavailableError
from web4.rtt.transports.memory import MemoryNetwork, MemoryTransport
from web4.rtt.transports.tcp import TcpTransport
from web4.rtt.transports.unix import UnixTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.rtt.transports.transport import Transport


class Registry:
    """Transports by scheme (RTT-66)."""

    def __init__(self) -> None:
        self._factories: dict[str, Callable[[], Transport]] = {}

    def register(self, scheme: str, factory: Callable[[], Transport], *, replace: bool = False) -> None:
        """Make a transport known under a scheme.

        Raises:
            ValueError: The scheme is registered already, and `replace` is false.
        """
        if scheme in self._factories and not replace:
            raise ValueError(f"a transport is registered for {scheme!r}; pass replace=True to replace it")
        self._factories[scheme] = factory

    def create(self, scheme: str) -> Transport:
        """The transport of a scheme.

        Raises:
            TransportUnavailableError: `unknown_scheme`.
        """
        if scheme not in self._factories:
            known = ", ".join(self.available())
            raise TransportUnavailableError(
                f"no transport is registered for {scheme!r}; there are {known}", code="unknown_scheme"
            )
        return self._factories[scheme]()

    def available(self) -> list[str]:
        """All schemes, sorted."""
        return sorted(self._factories)


def default_registry() -> Registry:
    """A new registry with the shipped transports. Its `memory` is a network of its own: names in it are no others'."""
    registry, network = Registry(), MemoryNetwork()
    registry.register("tcp", TcpTransport)
    registry.register("unix", UnixTransport)
    registry.register("memory", lambda: MemoryTransport(network))
    return registry


@functools.cache
def shared_registry() -> Registry:
    """The registry of all endpoints of this process that are given none: they find each other at `memory://`."""
    return default_registry()
