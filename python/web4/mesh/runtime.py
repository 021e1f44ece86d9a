"""The mesh on a node: neighbours from its sessions, ways through them, and what travels there (section 15)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, cast

import trio

from web4.foundation.clock import SystemClock
from web4.foundation.events import no_events
from web4.foundation.ids import SystemIds
from web4.mesh.forwarding.meters import OriginMeters
from web4.mesh.neighbour import Neighbour, is_up
from web4.mesh.passing import Passing
from web4.mesh.policy import MeshForwardingPolicy
from web4.mesh.reaching import Reaching
from web4.mesh.relay import SCHEME, MeshTransport, RelayHub
from web4.mesh.routing import RoutingTable
from web4.mesh.routing.advertiser import Advertiser
from web4.mesh.telling import tell_change, tell_link, tell_refused_ways
from web4.protocols.cip.mesh_path import seal_mesh
from web4.protocols.messages import mesh as m

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.identity import Identity
    from web4.foundation.ids import IdSource
    from web4.mesh.forwarding import DropReason
    from web4.mesh.forwarding.egress import Egress
    from web4.mesh.passing import Handler
    from web4.mesh.routing import Change, Route
    from web4.protocols.cip import CipRuntime
    from web4.protocols.cip.validation import Incoming
    from web4.protocols.messages.vocabulary import ChannelKind
    from web4.rtt import Endpoint, Registry, RttSession
    from web4.rtt.hooks import HookHandle, SessionEvent
    from web4.trust import TrustEvent

_LOOK_MS: Final = 1_000
_AGAIN_MS: Final = 250
"""A neighbour that greets again is told all ways again so much later."""


class MeshRuntime:
    """Takes part in the mesh: offers ways, passes on, and reaches who is no neighbour.

        registry = rtt.default_registry()
        async with rtt.open_endpoint(identity, transports=registry) as endpoint, CipRuntime(...) as cip:
            mesh = MeshRuntime(identity, cip=cip, endpoint=endpoint, transports=registry)
            await nursery.start(mesh.run)
            mesh.reach(fingerprint)                 # keeps an end-to-end session; `cip.send` takes it
            async with mesh.dial(fingerprint) as session: ...

    Sessions that others open over the mesh come out of `Endpoint.sessions()`, as all others.

    Args:
        identity: Who this node is.
        cip: Its sessions. They have to offer `mesh/1.0` and `supports_mesh` (CIP-3).
        endpoint: Where relay carriers are dialled and accepted.
        transports: The endpoint's registry: `mesh://` is made known in it.
        policy: See `MeshForwardingPolicy`.
        registered: Whether the peer registry knows a neighbour (MESH-3, step 6).
        capabilities, services: What its MESH_HELLO says.
        emit: Gets the events `mesh_routed`, `mesh_dropped`, `route_changed`, `topology_changed`.
        clock: Where time comes from.
        ids: Where ids come from.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        cip: CipRuntime,
        endpoint: Endpoint,
        transports: Registry,
        policy: MeshForwardingPolicy | None = None,
        registered: Callable[[str], bool] = lambda _peer: True,
        capabilities: tuple[str, ...] = (),
        services: Callable[[], tuple[m.OfferedService, ...]] = tuple,
        emit: Emitter = no_events,
        clock: Clock | None = None,
        ids: IdSource | None = None,
    ) -> None:
        self.policy = policy = policy or MeshForwardingPolicy()
        self.own = identity.fingerprint
        """Fingerprint of this node."""
        self._identity = identity
        self._cip = cip
        self._endpoint = endpoint
        self._registered = registered
        self._capabilities = capabilities
        self._services = services
        self._emit = emit
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self.table = RoutingTable(self.own, policy, allowed=self._is_allowed, barred=self.barred)
        self._advertiser = Advertiser(self.own, self.table, policy)
        self._meters = OriginMeters(
            rate=policy.relay_bytes_per_second, burst=policy.relay_burst_bytes, origins=policy.origins
        )
        self._links: dict[str, dict[RttSession, list[HookHandle]]] = {}
        self._neighbours: dict[str, Neighbour] = {}
        self._hub = RelayHub(self, clock=self._clock, ids=self._ids)
        self._passing = Passing(
            identity,
            policy=policy,
            clock=self._clock,
            ids=self._ids,
            emit=emit,
            ways=self,
            deliver=self._hub.arrive,
        )
        self._transport = MeshTransport(self._hub, self.own)
        self._reaching = Reaching(cip, endpoint, lambda peer: self.table.route(peer) is not None)
        self._news = trio.Event()
        self._nursery: trio.Nursery | None = None
        transports.register(SCHEME, lambda: self._transport, replace=True)

    # --- what it is used for ----------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part, until cancelled: then every relay stream breaks, and their sessions find no way."""
        listener = await self._endpoint.listen(f"{SCHEME}://{self.own}", admit=self._cip.admit)
        unobserve = self._cip.trust.observe(self._on_trust)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._hub.run)
                nursery.start_soon(self._reaching.run)
                nursery.start_soon(self._keep_time)
                self._cip.mesh = self
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._cip.mesh = None
            unobserve()
            for peer in list(self._neighbours):
                self._forget(peer)
            self._hub.close()
            with trio.CancelScope(shield=True):
                await listener.aclose()

    @property
    def dropped(self) -> Counter[DropReason]:
        """Envelopes that were dropped here, by the reason."""
        return self._passing.dropped

    @property
    def routed(self) -> int:
        """Envelopes that were passed on."""
        return self._passing.routed

    def dial(self, peer: str) -> AbstractAsyncContextManager[RttSession]:
        """Open an end-to-end session with a peer, served and established; see `Reaching.dial`."""
        return self._reaching.dial(peer)

    def reach(self, peer: str) -> None:
        """Keep an end-to-end session with a peer from now on, whenever there is a way and no other session."""
        self._reaching.want(peer)

    def unreach(self, peer: str) -> None:
        """Take `reach` back."""
        self._reaching.unwant(peer)

    def on_broadcast(self, type_name: str, handler: Handler) -> None:
        """Let `handler` have every broadcast of this type, each once. What it raises is reported and harms nobody.

        Raises:
            ValueError: The type has a handler already.
        """
        self._passing.on_broadcast(type_name, handler)

    def broadcast(self, payload: m.MeshIntroduce | m.MeshRevoke) -> str:
        """Tell all who are within reach (MESH-6); the envelope's id. It is said once.

        Raises:
            PayloadSchemaError: The payload does not fit its schema.
        """
        return self._passing.broadcast(payload)

    def reconsider(self, peer: str) -> None:
        """The peer registry knows a node now, or no more, or its trust moved: ways may open or close (MESH-3)."""
        self._changed(self.table.trust_changed(peer, self._now_ms()))
        self._advertiser.refresh(peer)
        self._news.set()

    def neighbours(self) -> dict[str, m.MeshHello | None]:
        """The neighbours to whom there is a link, and what they said of themselves."""
        return {peer: one.hello for peer, one in sorted(self._neighbours.items())}

    def route(self, destination: str) -> Route | None:
        """The way that is taken to a destination now."""
        return self.table.route(destination)

    # --- the session's face: `MeshPort` -----------------------------------------------------------------

    def link_up(self, peer: str, session: RttSession) -> None:
        """See `MeshPort.link_up`."""
        self._reaching.changed()
        links = self._links.setdefault(peer, {})
        if session in links:
            return
        links[session] = [
            session.hooks.register("on_suspend", partial(self._on_carrier, peer)),
            session.hooks.register("on_resume", partial(self._on_carrier, peer)),
        ]
        self._look_at(peer)

    def link_down(self, peer: str, session: RttSession) -> None:
        """See `MeshPort.link_down`."""
        self._reaching.changed()
        for handle in self._links.get(peer, {}).pop(session, ()):
            session.hooks.unregister(handle)
        self._look_at(peer)
        if not self._links.get(peer):
            self._links.pop(peer, None)

    async def receive(self, peer: str, incoming: Incoming, channel: ChannelKind) -> None:
        """See `MeshPort.receive`: an envelope whose form, signature, age and last hop are right (MESH-3, step 1)."""
        message = cast("m.MeshMessage", incoming.message)
        neighbour = self._neighbours.get(peer)
        if neighbour is None:
            self._passing.drop("no_link", peer, message)
            return
        self._heard(peer, neighbour)
        if isinstance(message, m.MeshHelloEnvelope):
            self._greeted(neighbour, message.payload)
        elif isinstance(message, m.MeshRoutesEnvelope):
            self._offered(peer, message)
        else:
            await self._passing.pass_on(peer, message, incoming)

    # --- what passing on needs: `Ways` ------------------------------------------------------------------

    def barred(self, peer: str) -> bool:
        """See `Ways.barred`."""
        return self._cip.trust.state(peer) == "blacklisted"

    def next_hop(self, destination: str) -> str | None:
        """See `Ways.next_hop`."""
        route = self.table.route(destination)
        return route.next if route is not None and route.next in self._neighbours else None

    def next_hops(self) -> list[str]:
        """See `Ways.next_hops`."""
        return [peer for peer in self._neighbours if self.table.is_next_hop(peer)]

    def egress(self, neighbour: str) -> Egress:
        """See `Ways.egress`."""
        return self._neighbours[neighbour].egress

    # --- the relay's face: `Carriage` -------------------------------------------------------------------

    def say(self, peer: str, part: m.MeshRelay, via: str | None) -> bool:
        """See `Carriage.say`."""
        egress = self._egress_to(peer, via)
        return egress is not None and egress.offer(self.own, self._sealed(part, peer), own=True)

    def full(self, peer: str, via: str | None) -> bool:
        """See `Carriage.full`."""
        egress = self._egress_to(peer, via)
        return egress is not None and egress.full(self.own)

    async def wait_for_room(self, peer: str, via: str | None) -> None:
        """See `Carriage.wait_for_room`."""
        egress = self._egress_to(peer, via)
        if egress is not None:
            await egress.wait_for_room(self.own)

    def dead(self, peer: str, via: str | None) -> None:
        """See `Carriage.dead`."""
        following = via or self.next_hop(peer)
        if following is not None:
            self._changed(self.table.suspect(following, peer, self._now_ms()))

    # --- neighbours -------------------------------------------------------------------------------------

    def _on_carrier(self, peer: str, _event: SessionEvent) -> None:
        self._look_at(peer)

    def _look_at(self, peer: str) -> None:
        """See whether there is a link to a neighbour, and do what follows if that has changed (MESH-5)."""
        up = any(is_up(session) for session in self._links.get(peer, ()))
        if up and peer not in self._neighbours and self._nursery is not None:
            neighbour = self._neighbours[peer] = Neighbour(
                peer, cip=self._cip, policy=self.policy, meters=self._meters, clock=self._clock
            )
            tell_link(self._emit, peer, "link_up")
            changes = self.table.link_up(peer, cost=neighbour.meter.cost, now_ms=self._now_ms())
            self._advertiser.link_up(peer, self._now_ms())
            self._nursery.start_soon(
                neighbour.run,
                partial(self._hello_to, peer),
                self.policy.advertise_ms,
                self._measured(neighbour),
            )
            self._changed(changes)
        elif not up and peer in self._neighbours:
            self._forget(peer)

    def _forget(self, peer: str) -> None:
        self._neighbours.pop(peer).close()
        tell_link(self._emit, peer, "link_down")
        self._advertiser.link_down(peer)
        changes = self.table.link_down(peer, self._now_ms())
        self._changed(changes)
        lost = {one.destination for one in changes if one.before is not None and one.before.next == peer}
        self._hub.break_over(peer, lost)

    def _heard(self, peer: str, neighbour: Neighbour) -> None:
        if self.table.knows(peer):
            self.table.heard(peer, self._now_ms())
        else:  # it had been silent for so long that it was not routable any more (MESH-8)
            self._changed(self.table.link_up(peer, cost=neighbour.meter.cost, now_ms=self._now_ms()))
            self._advertiser.refresh(peer)
            self._news.set()

    def _measured(self, neighbour: Neighbour) -> Callable[[], None]:
        def moved() -> None:
            self._changed(self.table.link_costs(neighbour.peer, neighbour.meter.cost, self._now_ms()))

        return moved

    def _hello_to(self, peer: str) -> bytes:
        policy = self.policy
        limits = m.PolicyLimits(
            max_hops=policy.max_hops,
            ttl_ms=policy.ttl_ms,
            relays=policy.relays,
            relay_bytes_per_second=policy.relay_bytes_per_second,
        )
        hello = m.MeshHello(capabilities=self._capabilities, services=self._services(), limits=limits)
        return self._sealed(hello, peer)

    def _greeted(self, neighbour: Neighbour, hello: m.MeshHello) -> None:
        known, neighbour.hello = neighbour.hello, hello
        self._changed(self.table.relays(neighbour.peer, hello.limits.relays, self._now_ms()))
        # It is ready to hear now what it may have refused before; who greets all the time is told now and then.
        self._advertiser.refresh(neighbour.peer, 0 if known is None else self._now_ms() + _AGAIN_MS)
        self._news.set()

    def _offered(self, peer: str, message: m.MeshRoutesEnvelope) -> None:
        before = self.table.refused.copy()
        offer = message.payload
        self._changed(
            self.table.offered(
                peer, offer.routes, withdrawn=offer.withdrawn, whole=offer.whole, now_ms=self._now_ms()
            )
        )
        tell_refused_ways(self._emit, peer, self.table.refused - before)

    def _egress_to(self, destination: str, via: str | None) -> Egress | None:
        leads = via is not None and via in self._neighbours and self.table.leads(via, destination)
        following = via if leads else self.next_hop(destination)
        return None if following is None else self._neighbours[following].egress

    def _sealed(self, payload: m.MeshPayload, destination: str) -> bytes:
        return seal_mesh(
            self._identity,
            payload,
            destination=destination,
            id=self._ids.uuid4(),
            now_ms=self._clock.wall_ms(),
            ttl_ms=self.policy.ttl_ms,
        )

    # --- trust and time ---------------------------------------------------------------------------------

    def _is_allowed(self, peer: str) -> bool:
        return self._registered(peer) and self.policy.trusts(self._cip.trust.state(peer))

    def _on_trust(self, peer: str, event: TrustEvent) -> None:
        if event.moved:
            self.reconsider(peer)
            if (neighbour := self._neighbours.get(peer)) is not None:
                neighbour.greet()  # what it offered before was refused: it offers it again (TRUST-6)

    async def _keep_time(self) -> None:
        """Offer ways when it is time to, and forget what is stale."""
        while True:
            self._news = trio.Event()
            now_ms = self._now_ms()
            self._changed(self.table.expire(now_ms))
            for peer, offer in self._advertiser.due(now_ms):
                neighbour = self._neighbours.get(peer)
                if neighbour is not None and self._is_allowed(peer):
                    neighbour.egress.say(self._sealed(offer, peer))
            wait_ms = min(_LOOK_MS, self._advertiser.next_ms() - now_ms)
            with trio.move_on_after(max(0.001, wait_ms / 1_000)):
                await self._news.wait()

    def _changed(self, changes: Iterable[Change]) -> None:
        for change in changes:
            tell_change(self._emit, change)
            self._advertiser.changed(self._now_ms())
            self._reaching.changed(None if change.after is None else change.destination)
            self._news.set()

    def _now_ms(self) -> int:
        return self._clock.monotonic_ns() // 1_000_000
