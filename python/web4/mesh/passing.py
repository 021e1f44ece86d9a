"""Passing on: what becomes of envelopes that neighbours hand over, done as `decide` says (MESH-3, MESH-6)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import trio

from web4.foundation import envelope as envelopes
from web4.mesh.forwarding import Drop, Forward, SeenCache, Situation, Spread, decide
from web4.mesh.forwarding.meters import OriginMeters
from web4.protocols.cip.mesh_path import seal_mesh
from web4.protocols.messages import mesh as m
from web4.protocols.messages.vocabulary import type_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.identity import Identity
    from web4.foundation.ids import IdSource
    from web4.mesh.forwarding import Deliver, DropReason
    from web4.mesh.forwarding.egress import Egress
    from web4.mesh.forwarding.seen import Seen
    from web4.mesh.policy import MeshForwardingPolicy
    from web4.protocols.cip.validation import Incoming

    Handler = Callable[[m.MeshMessage, str], Awaitable[None]]
    """Takes in a broadcast that was delivered here, and the neighbour who passed it on."""

_SEEN_IN_ALL: Final = 131_072
_BROADCASTS_PER_SECOND: Final = 20.0
_BROADCAST_BURST: Final = 100.0
_HANDLER_SECONDS: Final = 5.0


class Ways(Protocol):
    """What passing on needs to know of neighbours and ways."""

    def barred(self, peer: str) -> bool:
        """Whether a node is blacklisted here."""
        ...

    def next_hop(self, destination: str) -> str | None:
        """The neighbour that the way to a destination begins with, if there is one."""
        ...

    def next_hops(self) -> list[str]:
        """The neighbours who may be a next hop."""
        ...

    def egress(self, neighbour: str) -> Egress:
        """What waits for a neighbour."""
        ...


class Passing:
    """Decides about each envelope once, counts what is dropped, and says so.

    Args:
        identity: Who this node is.
        policy: See `MeshForwardingPolicy`.
        clock: Where time comes from.
        ids: Where ids come from.
        emit: Gets `mesh_routed`, `mesh_dropped`.
        ways: See `Ways`.
        deliver: Takes the origin, a relayed part for this node, and the neighbour who handed it over.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        policy: MeshForwardingPolicy,
        clock: Clock,
        ids: IdSource,
        emit: Emitter,
        ways: Ways,
        deliver: Callable[[str, m.MeshRelay, str], None],
    ) -> None:
        self.dropped: Counter[DropReason] = Counter()
        """Envelopes that were dropped, by the reason."""
        self.routed = 0
        """Envelopes that were passed on."""
        self._identity = identity
        self._own = identity.fingerprint
        self._policy = policy
        self._clock = clock
        self._ids = ids
        self._emit = emit
        self._ways = ways
        self._deliver_part = deliver
        self._seen = SeenCache(each=policy.seen, total=_SEEN_IN_ALL)
        self._broadcasts = OriginMeters(
            rate=_BROADCASTS_PER_SECOND, burst=_BROADCAST_BURST, origins=policy.origins
        )
        self._handlers: dict[str, Handler] = {}

    def on_broadcast(self, type_name: str, handler: Handler) -> None:
        """Let `handler` have every broadcast of a type.

        Raises:
            ValueError: The type has a handler already.
        """
        if type_name in self._handlers:
            raise ValueError(f"{type_name} has a handler")
        self._handlers[type_name] = handler

    def broadcast(self, payload: m.MeshIntroduce | m.MeshRevoke) -> str:
        """Give a broadcast of this node to its neighbours; the envelope's id."""
        now_ms = self._clock.wall_ms()
        data = seal_mesh(
            self._identity,
            payload,
            destination=m.BROADCAST,
            id=self._ids.uuid4(),
            now_ms=now_ms,
            ttl_ms=self._policy.ttl_ms,
        )
        message: m.MeshMessage = msgspec.json.decode(data, type=m.ENVELOPES[type_of(payload).name])
        self._seen.remember(self._own, message.id, self._own, now_ms + self._policy.ttl_ms)
        decision = self._decide(message, self._own, now_ms, "new")
        if isinstance(decision, Spread):
            for peer in decision.to:
                self._ways.egress(peer).say(data)
        return message.id

    async def pass_on(self, peer: str, message: m.MeshMessage, incoming: Incoming) -> None:
        """Decide about an envelope that `peer` handed over, and do it."""
        seen = self._seen.look(message.origin, message.id, peer, self._clock.wall_ms())
        decision = self._decide(message, peer, incoming.timestamp_ms, seen)
        if isinstance(decision, Drop):
            self.drop(decision.reason, peer, message)
            return
        if isinstance(decision, Spread) and not self._may_spread(message.origin):
            self.drop("rate", peer, message)
            return
        self._seen.remember(message.origin, message.id, peer, incoming.timestamp_ms + message.ttl_ms)
        if isinstance(decision, Forward):
            self._forward(peer, message, incoming, decision.next)
            return
        if isinstance(decision, Spread) and decision.to:
            data = envelopes.with_hop(incoming.envelope, self._own)
            for other in decision.to:
                if self._ways.egress(other).say(data):
                    self._told(peer, message, other)
        await self._deliver(peer, message)

    def drop(self, reason: DropReason, peer: str, message: m.MeshMessage) -> None:
        """Count an envelope of which nothing becomes, and say so."""
        self.dropped[reason] += 1
        self._emit(
            "mesh_dropped",
            severity="warning",
            peer=peer,
            protocol="mesh",
            msg_id=message.id,
            reason=reason,
            type=message.type,
            origin=message.origin,
            destination=message.destination,
            hops=len(message.hops),
        )

    # --- inside -----------------------------------------------------------------------------------------

    def _decide(
        self, message: m.MeshMessage, peer: str, created_ms: int, seen: Seen
    ) -> Deliver | Forward | Spread | Drop:
        return decide(
            message,
            Situation(
                own=self._own,
                peer=peer,
                now_ms=self._clock.wall_ms(),
                created_ms=created_ms,
                policy=self._policy,
                barred=self._ways.barred,
                seen=seen,
                next_hop=self._ways.next_hop,
                neighbours=self._ways.next_hops() if message.destination == m.BROADCAST else (),
            ),
        )

    def _forward(self, peer: str, message: m.MeshMessage, incoming: Incoming, following: str) -> None:
        data = envelopes.with_hop(incoming.envelope, self._own)
        if self._ways.egress(following).offer(message.origin, data):
            self._told(peer, message, following)
        else:
            self.drop("rate", peer, message)

    async def _deliver(self, peer: str, message: m.MeshMessage) -> None:
        if isinstance(message, m.MeshRelayEnvelope):
            self._deliver_part(message.origin, message.payload, peer)
            return
        handler = self._handlers.get(message.type)
        if handler is None:
            self._emit("envelope_unhandled", peer=peer, protocol="mesh", msg_id=message.id, type=message.type)
            return
        try:
            with trio.fail_after(_HANDLER_SECONDS):
                await handler(message, peer)
        except Exception as error:
            # A handler's mistake is its own (ROUTE-5).
            self._emit("error", severity="error", peer=peer, where=message.type, error=type(error).__name__)

    def _may_spread(self, origin: str) -> bool:
        bucket = self._broadcasts.of(origin)
        if bucket.wait_ms(1, self._clock.monotonic_ns() / 1e6):
            return False
        bucket.take(1)
        return True

    def _told(self, peer: str, message: m.MeshMessage, following: str) -> None:
        self.routed += 1
        self._emit(
            "mesh_routed",
            severity="debug",
            peer=peer,
            protocol="mesh",
            msg_id=message.id,
            type=message.type,
            origin=message.origin,
            destination=message.destination,
            hops=len(message.hops),
            next=following,
        )
