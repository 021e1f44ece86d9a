"""Two nodes with services, joined by what carries their envelopes: sealed, decoded, handed over, and no network."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.actors.jobs import Said, opened
from tests.mesh.people import KeptTrust, identity, seal_mesh
from web4.actors import open_lane_actors
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import MemoryStore
from web4.mesh.server_lane import server_lane
from web4.mesh.services.services import Services
from web4.protocols.messages.mesh import ServiceInvoke, ServiceInvokeEnvelope, ServiceResult
from web4.testing.clocks import TrioClock
from web4.trust import Anchored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from web4.mesh.services.catalogue import Service


class Node:
    """One node. `sent` is what it put into its outbox, by id: an id counts once, as an outbox has it."""

    def __init__(self, number: int, **options: Any) -> None:
        self.identity = identity(number)
        self.fingerprint = self.identity.fingerprint
        self.store = MemoryStore()
        self.trust = KeptTrust()
        self.said = Said()
        self.clock = TrioClock()
        self.ids = SeededIds(number)
        self.options = options
        self.offers: list[Service] = []
        self.sent: dict[str, Any] = {}
        self.attempts: list[str] = []
        self.wire: Callable[[Node, str, Any], Any] | None = None

    async def send(
        self,
        peer: str,
        payload: ServiceInvoke | ServiceResult,
        *,
        msg_id: str,
        corr_id: str | None = None,
    ) -> str:
        await trio.lowlevel.checkpoint()
        self.attempts.append(msg_id)
        if msg_id not in self.sent:
            envelope, _ = seal_mesh(
                self.identity,
                payload,
                id=msg_id,
                now_ms=self.clock.wall_ms(),
                destination=peer,
                reply_to=corr_id,
            )
            self.sent[msg_id] = envelope
            if self.wire is not None:
                await self.wire(self, peer, envelope)
        return msg_id

    async def take(self, peer: str, envelope: Any) -> Any:
        """What the router does with an envelope that was let in."""
        if isinstance(envelope, ServiceInvokeEnvelope):
            return await self.services.called(peer, envelope, self.clock.wall_ms())
        return self.services.answered(peer, envelope)

    async def trusts(self, *peers: Node) -> None:
        for one in peers:
            await self.trust(one.fingerprint, Anchored(at_ms=self.clock.wall_ms()))

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Services]:
        services = self.services = Services(
            trust=self.trust.registry,
            send=self.send,
            clock=self.clock,
            ids=self.ids,
            emit=self.said,
            **self.options,
        )
        for one in self.offers:
            services.offer(one)
        async with opened(self.store, events=(), emit=self.said) as journal:
            services.prepare(journal)
            async with (
                open_lane_actors(journal, {"server": server_lane(services=services.part)}) as actors,
                trio.open_nursery() as nursery,
            ):
                services.bind(actors)
                nursery.start_soon(services.run)
                yield services
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def pair(*offers: Service, **options: Any) -> AsyncIterator[tuple[Node, Node]]:
    """A caller, and a node that offers these services; each trusts the other."""
    caller, server = Node(1), Node(2, **options)
    server.offers += offers
    nodes = {one.fingerprint: one for one in (caller, server)}

    async def wire(origin: Node, peer: str, envelope: Any) -> None:
        await nodes[peer].take(origin.fingerprint, envelope)

    caller.wire = server.wire = wire
    await caller.trusts(server)
    await server.trusts(caller)
    async with caller.up(), server.up():
        yield caller, server
