"""One hostile identity: real sessions and a real handshake, then whatever bytes it likes."""

from __future__ import annotations

import base64
import json
import socket
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from web4 import rtt
from web4.foundation import envelope as envelopes
from web4.foundation.clock import SystemClock
from web4.foundation.codec import ENCODER
from web4.foundation.events import no_events
from web4.foundation.ids import SystemIds
from web4.protocols.cip import CipOptions, Offer
from web4.protocols.cip.actions import Established, Send
from web4.protocols.cip.context import CipContext, SessionFacts
from web4.protocols.cip.mesh_path import RELAY_CHANNEL, seal_mesh
from web4.protocols.cip.peer import Peer
from web4.protocols.cip.sealing import seal
from web4.protocols.cip.session import CipSession
from web4.protocols.messages import cip as m
from web4.protocols.messages import hcp, lip, mesh
from web4.protocols.messages.fields import Party
from web4.protocols.messages.vocabulary import type_of
from web4.rtt.transports.tcp import TcpTransport, tune
from web4.trust import TrustRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.foundation.identity import Identity
    from web4.protocols.messages.vocabulary import ChannelKind

PATIENCE: Final = 10.0
"""Seconds to wait for a victim to react."""
OFFER: Final = Offer(
    protocols=("cip/1.0", hcp.PROTOCOL, lip.PROTOCOL, mesh.PROTOCOL),
    capabilities=("state_exchange", "knowledge_exchange", "dmp_trace"),
    features=m.Features(supports_mesh=True, supports_multiplex=True),
)
IDS: Final = SystemIds()
CLOCK: Final = SystemClock()


class CutError(Exception):
    """The victim ended the session, or let nobody in."""


_ENDS: Final = (CutError, rtt.RttError, trio.TooSlowError, trio.EndOfChannel)
"""How a session ends for one who is not wanted."""
AT_ONCE: Final = 32
"""Messages that every kind of channel takes at once."""


class _FromAddress(TcpTransport):
    """TCP from an address of the attacker's own: what is limited per address must not be paid by the honest."""

    def __init__(self, local: str) -> None:
        self._local = local

    async def connect(self, address: rtt.Address, given_up: Any = None) -> trio.SocketStream:
        sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            await sock.bind((self._local, 0))
            await sock.connect((address.host, address.port))
        except OSError as error:
            sock.close()
            raise rtt.TransportUnavailableError(str(error), code="unreachable") from error
        except BaseException:
            sock.close()
            raise
        tune(sock)
        return trio.SocketStream(sock)


class Victim(msgspec.Struct, frozen=True):
    """An honest node, as the attacker knows it."""

    name: str
    fingerprint: str
    url: str


class Intruder:
    """An identity with an endpoint. Use `intruder` to have one.

    Args:
        identity: Its key, which is sound.
        endpoint: Its transport.
    """

    def __init__(self, identity: Identity, endpoint: rtt.Endpoint) -> None:
        self.identity = identity
        self.endpoint = endpoint
        self.fingerprint = identity.fingerprint

    @asynccontextmanager
    async def session(
        self, victim: Victim, *, handshake: bool = True, listens: bool = True
    ) -> AsyncIterator[Entry]:
        """A session with a victim, the handshake done as it should be; `listens` says whether it reads at all.

        Raises:
            CutError: It was not let in.
        """
        try:
            async with AsyncExitStack() as stack:
                dialled = self.endpoint.dial(victim.url, expect=victim.fingerprint)
                with trio.fail_after(PATIENCE):
                    session = await stack.enter_async_context(dialled)
                nursery = await stack.enter_async_context(trio.open_nursery())
                entry = Entry(self, victim, session, nursery)
                try:
                    if handshake:
                        await entry.shake_hands(listens=listens)
                    yield entry
                finally:
                    nursery.cancel_scope.cancel()
                    session.abort("done")
        except _ENDS as error:
            raise CutError(repr(error)) from None
        except BaseExceptionGroup as group:
            if group.split(_ENDS)[1] is not None:
                raise
            raise CutError(repr(group.exceptions[0])) from None


class Entry:
    """A session with one victim."""

    def __init__(
        self, intruder: Intruder, victim: Victim, session: rtt.RttSession, nursery: trio.Nursery
    ) -> None:
        self.intruder = intruder
        self.victim = victim
        self.rtt = session
        self.errors: Counter[str] = Counter()
        """What the victim answered in ERRORs."""
        self.heard: Counter[str] = Counter()
        """What it said, by type."""
        self.hello = b""
        """The HELLO of this session, as it was sent."""
        self.sent = 0
        self._nursery = nursery
        self._channels: dict[str, rtt.Channel] = {"control": session.control}

    # --- as it should be ------------------------------------------------------------------------------------

    async def shake_hands(self, *, listens: bool) -> None:
        cip = self._cip()
        actions = cip.start()
        with trio.fail_after(PATIENCE):
            while not any(isinstance(action, Established) for action in actions):
                await self._say(actions)
                if self.rtt.ended:
                    raise trio.EndOfChannel
                actions = cip.receive(await self.rtt.control.receive(), "control")
            await self._say(actions)
            self._channels["state"] = await self.rtt.open_channel("state", name="web4")
            self._channels["knowledge"] = await self.rtt.open_channel("knowledge", name="web4")
            self._channels["relay"] = await self.rtt.open_channel("knowledge", name=RELAY_CHANNEL)
        if listens:
            for channel in self._channels.values():
                self._nursery.start_soon(self._listen, channel)

    async def _say(self, actions: list[Any]) -> None:
        for action in actions:
            if isinstance(action, Send) and action.channel == "control":
                if action.sealed.type == "HELLO":
                    self.hello = action.sealed.data
                await self.rtt.control.send(action.sealed.data)

    def _cip(self) -> CipSession:
        options = CipOptions(agent_id="mallory", offer=OFFER)
        trust = TrustRegistry()
        context = CipContext(
            identity=self.intruder.identity,
            options=options,
            clock=CLOCK,
            ids=IDS,
            emit=no_events,
            trust=trust,
            room=lambda *_: True,
        )
        facts = SessionFacts(
            session_id=self.rtt.session_id.hex(),
            peer=self.rtt.peer,
            public_key=self.rtt.peer_public_key,
            binding=self.rtt.binding,
            initiator=True,
        )
        return CipSession(context, Peer(self.rtt.peer, trust=trust, options=options, emit=no_events), facts)

    async def _listen(self, channel: rtt.Channel) -> None:
        try:
            while True:
                for data in await channel.receive_many():
                    said = json.loads(data)
                    self.heard[said["type"]] += 1
                    if said["type"] == "ERROR":
                        self.errors[said["payload"]["code"]] += 1
        except (trio.EndOfChannel, rtt.RttError):
            return

    # --- as it likes ----------------------------------------------------------------------------------------

    def sealed(
        self, payload: Any, *, msg_id: str | None = None, about: Any = None, name: str = "mallory"
    ) -> bytes:
        """An envelope of this identity to the victim, signed as it should be."""
        return seal(
            self.intruder.identity,
            payload,
            agent_id=name,
            receiver=Party(agent_id=self.victim.name, fingerprint=self.victim.fingerprint),
            msg_id=msg_id or IDS.uuid4(),
            now_ms=CLOCK.wall_ms(),
            about=about,
        ).data

    def meshed(self, payload: Any, *, destination: str | None = None, **more: Any) -> bytes:
        """A mesh envelope of this identity."""
        given = {"id": IDS.uuid4(), "now_ms": CLOCK.wall_ms(), **more}
        to = destination or self.victim.fingerprint
        return seal_mesh(given.pop("identity", self.intruder.identity), payload, destination=to, **given)

    def resealed(self, data: bytes, **changed: Any) -> bytes:
        """Another envelope with these fields, signed by this identity, whatever they say."""
        fields = json.loads(data) | changed
        del fields["sign"]
        return envelopes.seal(self.intruder.identity, ENCODER.encode(fields))

    async def send(self, payload: Any, **more: Any) -> None:
        """Say something on the channel where it belongs."""
        await self.raw([self.sealed(payload, **more)], type_of(payload).channel)

    async def raw(self, data: list[bytes], kind: ChannelKind = "knowledge") -> None:
        """Send bytes.

        Raises:
            CutError: The session is over.
        """
        try:
            with trio.fail_after(PATIENCE):
                for at in range(0, len(data), AT_ONCE):
                    await self._channels[kind].send_many(data[at : at + AT_ONCE])
        except (rtt.RttError, trio.TooSlowError) as error:
            raise CutError(repr(error)) from None
        self.sent += len(data)

    async def cut(self, patience: float = PATIENCE) -> bool:
        """Wait, not for ever, until the victim has ended the session."""
        with trio.move_on_after(patience):
            while not self.rtt.ended:  # noqa: ASYNC110 - nothing of an ended session can be waited for
                await trio.sleep(0.01)
        return self.rtt.ended


@asynccontextmanager
async def intruder(identity: Identity, local: str) -> AsyncIterator[Intruder]:
    """Run an identity that dials from `local`."""
    registry = rtt.default_registry()
    registry.register("tcp", lambda: _FromAddress(local), replace=True)
    async with rtt.open_endpoint(identity, transports=registry) as endpoint:
        yield Intruder(identity, endpoint)


def token() -> str:
    """A nonce."""
    return base64.b64encode(IDS.token(32)).decode()
