"""What the protocols' runtimes need of each other, as they need it: a node passes the real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.protocols.cip.sealing import About
    from web4.protocols.messages.vocabulary import AgentPayload
    from web4.trust import TrustCommand, TrustEvent, TrustOutcome, TrustRecord, TrustState


class SendMessage(Protocol):
    """How a room says something to a peer: `CipRuntime.send`."""

    async def __call__(
        self,
        peer: str,
        payload: AgentPayload,
        *,
        corr_id: str | None = None,
        about: About | None = None,
        msg_id: str | None = None,
    ) -> str:
        """Send a message; its msg_id. What goes through the outbox is durable when this returns (OUT-1)."""
        ...


class CommandTrust(Protocol):
    """How a room supplies evidence about a peer (TRUST-9): `CipRuntime.trust_command`."""

    async def __call__(self, peer: str, command: TrustCommand, *, cause: str | None = None) -> TrustOutcome:
        """Let the peer's lane decide. With a `cause` it happens once for each (peer, cause) at most (ROUTE-3)."""
        ...


class TrustView(Protocol):
    """How far peers are trusted, by durable events: the `TrustRegistry`."""

    def state(self, peer: str) -> TrustState:
        """How far `peer` is trusted."""
        ...

    def record(self, peer: str) -> TrustRecord:
        """What is held about `peer`."""
        ...

    def observe(self, observer: Callable[[str, TrustEvent], None]) -> Callable[[], None]:
        """Call `observer(peer, event)` after each event; returns how to end that."""
        ...
