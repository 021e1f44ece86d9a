"""CIP on a node: serves sessions, hands messages to the application, sends what it says (WEB-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import trio

from web4.foundation.clock import SystemClock
from web4.foundation.events import no_events
from web4.foundation.ids import SystemIds
from web4.protocols.cip.context import CipContext
from web4.protocols.cip.inbox import Inbox
from web4.protocols.cip.intents import refuse_all
from web4.protocols.cip.link import Link
from web4.protocols.cip.links import Links
from web4.protocols.cip.mesh_path import mesh_agreed
from web4.protocols.cip.meters import AddressMeters
from web4.protocols.cip.outbox.outboxes import Outboxes
from web4.protocols.cip.peers import Peers
from web4.protocols.cip.speaking import Speaking
from web4.protocols.errors import NotConnectedError
from web4.trust import Anchored, EvidenceStore, TrustRegistry

_SETTLE_SECONDS: Final = 2

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.identity import Identity
    from web4.foundation.ids import IdSource
    from web4.journal.journal import Journal
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.cip.agreement import Agreement
    from web4.protocols.cip.intents import AcceptIntent, IntentAnswer
    from web4.protocols.cip.mesh_path import MeshPort
    from web4.protocols.cip.options import CipOptions
    from web4.protocols.messages import cip as m
    from web4.protocols.messages.fields import Presence, StateClaim
    from web4.protocols.messages.vocabulary import ChannelKind
    from web4.rtt import RttSession
    from web4.trust import TrustCommand, TrustEvent, TrustOutcome


class CipRuntime(Speaking):
    """Speaks CIP over RTT sessions.

        async with CipRuntime(identity, options=CipOptions(agent_id="ada")) as cip:
            nursery.start_soon(cip.serve, session)
            await cip.established(session)
            await cip.send_intent(session.peer, goal="ask", topic="weather")
            async for delivery in cip.inbox: ...

    Leaving the block closes every session that is being served.

    Args:
        identity: Who this node is.
        options: See `CipOptions`.
        trust: The node's trust in its peers; a new registry when left out.
        accept_intent: Asked about each INTENT that was let in, within `CipOptions.intent_deadline_ms`; what it
            accepts comes into the inbox. Without it every INTENT is refused as `unhandled`.
        emit: Gets the events (OBS-2).
        clock: Where time comes from.
        ids: Where ids, nonces and challenges come from; guessable ones only in tests.
        journal: Where peers' lanes are kept (TRUST-7, REP-2): trust, replay window and evidence outlive a restart,
            and no answer leaves before what it says is durable. The trust registry must be a new one then, and
            shows what is durable. Left out, all of it lives in memory and a restart forgets it.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        options: CipOptions,
        trust: TrustRegistry | None = None,
        accept_intent: AcceptIntent = refuse_all,
        emit: Emitter = no_events,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.inbox = Inbox(
            per_peer=options.inbox_per_peer,
            total=options.inbox_total,
            bytes_per_peer=options.inbox_bytes_per_peer,
            bytes_total=options.inbox_bytes_total,
        )
        """What waits for the application: every message that was let in but telemetry and the handshake's."""
        self.trust = TrustRegistry(emit=emit) if trust is None else trust
        self._context = CipContext(
            identity=identity,
            options=options,
            clock=SystemClock() if clock is None else clock,
            ids=SystemIds() if ids is None else ids,
            emit=emit,
            trust=self.trust,
            room=self.inbox.room,
            evidence=EvidenceStore(blobs=journal is not None),
            strangers=options.turns(),
        )
        self.accept_intent = accept_intent
        """Asked about each INTENT; whoever runs the agent's loop may set it."""
        self._peers = Peers(self._context, journal, linked=self._linked, broken=self._on_broken)
        self._outboxes = Outboxes(self._context, self._peers, self.inbox, self._accepts)
        self._links = Links()
        self._served: WeakKeyDictionary[RttSession, Link] = WeakKeyDictionary()
        self._changed = trio.lowlevel.ParkingLot()
        self._addresses = AddressMeters(options.handshakes_per_second, options.handshake_burst)
        self._entered = False
        self._unobserve = self.trust.observe(self._on_trust)

    async def __aenter__(self) -> Self:
        waiting = await self._peers.remember()
        self._tending = trio.open_nursery()
        nursery = self._nursery = await self._tending.__aenter__()
        for peer in waiting:
            nursery.start_soon(self._outboxes.deliver_again, peer)
        nursery.start_soon(self._outboxes.run)
        nursery.start_soon(self._peers.tend)
        self._entered = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._entered = False
        self.inbox.close()
        for link in self._links.every():
            link.close("shutdown")
            link.session.closed()
        self._nursery.cancel_scope.cancel()
        try:
            await self._tending.__aexit__(None, None, None)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(_SETTLE_SECONDS):
                await self._outboxes.settle_all()
            await self._peers.close()
            self._unobserve()

    # --- how this node is, and how others are -----------------------------------------------------------

    async def trust_command(
        self, peer: str, command: TrustCommand, *, cause: str | None = None
    ) -> TrustOutcome:
        """Let an operator, or another room, say something about a peer's trust (TRUST-9).

        With a `cause`, the id of a message or of a decision, it happens once for each peer and cause (ROUTE-3): said
        again it changes nothing, and the outcome has no event.

        With a journal this returns once it is durable, and observers have heard of it. Cancelled, it may have
        happened all the same.

        Raises:
            TrustCommandError: The command lacks a human, a reason, evidence or a trusted introducer.
            TrustViolationError: `newcomer_limit` (TRUST-10).
            JournalError: The journal does not take it; nothing has changed.
        """
        return await self._peers.command(peer, command, cause=cause)

    async def anchor(self, peers: Iterable[str]) -> None:
        """Raise `anchored` for every peer that the configuration pins (TRUST-5).

        Raises:
            JournalError: As `trust_command`; the peers before were anchored.
        """
        for peer in peers:
            await self.trust_command(peer, Anchored(at_ms=self._context.clock.wall_ms()))

    async def evidence(self, blake3: str) -> bytes | None:
        """The envelope that a trust event cites by this BLAKE3-256, in hex; None if it is not kept.

        Raises:
            JournalError: It cannot be read, or is not what was kept.
        """
        return await self._peers.evidence(blake3)

    @property
    def state(self) -> StateClaim:
        """How this node is, as STATE_UPDATE says it."""
        return self._context.state

    def set_state(
        self,
        *,
        presence: Presence | None = None,
        lri: int | None = None,
        kernel_signals: tuple[str, ...] | None = None,
        intent: str | None = None,
    ) -> None:
        """Say how this node is now; what is left out stays. `overloaded` defers HELLO and INTENT from now on.

        Raises:
            msgspec.ValidationError: A value is outside its range.
        """
        self._context.be(presence=presence, lri=lri, kernel_signals=kernel_signals, intent=intent)

    def peer_state(self, peer: str) -> m.StateUpdate | None:
        """The newest STATE_UPDATE of a peer, if there was one (WEB-3)."""
        known = self._peers.get(peer)
        return None if known is None else known.newest_state

    def peers(self, *, up: bool = False) -> list[str]:
        """The peers with an established session; with `up` only those whose session has a carrier now."""
        return self._links.peers(up=up)

    def reached(self, peer: str) -> str | None:
        """The host at which a peer's own session ends: an IP address, empty for this machine; None if there is none.

        Whoever is reached over other nodes has none here.
        """
        hosts = [link.rtt.remote_host for link in self._links.of(peer) if link.established]
        return next((host for host in reversed(hosts) if host is not None), None)

    def sessions(self, peer: str) -> list[RttSession]:
        """The sessions with a peer that are being served, established or not, oldest first."""
        return [link.rtt for link in self._links.of(peer)]

    async def sessions_changed(self) -> None:
        """Wait until a session is established, or one ends."""
        await self._changed.park()

    def agent_id(self, peer: str) -> str | None:
        """What a peer calls itself, without authority, as far as it is held (ID-3)."""
        known = self._peers.get(peer)
        return None if known is None else known.agent_id

    def agreement(self, peer: str) -> Agreement | None:
        """What was agreed with a peer last, as far as it is held; None if nothing was (HS-4)."""
        link = self._best(peer)
        if link is not None:
            return link.agreement
        known = self._peers.get(peer)
        steps = () if known is None else tuple(known.lane.state.handshakes.values())
        agreed = [step for step in steps if step.agreement is not None]
        return max(agreed, key=lambda step: step.heard_ms).agreement if agreed else None

    # --- sessions ---------------------------------------------------------------------------------------

    def admit(self, fingerprint: str, address: str) -> bool:
        """Say whether a proven peer may have a session; for `Endpoint.listen(admit=...)` (RTT-6).

        Refuses the blacklisted (HS-6), peers whose lane the journal had to halt, and more handshakes of one address
        than allowed (section 22).
        """
        if not self._peers.readable(fingerprint):
            return False
        if self.trust.state(fingerprint) == "blacklisted":
            self._peers.report_blacklisted(fingerprint)
            return False
        return self._addresses.take(address, self._context.clock.monotonic_ns())

    async def serve(self, session: RttSession) -> None:
        """Handshake, then read the session's channels until it ends. Run it as a task of its own.

        Whatever the peer does, this returns and never raises; `established` tells whether the handshake
        succeeded, events tell the rest. Cancelled, it closes the session at once.

        Raises:
            RuntimeError: The runtime's block was not entered, or was left.
        """
        if not self._entered:
            raise RuntimeError("serve sessions inside the runtime's block")
        link = self._link(session)
        self._links.add(link)
        if self.trust.state(session.peer) == "blacklisted":
            self._peers.report_blacklisted(session.peer, session.session_id.hex())
            link.close("blacklisted")
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._peers.sweep)
                await link.run()
                nursery.cancel_scope.cancel()  # a session that has ended waits for no journal
            if self._entered:
                self._nursery.start_soon(self._outboxes.deliver_again, session.peer)
        finally:
            self._links.remove(link)
            if self._context.mesh is not None:
                self._context.mesh.link_down(session.peer, session)
            self._changed.unpark_all()

    async def established(self, session: RttSession) -> Agreement:
        """Wait until the session's handshake has succeeded; what was agreed.

        `serve` has to run, or be started soon. If the session is closed as a duplicate because both nodes dialled
        each other (HS-7), the one that was kept counts.

        Raises:
            HandshakeFailed: Why it did not.
        """
        link = self._link(session)
        await link.settled.wait()
        if link.agreement is not None:
            return link.agreement
        # Closed in favour of a session that the other side dialled? Then that one tells.
        for rival in [other for other in self._links.of(session.peer) if link.yields_to(other)]:
            await rival.settled.wait()
            if rival.agreement is not None:
                return rival.agreement
        raise link.failure()

    async def connected(self, peer: str) -> Agreement:
        """Wait until there is an established session with `peer`, whoever dialled it; what was agreed."""
        await trio.lowlevel.checkpoint()
        while True:
            link = self._best(peer)
            if link is not None and link.agreement is not None:
                return link.agreement
            await self._changed.park()

    # --- the mesh ---------------------------------------------------------------------------------------

    @property
    def mesh(self) -> MeshPort | None:
        """Where mesh envelopes of neighbours go. Setting it tells the port of the neighbours that are there."""
        return self._context.mesh

    @mesh.setter
    def mesh(self, port: MeshPort | None) -> None:
        self._context.mesh = port
        for link in self._links.every():
            self._tell_mesh(link)

    async def send_mesh(self, peer: str, data: bytes, channel: ChannelKind) -> RttSession:
        """Give a neighbour a sealed mesh envelope, over a direct session on which the mesh is agreed (MESH-2).

        It is sent once; waits while the neighbour does not read. Cancelled, it was not sent.

        Raises:
            NotConnectedError: There is no such session.
            RttError: The session ended meanwhile, or the message is too large for its channel.
        """
        link = next((link for link in reversed(self._links.of(peer)) if link.meshed), None)
        if link is None:
            raise NotConnectedError("no session with this neighbour", peer=peer)
        await link.send_mesh(data, channel)
        return link.rtt

    def _tell_mesh(self, link: Link) -> None:
        if self._context.mesh is not None and link.established and mesh_agreed(link.agreement):
            self._context.mesh.link_up(link.rtt.peer, link.rtt)

    # --- telling ----------------------------------------------------------------------------------------

    def tell_state(self) -> None:
        """Tell every established peer how this node is (PACE-3). When to is the pacing's business."""
        for link in self._links.every():
            link.tell_state()

    async def verify_again(self, peer: str) -> None:
        """Let a peer whose session this node dialled prove itself anew (HS-8). Does not wait for the outcome.

        Raises:
            NotConnectedError: There is no established session with the peer that this node dialled.
        """
        await trio.lowlevel.checkpoint()
        link = next((link for link in self._links.of(peer) if link.established and link.rtt.initiator), None)
        if link is None:
            raise NotConnectedError("no established session that was dialled from here", peer=peer)
        link.verify_again()

    # --- inside -----------------------------------------------------------------------------------------

    def _link(self, session: RttSession) -> Link:
        link = self._served.get(session)
        if link is None:
            link = self._served[session] = Link(
                session,
                context=self._context,
                peer=self._peers.need(session.peer),
                inbox=self.inbox,
                accept_intent=self._accepts,
                on_established=self._on_established,
            )
        return link

    async def _accepts(self, delivery: Delivery) -> IntentAnswer:
        return await self.accept_intent(delivery)

    def _best(self, peer: str) -> Link | None:
        return self._links.best(peer)

    def _on_established(self, link: Link) -> None:
        for one in self._links.duplicates(link.rtt.peer):
            one.close("duplicate")
        self._tell_mesh(link)
        self._changed.unpark_all()

    def _on_trust(self, peer: str, event: TrustEvent) -> None:
        """Blacklisting closes a peer's sessions and drops what waits of it (TRUST-8)."""
        if event.moved and event.to == "blacklisted":
            self.inbox.purge(peer)
            for link in self._links.of(peer):
                link.close("blacklisted")

    def _linked(self) -> set[str]:
        return {link.rtt.peer for link in self._served.values() if not link.over}

    def _on_broken(self, peer: str, error: Exception) -> None:
        """What was decided of a peer is not durable and was dropped: its sessions rest on nothing."""
        for link in self._links.of(peer):
            link.lose(error)
