"""Introductions on a node: heard from the mesh, told to the TrustFSM, given and taken back (MESH-10, 11, 13)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final, Protocol

import trio

from web4.foundation import envelope as envelopes
from web4.foundation.clock import format_timestamp, parse_timestamp
from web4.foundation.digest import blake3_hex, canonical
from web4.foundation.errors import Web4Error
from web4.foundation.identity import check_public_key, fingerprint
from web4.journal.lane import SERVER
from web4.mesh.introductions.errors import IntroductionError
from web4.mesh.introductions.introduction_state import (
    LIFETIME_MS,
    EndExpired,
    EndIntroducer,
    HearIntroduction,
    HearRevocation,
    IntroductionsState,
    Issue,
    Withdraw,
)
from web4.mesh.introductions.part import INTRODUCTIONS, introductions_part
from web4.mesh.introductions.telling import TrustTeller
from web4.mesh.registry.addresses import check_address
from web4.mesh.registry.errors import AddressError
from web4.protocols.messages.mesh import MeshIntroduce, MeshIntroduceEnvelope, MeshRevoke, MeshRevokeEnvelope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.actors.composite import Part
    from web4.actors.lane_actors import LaneActors
    from web4.actors.lane_ref import LaneRef
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource
    from web4.mesh.introductions.introduction_state import IntroductionCommand, Issued, Verdict
    from web4.mesh.registry.registry import PeerRegistry
    from web4.protocols.ports import CommandTrust, TrustView
    from web4.trust import TrustEvent

ANNOUNCE_SECONDS: Final = 300.0
"""How often what stands is told again, beside whenever the mesh changed: who was cut off hears it then (MESH-13)."""
_PAUSE_SECONDS: Final = 1.0
"""Before what the journal did not take is tried again."""
_RECORDED: Final = frozenset({"asked", "ended", "forged", "noted", "duplicate"})


class Broadcast(Protocol):
    """How a node tells all of the mesh something (MESH-6): `MeshRuntime.broadcast`."""

    def __call__(self, payload: MeshIntroduce | MeshRevoke) -> str:
        """Send it to every trusted neighbour; the id of its envelope."""
        ...


class Introductions:
    """Introductions of a node. Its `part` belongs to lane `server`; `run` belongs to the node's background tasks.

    Args:
        own: This node's fingerprint.
        trust: How far peers are trusted.
        command: Tells a peer's TrustFSM something.
        registry: Gets where introduced peers may be found.
        broadcast: Tells the mesh.
        clock: Where time comes from.
        ids: Where ids come from.
        emit: Gets `mesh_dropped` for what does not count, `address_refused` for addresses that are left out, and
            `topology_changed` for notes (OBS-2).
    """

    def __init__(
        self,
        *,
        own: str,
        trust: TrustView,
        command: CommandTrust,
        registry: PeerRegistry,
        broadcast: Broadcast,
        clock: Clock,
        ids: IdSource,
        emit: Emitter,
    ) -> None:
        self._own = own
        self._trust = trust
        self._broadcast = broadcast
        self._clock = clock
        self._ids = ids
        self._emit = emit
        self._lane: LaneRef | None = None
        self._lost: set[str] = set()
        """Peers that stopped being trusted: what they introduced ends, and what this node said of them."""
        self._announce = False
        self._wake = trio.Event()
        teller = TrustTeller(trust=trust, command=command, registry=registry, clock=clock)
        self.part: Part[IntroductionsState] = introductions_part(teller.tell)
        """Of lane `server`: see `web4.mesh.server_lane.server_lane`."""

    def bind(self, actors: LaneActors) -> None:
        """Work on these actors' lane `server`, of which `part` is a part."""
        self._lane = actors.lane(SERVER)

    async def state(self) -> IntroductionsState:
        """What the lane says of introductions, durably: those that stand, and notes for the operator."""
        return INTRODUCTIONS.of(await self._bound().state())

    # --- what comes from the mesh -----------------------------------------------------------------------

    async def introduced(self, envelope: MeshIntroduceEnvelope) -> Verdict:
        """Take in an introduction (MESH-10). Its envelope's form and signature were checked (MESH-3).

        If it is forged, its signature is verified here once more before it is held against anyone.

        Returns:
            What became of it; all but a few verdicts leave no record.

        Raises:
            SignatureMismatchError: The signature is not the origin's. Nothing is held against the origin.
            JournalError, ActorError: The lane does not take it.
        """
        said, origin = envelope.payload, envelope.origin
        data = canonical(envelope)  # what arrived: nothing but the canonical spelling does
        if fingerprint(base64.b64decode(said.pubkey)) != said.subject:
            _verify(envelope, data)
        record = self._trust.record(origin)
        refused = _refused(said.addresses, said.subject)
        command = HearIntroduction(
            at=self._clock.wall_ms(),
            origin=origin,
            origin_state=record.state,
            origin_unverified=record.unverified,
            own=self._own,
            intro_id=said.intro_id,
            subject=said.subject,
            pubkey=said.pubkey,
            addresses=tuple(one for one in said.addresses if one not in refused),
            expires_ms=_moment(said.expires_at),
            envelope_id=envelope.id,
            blake3=blake3_hex(data),
            envelope=data.decode(),
        )
        verdict = await self._ask(command)
        for address, code in refused.items() if verdict == "asked" else ():
            self._emit(
                "address_refused",
                severity="warning",
                peer=said.subject,
                introducer=origin,
                address=address,
                code=code,
            )
        return self._told(origin, envelope.id, verdict)

    async def revoked(self, envelope: MeshRevokeEnvelope) -> Verdict:
        """Take in that an introduction is taken back (MESH-11). Form and signature were checked (MESH-3).

        Raises:
            JournalError, ActorError: The lane does not take it.
        """
        said, origin = envelope.payload, envelope.origin
        command = HearRevocation(
            at=self._clock.wall_ms(),
            origin=origin,
            origin_state=self._trust.state(origin),
            intro_id=said.intro_id,
            subject=said.subject,
            text=said.reason,
        )
        verdict = await self._ask(command)
        if verdict == "noted":
            self._emit("topology_changed", peer=origin, change="revocation_noted", subject=said.subject)
        return self._told(origin, envelope.id, verdict)

    # --- what this node says ----------------------------------------------------------------------------

    async def introduce(
        self,
        subject: str,
        public_key: bytes,
        addresses: Iterable[str] = (),
        *,
        lifetime_ms: int = LIFETIME_MS,
    ) -> str:
        """Vouch for a peer to all of the mesh; the introduction's id. Durable, and sent once, when it returns.

        It is told again until it expires or is taken back. It is taken back by itself when the peer is not trusted
        here any more.

        Args:
            subject: Its fingerprint; it is trusted here, and came itself.
            public_key: Its raw key, as its session proved it.
            addresses: Where others may find it; not places of this machine.
            lifetime_ms: How long, up to 24 hours.

        Raises:
            IntroductionError: Why not.
            AddressError: One of the addresses is none that can be told.
            JournalError, ActorError: The lane does not take it.
        """
        record = self._trust.record(subject)
        if record.state != "trusted" or not record.handshaken:
            what = "only a trusted peer that came itself is introduced"
            raise IntroductionError(what, code="subject_not_trusted", peer=subject)
        try:
            check_public_key(public_key, subject)
        except Web4Error:
            raise IntroductionError("the key is another's", code="wrong_key", peer=subject) from None
        if not 0 < lifetime_ms <= LIFETIME_MS:
            raise IntroductionError("an introduction lasts up to 24 hours", code="lifetime", peer=subject)
        told = tuple(addresses)
        for one in told:
            check_address(one, peer=subject, told=True)
        intro_id, at = self._ids.uuid4(), self._clock.wall_ms()
        verdict = await self._ask(
            Issue(
                at=at,
                intro_id=intro_id,
                subject=subject,
                pubkey=base64.b64encode(public_key).decode(),
                addresses=told,
                expires_ms=at + lifetime_ms,
            )
        )
        if verdict == "too_many":
            raise IntroductionError("too many introductions stand", code="too_many", peer=subject)
        self._say((await self.state()).issued[intro_id])
        return intro_id

    async def revoke(self, intro_id: str, reason: str) -> None:
        """Take back an introduction that this node gave. Durable, and sent once, when it returns.

        Raises:
            IntroductionError: `unknown_introduction`.
            JournalError, ActorError: The lane does not take it.
        """
        verdict = await self._ask(Withdraw(at=self._clock.wall_ms(), intro_id=intro_id, reason=reason))
        if verdict == "unknown_introduction":
            raise IntroductionError("there is no such introduction", code="unknown_introduction")
        self._say((await self.state()).issued[intro_id])

    def announce(self) -> None:
        """Tell soon again all that stands: the mesh changed, and somebody may have missed it (MESH-13)."""
        self._announce = True
        self._wake.set()

    # --- in the background ------------------------------------------------------------------------------

    async def run(self) -> None:
        """End what expires and whatever untrusted peers introduced, and tell again what stands; for ever.

        While the journal does not take it, or the mesh cannot be told, it is tried again.
        """
        end = self._trust.observe(self._on_trust)
        try:
            state = await self.state()
            origins = {one.origin for one in state.heard.values()}
            subjects = {one.subject for one in state.issued.values()}
            self._lost |= {one for one in origins | subjects if self._trust.state(one) != "trusted"}
            told = self._clock.monotonic_ns()
            while True:
                try:
                    await self._tend()
                    if self._announce or self._clock.monotonic_ns() - told >= ANNOUNCE_SECONDS * 1e9:
                        await self._say_all()
                        self._announce, told = False, self._clock.monotonic_ns()
                    pause = await self._until_next(told)
                except Web4Error:  # the journal, or the way to the mesh: both may be better soon
                    pause = _PAUSE_SECONDS
                with trio.move_on_after(pause):
                    await self._wake.wait()
                self._wake = trio.Event()
        finally:
            end()

    async def _tend(self) -> None:
        for peer in sorted(self._lost):
            self._lost.discard(peer)  # before: it may be lost once more meanwhile
            try:
                await self._end_trust(peer)
            except BaseException:
                self._lost.add(peer)
                raise
        at = self._clock.wall_ms()
        if any(one.expires_ms <= at for one in (await self.state()).heard.values()):
            await self._ask(EndExpired(at=at))

    async def _end_trust(self, peer: str) -> None:
        """End what a peer introduced, trusted anew or not; and what this node said of it, if it is not trusted now."""
        await self._ask(EndIntroducer(at=self._clock.wall_ms(), origin=peer))
        if self._trust.state(peer) == "trusted":
            return
        for given in (await self.state()).issued.values():
            if given.subject == peer and given.withdrawn is None:
                await self.revoke(given.intro_id, "it is not trusted any more")

    async def _until_next(self, told: int) -> float:
        """Seconds until something expires or is due to be told again."""
        heard = (await self.state()).heard.values()
        due = min((one.expires_ms for one in heard), default=None)
        again = ANNOUNCE_SECONDS - (self._clock.monotonic_ns() - told) / 1e9
        expiry = again if due is None else (due - self._clock.wall_ms()) / 1_000
        return max(0.0, min(again, expiry))

    async def _say_all(self) -> None:
        for given in (await self.state()).issued.values():
            self._say(given)

    def _say(self, given: Issued) -> None:
        """Tell one that stands, or that it was taken back; nothing of one that expired."""
        if given.expires_ms <= self._clock.wall_ms():
            return
        if given.withdrawn is not None:
            revoke = MeshRevoke(intro_id=given.intro_id, subject=given.subject, reason=given.withdrawn)
            self._broadcast(revoke)
            return
        self._broadcast(
            MeshIntroduce(
                intro_id=given.intro_id,
                subject=given.subject,
                pubkey=given.pubkey,
                addresses=given.addresses,
                expires_at=format_timestamp(given.expires_ms),
            )
        )

    # --- inside -----------------------------------------------------------------------------------------

    def _bound(self) -> LaneRef:
        if self._lane is None:
            raise RuntimeError("introductions have no lane yet: call bind")
        return self._lane

    async def _ask(self, command: IntroductionCommand) -> Verdict:
        verdict: Verdict = await self._bound().ask(command)
        if verdict == "asked":
            self._wake.set()  # the next expiry may be nearer
        return verdict

    def _told(self, origin: str, envelope_id: str, verdict: Verdict) -> Verdict:
        if verdict not in _RECORDED:
            self._emit("mesh_dropped", peer=origin, msg_id=envelope_id, protocol="mesh", reason=verdict)
        return verdict

    def _on_trust(self, peer: str, event: TrustEvent) -> None:
        if event.from_ == "trusted" and event.to != "trusted":
            self._lost.add(peer)
            self._wake.set()


def _verify(envelope: MeshIntroduceEnvelope, data: bytes) -> None:
    """Verify that the origin itself signed these bytes: on anything less nobody is blamed (MESH-10, VAL-4).

    Raises:
        SignatureMismatchError: It did not.
    """
    key = base64.b64decode(envelope.pubkey)
    check_public_key(key, envelope.origin)
    envelopes.verify(envelopes.parse(data), key)


def _refused(addresses: Iterable[str], subject: str) -> dict[str, str]:
    """Those that are dialled for nobody's word, and why. The others are looked at when they are (decision 0029)."""
    refused: dict[str, str] = {}
    for one in addresses:
        try:
            check_address(one, peer=subject, told=True)
        except AddressError as error:
            refused[one] = error.code
    return refused


def _moment(timestamp: str) -> int:
    """The moment of a timestamp whose form is right; one that no calendar has is long past."""
    try:
        return parse_timestamp(timestamp)
    except ValueError:
        return 0
