"""`Node`: one agent's identity, lanes, sessions and protocols, wired (WEB-6)."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from web4 import rtt
from web4.actors import open_lane_actors
from web4.agent import AgentLoopAdapter
from web4.agent.pacing.pacer import Pacer
from web4.governance import MissionGuard
from web4.mesh.graph.following import MeshFollower
from web4.mesh.graph.live import LiveGraph
from web4.mesh.introductions.heard import register_introductions
from web4.mesh.introductions.introductions import Introductions
from web4.mesh.policy import MeshForwardingPolicy
from web4.mesh.registry.peers_file import read_peers
from web4.mesh.registry.registry import PeerRegistry
from web4.mesh.registry.told import ToldAddresses
from web4.mesh.runtime import MeshRuntime
from web4.mesh.server_lane import server_lane
from web4.mesh.services.routed import register_services
from web4.mesh.services.services import Services
from web4.node.binding import (
    GatedHost,
    LoadTold,
    consent_of,
    memory_of,
    mission_of,
    offered,
)
from web4.node.connecting import Connector
from web4.node.introduced import IntroducedPlaces
from web4.node.knowing import knowledge_lane
from web4.node.noticing import notice_peers
from web4.node.settings import cip_options, fetch_options, knowledge_limits
from web4.node.tries import Tries
from web4.protocols.cip import CipRuntime
from web4.protocols.hcp.runtime import HcpRuntime
from web4.protocols.knowledge.memory.runtime import MemoryRuntime
from web4.protocols.knowledge.runtime import KnowledgeRuntime
from web4.protocols.lip.answering import what_was_seen
from web4.protocols.lip.fetching import open_fetcher
from web4.protocols.lip.runtime import LipRuntime
from web4.protocols.router.router import ProtocolRouter
from web4.trust import TrustRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.actors import LaneActors, LaneDefinition
    from web4.foundation.clock import Clock
    from web4.foundation.identity import Identity
    from web4.foundation.ids import IdSource
    from web4.journal.journal import Journal
    from web4.journal.lane import LaneKind
    from web4.mesh.registry.registry import PeerChange
    from web4.node.config import NodeConfig
    from web4.node.directory import Places
    from web4.node.options import NodeParts
    from web4.observe import ObservabilityHub
    from web4.protocols.cip.agreement import Agreement


class Node:
    """Everything of one agent in one process. Open one with `open_node`; its parts are its attributes.

    Args:
        places: Its data directory.
        identity: Who it is.
        config: How it is set up.
        parts: What the program gave it.
        hub: Its events.
        journal: Its lanes.
        clock, ids: Where time and ids come from.
    """

    def __init__(
        self,
        places: Places,
        identity: Identity,
        config: NodeConfig,
        parts: NodeParts,
        *,
        hub: ObservabilityHub,
        journal: Journal,
        clock: Clock,
        ids: IdSource,
    ) -> None:
        self.places = places
        self.identity = identity
        self.config = config
        self.name: str = config.node.name or places.name
        self.hub = hub
        self.journal = journal
        self.addresses: tuple[str, ...] = ()
        """Where it listens."""
        self.clock = clock
        self.began_ns = clock.monotonic_ns()
        """When it began, on the monotonic clock."""
        self.ids = ids
        emit = hub.emit
        common: dict[str, Any] = {"clock": clock, "ids": ids, "emit": emit}
        self.trust = TrustRegistry(emit=emit)
        self._options = cip_options(config, self.name, parts)
        self.cip = CipRuntime(
            identity,
            options=self._options,
            trust=self.trust,
            journal=journal,
            **common,
        )
        self.knowledge = KnowledgeRuntime(
            identity.fingerprint,
            trust=self.cip.trust_command,
            send=self.cip.send,
            view=self.trust,
            limits=knowledge_limits(config),
            **common,
        )
        self.memory = MemoryRuntime(self.knowledge.remember, self.knowledge.memory, clock=clock, ids=ids)
        self.people = HcpRuntime(
            journal,
            agent_id=self.name,
            send=self.cip.send,
            purge=self.cip.purge,
            trust=self.trust,
            emit=emit,
            ids=ids,
        )
        self.mission = MissionGuard(signers=(identity.fingerprint, *config.mission.signers), **common)
        self.peers = PeerRegistry(own=identity.fingerprint, clock=clock, emit=emit)
        self.tries = Tries(clock=clock, known=self.peers.has)
        """Why there is no session with a peer, as far as this process knows."""
        self.services = Services(trust=self.trust, send=self.cip.send, **common)
        for service in parts.services:
            self.services.offer(service)
        self.services.prepare(journal)
        self.router = ProtocolRouter(GatedHost(self.cip, self.people), emit=emit)
        self.loop: AgentLoopAdapter | None = None
        """The agent's loop, if the program gave one."""
        self.lip: LipRuntime | None = None
        """The internet, unless the configuration says no."""
        self.mesh: MeshRuntime | None = None
        """The mesh, unless the configuration says no."""
        self.introductions: Introductions | None = None
        self.graph: LiveGraph | None = None
        """The network as this node sees it, if it takes part in the mesh."""
        self.pacer: Pacer | None = None
        self.lanes: dict[LaneKind, LaneDefinition[Any, Any, Any, Any]] = {}
        """What its lanes are made of, by their kind; peers' lanes are its `CipRuntime`'s. Replay takes them."""
        self.actors: LaneActors
        """The actors of those lanes, as soon as the node is open."""
        self._parts = parts

    @property
    def fingerprint(self) -> str:
        """Who this node is."""
        return self.identity.fingerprint

    async def connected(self, peer: str) -> Agreement:
        """Wait until there is an established session with a peer; what was agreed."""
        return await self.cip.connected(peer)

    def __repr__(self) -> str:
        return f"<Node {self.name} {self.fingerprint[:12]}>"

    # --- assembly, in the order in which parts need each other -------------------------------------------

    async def assemble(self, stack: AsyncExitStack) -> None:
        """Open every part, recover, and listen; `stack` closes them again. `open_node` calls it, once."""
        enter = stack.enter_async_context
        await enter(self.cip)
        if self.config.fetch.enabled:
            await self._learn(stack)
        transports = rtt.default_registry()
        endpoint = await enter(rtt.open_endpoint(self.identity, transports=transports, emit=self.hub.emit))
        if self.config.mesh.enabled:
            self._join(endpoint, transports)
        introductions = {} if self.introductions is None else {"introductions": self.introductions.part}
        self.lanes = {
            "knowledge": knowledge_lane(self.knowledge, self.lip),
            "human": self.people.definition,
            "governance": self.mission.definition,
            "server": server_lane(services=self.services.part, **introductions),
        }
        self.actors = await enter(open_lane_actors(self.journal, self.lanes))
        for part in (
            self.knowledge, self.people, self.mission, self.peers, self.services, self.introductions, self.lip,
        ):  # fmt: skip
            if part is not None:
                part.bind(self.actors)
        self._route()
        await self.peers.load()
        await self.configure_peers()
        await self._run(stack, endpoint)

    async def _learn(self, stack: AsyncExitStack) -> None:
        parts = self._parts
        fetcher = await stack.enter_async_context(
            open_fetcher(
                fetch_options(self.config),
                runtime=self.places.runtime,
                clock=self.clock,
                emit=self.hub.emit,
                resolve=parts.resolve,
                dial=parts.dial,
            )
        )
        self.lip = LipRuntime(
            self.journal,
            fetcher,
            self.cip.send,
            ledger=self.knowledge,
            find_claims=parts.find_claims or what_was_seen,
            clock=self.clock,
            ids=self.ids,
            emit=self.hub.emit,
        )

    def _join(self, endpoint: rtt.Endpoint, transports: rtt.Registry) -> None:
        self.mesh = MeshRuntime(
            self.identity,
            cip=self.cip,
            endpoint=endpoint,
            transports=transports,
            policy=MeshForwardingPolicy(relays=self.config.mesh.relays),
            registered=self.peers.has,
            services=partial(offered, self.services),
            emit=self.hub.emit,
            clock=self.clock,
            ids=self.ids,
        )
        self.introductions = Introductions(
            own=self.fingerprint,
            trust=self.trust,
            command=self.cip.trust_command,
            registry=self.peers,
            broadcast=self.mesh.broadcast,
            clock=self.clock,
            ids=self.ids,
            emit=self.hub.emit,
        )

    def _route(self) -> None:
        """Register what handles messages: consent before the agent's loop (HCP-9)."""
        self.people.register(self.router)
        self.knowledge.register(self.router)
        self.memory.register(self.router)
        register_services(self.router, self.services)
        if self.lip is not None:
            self.lip.register(self.router)
        if self._parts.handler is not None:
            self.loop = AgentLoopAdapter(
                self.router,
                self._parts.handler,
                options=self._parts.agent,
                admit=self._parts.admit,
                consent=consent_of(self.people),
                mission=mission_of(self.mission),
                remember=memory_of(self.memory, self.mission),
                clock=self.clock,
                ids=self.ids,
            )
            self.people.hand_on = self.loop.take

    async def configure_peers(self) -> None:
        """Read `peers.toml` again: whom it names is known and dialled, anchors are trusted, others are forgotten.

        Raises:
            PeersFileError: It does not fit; nothing changed.
            RegistryError, JournalError, ActorError: What came before was done.
        """
        named = await trio.to_thread.run_sync(read_peers, self.places.peers)
        await self.peers.configure(named)
        await self.cip.anchor(one for one in named.anchors if self.trust.state(one) != "trusted")

    async def _run(self, stack: AsyncExitStack, endpoint: rtt.Endpoint) -> None:
        nursery = await stack.enter_async_context(_cancelled_nursery())
        stack.callback(self.hub.watch(self.tries.see))
        listeners = [await endpoint.listen(url, admit=self.cip.admit) for url in self.config.rtt.listen]
        self.addresses = tuple(address for one in listeners for address in one.addresses)
        await nursery.start(self.people.run)
        for task in (
            self.knowledge.run,
            self.peers.run,
            self.services.run,
            self.router.run,
            partial(self._serve_all, endpoint, nursery),
            Connector(self.cip, endpoint, self.peers, self.mesh, self._introduced(), tries=self.tries).run,
        ):
            nursery.start_soon(task)
        if self.lip is not None:
            nursery.start_soon(self.lip.run)
        if self.mesh is not None and self.introductions is not None:
            register_introductions(self.mesh, self.introductions)
            await nursery.start(self.mesh.run)
            self.peers.observe(partial(_tell_mesh, self.mesh))
            nursery.start_soon(self.introductions.run)
            nursery.start_soon(self._follow_mesh(self.mesh, self.introductions).run)
        else:
            nursery.start_soon(notice_peers, self.cip, self.peers)
        if self._parts.pace and self.config.limits.pace:
            load = LoadTold(self.knowledge)
            nursery.start_soon(load.run)
            self.pacer = Pacer(
                self.cip,
                sensors=self._parts.sensors,
                queue=lambda: self.router.waiting / self._options.inbox_total,
                observe=load.observe,
                clock=self.clock,
            )
            nursery.start_soon(self.pacer.run)

    def _introduced(self) -> IntroducedPlaces:
        mesh = self.config.mesh
        allowed = ToldAddresses(introduced=mesh.introduced, networks=mesh.allow, own=lambda: self.addresses)
        return IntroducedPlaces(
            allowed,
            reached=self.cip.reached,
            resolve=self._parts.resolve,
            clock=self.clock,
            emit=self.hub.emit,
        )

    def _follow_mesh(self, mesh: MeshRuntime, introductions: Introductions) -> MeshFollower:
        self.graph = LiveGraph(
            own=self.fingerprint,
            registry=self.peers,
            trust=self.trust,
            catalogue=self.services.catalogue,
            address=next(iter(self.addresses), None),
        )
        return MeshFollower(
            mesh=mesh,
            sessions=self.cip,
            trust=self.trust,
            registry=self.peers,
            live=self.graph,
            introductions=introductions,
            emit=self.hub.emit,
        )

    async def _serve_all(self, endpoint: rtt.Endpoint, nursery: trio.Nursery) -> None:
        async for session in endpoint.sessions():
            nursery.start_soon(self.cip.serve, session)


def _tell_mesh(mesh: MeshRuntime, change: PeerChange, peer: str) -> None:
    if change in {"added", "removed"}:
        mesh.reconsider(peer)


@asynccontextmanager
async def _cancelled_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery for tasks that never end: left, it cancels them. What the block raises comes out as it is."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except BaseException as error:  # raised again below, not in the nursery's group
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
