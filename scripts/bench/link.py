"""What a peer is to the harness: a module that opens a `Link` at either side.

A peer module has `LOOP` (one of `Loop`), `ENCRYPTED`, and `open_link(side)`, an async context manager. It may have
`PACKAGES`, the distributions whose versions the report names, and `KINDS`, the kinds of figures it carries when
they are not `COMMON`; `VERSIONS`, what else the report should name; and `LIMITS`, which it raises.
The loads are written once, as coroutines. A blocking peer's coroutines never suspend, so they run without a
loop, at the price of a coroutine call per message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from scripts.bench.figures import Figure
    from scripts.bench.side import Loop, Side

COMMON = frozenset({"one_way", "ping_pong"})
"""The kinds of figures that every peer carries."""


class Link(Protocol):
    """Whole messages over one connection, in order."""

    async def send(self, message: bytes) -> None:
        """Hand over one message."""

    async def send_many(self, messages: list[bytes]) -> None:
        """Hand over a batch by one call."""

    async def receive(self) -> bytes:
        """Wait for the next message."""

    async def receive_many(self) -> list[bytes]:
        """Wait for one message and return every one that is here."""


@runtime_checkable
class TunedLink(Protocol):
    """A link whose best settings are not the same for every load."""

    def prepare(self, figure: Figure) -> None:
        """Set itself up for what comes next; both sides are told."""


@runtime_checkable
class PriorityLink(Protocol):
    """A link with a second way for what may not wait behind the first."""

    @property
    def control(self) -> Link:
        """That way."""


@runtime_checkable
class SessionLink(Protocol):
    """A link whose client can open further sessions like its own; the server holds what is opened."""

    def open_session(self) -> AbstractAsyncContextManager[object]:
        """Open one at the client: usable once entered, closed when left."""


class Peer(Protocol):
    """The names a peer module has."""

    LOOP: Loop
    ENCRYPTED: bool

    @staticmethod
    def open_link(side: Side) -> AbstractAsyncContextManager[Link]:
        """Connect this side, authenticated if the peer is; leaving the block disconnects."""
