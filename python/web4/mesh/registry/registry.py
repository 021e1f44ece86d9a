"""The peer registry: what lane `server` knows of peers, and when each was last heard of (MESH-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import trio

from web4.journal.lane import SERVER
from web4.mesh.registry.addresses import MAX_ADDRESSES, check_address
from web4.mesh.registry.errors import AddressError, RegistryError
from web4.mesh.registry.peers_events import OfferedByPeer, PeerEntry
from web4.mesh.registry.peers_logic import MAX_PEERS, PEERS, ForgetPeer, KnowPeer, PeersReply, PeersState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from web4.actors.lane_actors import LaneActors
    from web4.actors.lane_ref import LaneRef
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.mesh.registry.peers_events import PeerSource
    from web4.mesh.registry.peers_file import PeersFile

STALE_SECONDS: Final = 90.0
"""Seconds of silence after which a peer is stale and no route leads over it (MESH-8)."""
_LOOKS: Final = 6
"""How often staleness is looked for within that time."""

PeerChange = Literal["added", "changed", "removed", "live", "stale"]


class KnownPeer(NamedTuple):
    """A peer as the registry knows it.

    Args:
        entry: What its lane says.
        last_seen_ms: When it was last heard of in the life of this process, Unix milliseconds; telemetry (WEB-3).
        live: Whether that was recent enough to route over it.
    """

    entry: PeerEntry
    last_seen_ms: int | None
    live: bool


class PeerRegistry:
    """The peers that this node knows of. Reading is at once; what is changed is durable when the call returns.

        registry = PeerRegistry(own=identity.fingerprint, clock=clock, emit=emit)
        async with open_lane_actors(journal, {"server": server_lane(...)}) as actors:
            registry.bind(actors)
            await registry.load()
            nursery.start_soon(registry.run)
            await registry.configure(read_peers(path))

    Args:
        own: This node's fingerprint.
        clock: Where time comes from.
        emit: Gets `peer_added`, `peer_removed` and `topology_changed` (OBS-2).
        stale_seconds: See `STALE_SECONDS`.
    """

    def __init__(
        self, *, own: str, clock: Clock, emit: Emitter, stale_seconds: float = STALE_SECONDS
    ) -> None:
        self._own = own
        self._clock = clock
        self._emit = emit
        self._stale_ns = int(stale_seconds * 1e9)
        self._lane: LaneRef | None = None
        self._state = PeersState()
        self._seen: dict[str, tuple[int, int]] = {}
        """When each was last heard of: wall clock in milliseconds, monotonic in nanoseconds. Bounded by the state."""
        self._live: set[str] = set()
        self._observers: list[Callable[[PeerChange, str], None]] = []

    def bind(self, actors: LaneActors) -> None:
        """Work on these actors' lane `server`, of which `PEERS` is a part."""
        self._lane = actors.lane(SERVER)

    async def load(self) -> None:
        """Read what the lane says: before, nothing is known.

        Raises:
            LaneHalted, JournalUnavailable, ActorStoppedError: The lane cannot be read.
        """
        self._state = PEERS.of(await self._bound().state())

    async def run(self) -> None:
        """Notice who falls silent, for ever."""
        while True:
            await trio.sleep(self._stale_ns / 1e9 / _LOOKS)
            self.look()

    # --- reading ----------------------------------------------------------------------------------------

    def has(self, fingerprint: str) -> bool:
        """Whether the peer is known."""
        return fingerprint in self._state.peers

    def get(self, fingerprint: str) -> KnownPeer | None:
        """What is known of a peer; None if it is not known."""
        entry = self._state.peers.get(fingerprint)
        if entry is None:
            return None
        seen = self._seen.get(fingerprint)
        return KnownPeer(entry, None if seen is None else seen[0], self.live(fingerprint))

    def all(self) -> list[KnownPeer]:
        """All peers that are known, by fingerprint."""
        found = (self.get(one) for one in sorted(self._state.peers))
        return [one for one in found if one is not None]

    def live(self, fingerprint: str) -> bool:
        """Whether a peer is known and was heard of within the last 90 s: else nothing is routed over it."""
        seen = self._seen.get(fingerprint)
        recent = seen is not None and self._clock.monotonic_ns() - seen[1] < self._stale_ns
        return recent and fingerprint in self._state.peers

    def observe(self, observer: Callable[[PeerChange, str], None]) -> Callable[[], None]:
        """Call `observer(change, fingerprint)` after each change from now on; returns how to end that."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer) if observer in self._observers else None

    # --- telemetry --------------------------------------------------------------------------------------

    def seen(self, fingerprint: str) -> None:
        """A proven session of the peer showed life. Nothing if the peer is not known."""
        if fingerprint not in self._state.peers:
            return
        self._seen[fingerprint] = (self._clock.wall_ms(), self._clock.monotonic_ns())
        if fingerprint not in self._live:
            self._live.add(fingerprint)
            self._tell("live", fingerprint)

    def lost(self, fingerprint: str) -> None:
        """The peer's last session ended: it is stale at once, and not after 90 s (MESH-5)."""
        if self._seen.pop(fingerprint, None) is not None:
            self.look()

    def look(self) -> None:
        """Notice who is stale by now."""
        for fingerprint in sorted(self._live):
            if not self.live(fingerprint):
                self._live.discard(fingerprint)
                self._tell("stale", fingerprint)

    # --- changing ---------------------------------------------------------------------------------------

    async def add(
        self,
        fingerprint: str,
        *,
        source: PeerSource,
        agent_id: str | None = None,
        addresses: Iterable[str] | None = None,
        capabilities: Iterable[str] | None = None,
        services: Iterable[tuple[str, str]] | None = None,
        told_by: str | None = None,
    ) -> PeerEntry:
        """Know a peer, or more of it; what is left out stays as it is known. Durable when it returns.

        Cancellation: it may have happened all the same; the lane tells.

        Args:
            fingerprint: Who.
            source: Who tells of it. What a weaker source says does not replace a stronger one's addresses.
            agent_id: What it calls itself.
            addresses: Where it may be dialled; at most 8.
            capabilities: What it can do.
            services: Names and versions of what it offers.
            told_by: The introducer who names the addresses: see `ToldAddresses`.

        Raises:
            RegistryError: `own_fingerprint`, or `registry_full`.
            AddressError: One of the addresses is none.
            JournalError, ActorError: The lane does not take it.
        """
        if fingerprint == self._own:
            raise RegistryError("this is the node itself", code="own_fingerprint")
        checked = None if addresses is None else tuple(addresses)
        if checked is not None:
            if len(checked) > MAX_ADDRESSES:
                raise AddressError(f"a peer has up to {MAX_ADDRESSES} addresses")
            for one in checked:
                check_address(one, peer=fingerprint)
        offered = (
            None
            if services is None
            else tuple(OfferedByPeer(name=name, version=version) for name, version in services)
        )
        known = self.has(fingerprint)
        victim = self._victim() if not known and len(self._state.peers) >= MAX_PEERS else None
        command = KnowPeer(
            at=self._clock.wall_ms(),
            fingerprint=fingerprint,
            source=source,
            agent_id=agent_id,
            addresses=checked,
            capabilities=None if capabilities is None else tuple(capabilities),
            services=offered,
            told_by=told_by,
            evict=victim,
        )
        reply = await self._ask(command)
        if reply.refused is not None or reply.entry is None:
            self._emit("topology_changed", severity="warning", peer=fingerprint, change="registry_full")
            raise RegistryError(
                f"{MAX_PEERS:,} peers are known already", code="registry_full", peer=fingerprint
            )
        return reply.entry

    async def remove(self, fingerprint: str, *, by: str = "operator", reason: str = "operator") -> None:
        """Know a peer no more; its trust stays what it is. Durable when it returns.

        Raises:
            RegistryError: `unknown_peer`.
            JournalError, ActorError: The lane does not take it.
        """
        command = ForgetPeer(at=self._clock.wall_ms(), fingerprint=fingerprint, reason=reason, by=by)
        if (await self._ask(command)).refused is not None:
            raise RegistryError("there is no such peer", code="unknown_peer", peer=fingerprint)

    async def configure(self, file: PeersFile) -> None:
        """Know the peers of the peers file, and no other as configured. Durable when it returns.

        Raises:
            RegistryError, JournalError, ActorError: See `add`; what came before was done.
        """
        named = {one.fingerprint for one in file if one.fingerprint != self._own}
        for fingerprint, entry in sorted(self._state.peers.items()):
            if entry.source == "configured" and fingerprint not in named:
                await self.remove(fingerprint, by="configuration", reason="not_configured")
        for one in file:
            if one.fingerprint != self._own:
                await self.add(one.fingerprint, source="configured", addresses=one.addresses)

    # --- inside -----------------------------------------------------------------------------------------

    def _bound(self) -> LaneRef:
        if self._lane is None:
            raise RuntimeError("the registry has no lane yet: call bind")
        return self._lane

    async def _ask(self, command: KnowPeer | ForgetPeer) -> PeersReply:
        lane = self._bound()
        reply: PeersReply = await lane.ask(command)
        # Nothing is awaited between reading the state and keeping it: a later reader never brings back an older one.
        self._take(PEERS.of(await lane.state()))
        return reply

    def _take(self, state: PeersState) -> None:
        """Keep a newer state, and say what changed."""
        before, self._state = self._state.peers, state
        if before is state.peers:
            return
        for fingerprint in sorted(before.keys() | state.peers.keys()):
            old, new = before.get(fingerprint), state.peers.get(fingerprint)
            if old is new or old == new:
                continue
            if new is None:
                self._seen.pop(fingerprint, None)
                self._live.discard(fingerprint)
            self._tell("added" if old is None else "removed" if new is None else "changed", fingerprint)

    def _victim(self) -> str | None:
        """Who gives way: of the weakest, the one that was silent longest."""
        silent = [one for one in self._state.peers.values() if not self.live(one.fingerprint)]
        if not silent:
            return None
        never = (0, 0)
        return min(
            silent,
            key=lambda one: (one.source != "inbound", self._seen.get(one.fingerprint, never), one.at_ms),
        ).fingerprint

    def _tell(self, change: PeerChange, fingerprint: str) -> None:
        entry = self._state.peers.get(fingerprint)
        source = None if entry is None else entry.source
        if change == "added":
            self._emit("peer_added", peer=fingerprint, source=source)
        elif change == "removed":
            self._emit("peer_removed", peer=fingerprint)
        if change != "changed":
            self._emit("topology_changed", peer=fingerprint, change=change, peers=len(self._state.peers))
        for observer in tuple(self._observers):
            observer(change, fingerprint)
