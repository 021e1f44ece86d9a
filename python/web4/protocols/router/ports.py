"""What the router needs of the node it is in; `CipRuntime` has all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.cip.agreement import Agreement
    from web4.protocols.cip.intents import AcceptIntent
    from web4.protocols.ports import CommandTrust, SendMessage, TrustView

SettledAs = Literal["handled", "deferred", "refused", "unhandled", "failed"]
"""Everything that can become of a message but `duplicate`: that one is settled already, or will be."""


class Source(Protocol):
    """Where deliveries come from: `Inbox`."""

    async def take(self) -> Delivery | None:
        """Wait for the next delivery; its place stays held. None: there will be no more."""
        ...

    def take_more(self, most: int) -> list[Delivery]:
        """Take what waits already, as `take` does."""
        ...

    def release(self, delivery: Delivery) -> None:
        """Give the place of a delivery back."""
        ...


class RouterHost(Protocol):
    """The node around a router."""

    accept_intent: AcceptIntent
    """Asked about each INTENT at once (LOOP-5)."""

    @property
    def inbox(self) -> Source:
        """Every message that was let in."""
        ...

    @property
    def trust(self) -> TrustView:
        """How far peers are trusted, as it is durable."""
        ...

    @property
    def send(self) -> SendMessage:
        """Sends a message; returns once an outbox type is durable."""
        ...

    @property
    def trust_command(self) -> CommandTrust:
        """Says something about a peer's trust, at most once for a cause."""
        ...

    async def settled(self, delivery: Delivery, status: SettledAs) -> None:
        """Record what became of a message, so that it is not delivered again after a restart (OUT-3)."""
        ...

    def agreement(self, peer: str) -> Agreement | None:
        """What was agreed with a peer last; None if nothing was."""
        ...
