"""Web4's envelopes in memory: FACT_PROPOSE over an RTT session, through trust gate and router to a handler.

Signed, verified, in canonical form, checked against their schemas, remembered against replay, acknowledged by receipts:
all that a node does but for keeping a journal. The rates per peer are raised; all other limits are the defaults.
"""

from __future__ import annotations

from collections import deque
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import trio

from scripts.bench.outbox_child import fact
from scripts.bench.peers.letters import message
from web4 import rtt
from web4.foundation.identity import Identity
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.event_types import EventRegistry
from web4.journal.opening import open_journal
from web4.protocols.cip import PEER_EVENTS, CipOptions, CipRuntime, Offer
from web4.protocols.messages.cip import FactPropose
from web4.protocols.router import ProtocolRouter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from scripts.bench.link import Link
    from scripts.bench.side import Side
    from web4.journal.journal import Journal
    from web4.protocols.cip import Delivery

LOOP = "trio"
ENCRYPTED = True
KINDS = frozenset({"one_way"})
PACKAGES = ("trio", "msgspec", "immutables")
OPTIONS = CipOptions(
    agent_id="bench",
    offer=Offer(capabilities=("state_exchange", "knowledge_exchange")),
    messages_per_second=1e6,
    message_burst=1e6,
    replay_ids=1_000_000,
)
IN_FLIGHT = 1_024
"""Envelopes without a receipt, at most; a session has 256 of them on the wire."""
LIMITS = {"messages_per_second": 1_000_000, "replay_ids": 1_000_000}


class Sending:
    """The client's link: at most so many envelopes are on their way, and each is waited for until it has its receipt.

    Args:
        cip: The node.
        peer: The server's fingerprint.
        together: Whether a batch is handed over by as many tasks, so that its entries share a commit of the journal.
    """

    def __init__(self, cip: CipRuntime, peer: str, *, together: bool) -> None:
        self._together = together
        self._cip = cip
        self._peer = peer
        self._number = 0
        self._flying: deque[str] = deque()

    async def send(self, message: bytes) -> None:
        """Send one envelope."""
        if len(self._flying) >= IN_FLIGHT:
            await self._concluded(self._flying.popleft())
        self._number += 1
        self._flying.append(await self._cip.send(self._peer, fact(self._number, len(message))))

    async def send_many(self, messages: list[bytes]) -> None:
        """Send envelopes."""
        if not self._together:
            for message in messages:
                await self.send(message)
            return
        async with trio.open_nursery() as nursery:
            for message in messages:
                nursery.start_soon(self.send, message)

    async def _concluded(self, msg_id: str) -> None:
        conclusion = await self._cip.concluded(self._peer, msg_id)
        if conclusion is None or conclusion.outcome != "delivered":
            raise RuntimeError(f"an envelope was not delivered: {conclusion}")

    async def receive(self) -> bytes:
        """Nothing ever comes: only the server receives."""
        raise NotImplementedError

    async def receive_many(self) -> list[bytes]:
        """See `receive`."""
        raise NotImplementedError


class Handling:
    """The server's link: what its handler was given."""

    def __init__(self) -> None:
        self._come: deque[bytes] = deque()
        self._waiting = trio.Event()

    async def handle(self, delivery: Delivery) -> None:
        """Take a message."""
        payload = delivery.message.payload
        assert isinstance(payload, FactPropose)
        self._come.append(message(payload.fact.statement.partition(" ")[2]))
        self._waiting.set()

    async def receive(self) -> bytes:
        """Wait for the next message."""
        while not self._come:
            self._waiting = trio.Event()
            await self._waiting.wait()
        return self._come.popleft()

    async def receive_many(self) -> list[bytes]:
        """Wait for one message and return every one that is here."""
        first = await self.receive()
        more = [first, *self._come]
        self._come.clear()
        return more

    async def send(self, message: bytes) -> None:
        """Nothing is ever sent: only the client sends."""
        raise NotImplementedError

    async def send_many(self, messages: list[bytes]) -> None:
        """See `send`."""
        raise NotImplementedError


@asynccontextmanager
async def open_link(side: Side, directory: Path | None = None) -> AsyncIterator[Link]:
    """Run a node at each side, with a journal in `directory` if there is one; the client dials, and pins the server."""
    identity = Identity.generate()
    async with AsyncExitStack() as stack:
        journal: Journal | None = None
        if directory is not None:
            backend = await stack.enter_async_context(open_sqlite(directory / side.role))
            registry = EventRegistry(PEER_EVENTS)
            journal = await stack.enter_async_context(
                open_journal(backend, registry=registry, identity=identity)
            )
        endpoint = await stack.enter_async_context(rtt.open_endpoint(identity))
        cip = await stack.enter_async_context(CipRuntime(identity, options=OPTIONS, journal=journal))
        nursery = await stack.enter_async_context(trio.open_nursery())
        if side.role == "server":
            handling = Handling()
            router = ProtocolRouter(cip)
            router.register("cip", "FACT_PROPOSE", handling.handle)
            listener = await endpoint.listen("tcp://127.0.0.1:0", admit=cip.admit)
            nursery.start_soon(router.run)
            nursery.start_soon(_serve, cip, endpoint, nursery)
            side.announce(int(listener.addresses[0].rsplit(":", 1)[1]), identity.fingerprint)
            yield handling
        else:
            address = await side.address()
            session = await stack.enter_async_context(
                endpoint.dial(f"tcp://127.0.0.1:{address.port}", expect=address.note)
            )
            nursery.start_soon(cip.serve, session)
            await cip.established(session)
            yield Sending(cip, address.note, together=journal is not None)
        nursery.cancel_scope.cancel()


async def _serve(cip: CipRuntime, endpoint: rtt.Endpoint, nursery: trio.Nursery) -> None:
    async for session in endpoint.sessions():
        nursery.start_soon(cip.serve, session)
