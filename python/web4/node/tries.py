"""Why there is no session: of each peer the last thing that failed, and when it is dialled next. Telemetry (WEB-3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from web4.protocols.errors import HandshakeFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.foundation.clock import Clock
    from web4.foundation.errors import Web4Error
    from web4.foundation.events import Event

FAILED: Final = "connection_failed"
"""A connection could not be opened."""
REFUSED: Final = "handshake_failed"
"""There was a connection, and no handshake upon it (HS-3)."""
_EVENTS: Final = frozenset({REFUSED, "session_suspend", "session_lost", "address_refused"})
"""Events about a session with a peer that say what is wrong, whoever dialled it."""


class Trouble(NamedTuple):
    """What failed last.

    Args:
        at_ms: When, Unix milliseconds.
        what: `connection_failed`, `handshake_failed`, `session_suspend`, `session_lost` or `address_refused`.
        code: Its code, or reason.
        address: Where the peer was dialled; None if it dialled this node.
    """

    at_ms: int
    what: str
    code: str
    address: str | None


class Tries:
    """What was tried of late, by peer. As many peers as the registry knows, and no others.

    Args:
        clock: Where time comes from.
        known: Whether a peer is known.
    """

    def __init__(self, *, clock: Clock, known: Callable[[str], bool]) -> None:
        self._clock = clock
        self._known = known
        self._troubles: dict[str, Trouble] = {}
        self._next: dict[str, int] = {}

    def trouble(self, peer: str) -> Trouble | None:
        """What failed last."""
        return self._troubles.get(peer)

    def next_ms(self, peer: str) -> int | None:
        """When the peer is dialled next, Unix milliseconds; None while it is being dialled, or is not to be."""
        return self._next.get(peer)

    def dials(self, peer: str) -> None:
        """It is being dialled."""
        self._next.pop(peer, None)

    def failed(self, peer: str, address: str, error: Web4Error) -> None:
        """Dialling it failed."""
        what = REFUSED if isinstance(error, HandshakeFailed) else FAILED
        self._note(peer, what, error.code or type(error).__name__, address)

    def waits(self, peer: str, seconds: float) -> None:
        """It is dialled again after so long."""
        if self._known(peer):
            self._next[peer] = self._clock.wall_ms() + round(seconds * 1_000)

    def see(self, event: Event) -> None:
        """What the node's own events say of sessions; for `ObservabilityHub.watch`."""
        if event.type in _EVENTS and event.peer is not None:
            said = event.payload
            code = said.get("reason") or said.get("code") or "unknown"
            self._note(event.peer, event.type, str(code), said.get("address"))

    def forget(self, peer: str) -> None:
        """The peer is known no more."""
        self._troubles.pop(peer, None)
        self._next.pop(peer, None)

    def _note(self, peer: str, what: str, code: str, address: str | None) -> None:
        if self._known(peer):
            self._troubles[peer] = Trouble(self._clock.wall_ms(), what, code, address)
