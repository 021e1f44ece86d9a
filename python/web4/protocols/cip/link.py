"""One CIP session on Trio: reads the channels, does what `CipSession` asks for, keeps its deadline."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from web4.protocols.cip.actions import (
    Arm,
    AskIntent,
    Close,
    Deliver,
    Established,
    Report,
    Send,
    TakenTogether,
    receipted,
)
from web4.protocols.cip.channels import Channels
from web4.protocols.cip.context import SessionFacts
from web4.protocols.cip.deadline import Deadline
from web4.protocols.cip.endings import handshake_failed, report_journal, report_unclosed
from web4.protocols.cip.lane_errors import LANE_ERRORS
from web4.protocols.cip.mesh_path import DeliverMesh, mesh_agreed
from web4.protocols.cip.outbox.pump import Pump
from web4.protocols.cip.outgoing import Outgoing
from web4.protocols.cip.places import Places
from web4.protocols.cip.questions import Questions
from web4.protocols.cip.session import CipSession
from web4.protocols.errors import NotConnectedError
from web4.protocols.messages.vocabulary import TYPES, type_of
from web4.rtt import ChannelClosedError, ChannelResetError, RttError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from web4.protocols.cip.actions import Action, Delivery
    from web4.protocols.cip.agreement import Agreement
    from web4.protocols.cip.channels import Opened
    from web4.protocols.cip.context import CipContext
    from web4.protocols.cip.inbox import Inbox
    from web4.protocols.cip.intents import AcceptIntent
    from web4.protocols.cip.peer import Peer
    from web4.protocols.cip.sealing import About
    from web4.protocols.cip.validation import Incoming
    from web4.protocols.errors import HandshakeFailed
    from web4.protocols.messages.vocabulary import AgentPayload, ChannelKind
    from web4.rtt import Channel, RttSession


_BATCH: Final = 64
_STRANGERS_BATCH: Final = 16
_QUESTIONS: Final = 256
"""INTENTs that may wait for their answer; beyond, more are refused as `busy`."""
_RECEIPTS: Final = 256
_RELIEF_SECONDS: Final = 0.1
"""How long a channel is left unread when the application is behind; then what comes is refused as busy."""


class Link:
    """A session that is being served, with its tasks."""

    def __init__(
        self,
        rtt: RttSession,
        *,
        context: CipContext,
        peer: Peer,
        inbox: Inbox,
        accept_intent: AcceptIntent,
        on_established: Callable[[Link], None],
    ) -> None:
        self.rtt = rtt
        self.agreement: Agreement | None = None
        self.reason: str | None = None
        """Why this side closed the session, if it did."""
        self.settled = trio.Event()
        """Set once the handshake has succeeded, or the session is over."""
        self.over = False
        """Whether it was served to its end."""
        self.session = CipSession(
            context,
            peer,
            SessionFacts(
                session_id=rtt.session_id.hex(),
                peer=rtt.peer,
                public_key=rtt.peer_public_key,
                binding=rtt.binding,
                initiator=rtt.initiator,
            ),
            may_answer=lambda: self._places.questions < _QUESTIONS and peer.may_queue,
        )
        self._context = context
        self._peer = peer
        self._places = Places(inbox)
        self._inbox = inbox
        self._questions = Questions(
            context,
            peer,
            self.session,
            inbox=inbox,
            places=self._places,
            accept_intent=accept_intent,
            over=lambda: self.reason is not None,
        )
        self._on_established = on_established
        self.sent = self.session.sent
        self._outgoing = Outgoing(rtt, sent=self.sent, end=self._end)
        self._channels = Channels(rtt, used=self._read_too, unusable=self._outgoing.unsendable)
        self._deadline = Deadline(lambda step: self._act(partial(self.session.deadline, step)))
        self._opened = False
        self._peer_ended = False
        self._drained: list[trio.Event] = []

    @property
    def established(self) -> bool:
        """Whether messages may be sent. While the session is between two carriers they wait in its queues."""
        # Agreed is what was durable when it was told; the session knows what was decided since.
        agreed = self.agreement is not None and self.session.established
        return agreed and self.rtt.state in ("open", "suspended")

    @property
    def meshed(self) -> bool:
        """Whether this is a session with a neighbour in the mesh: direct, established, and both take part (MESH-2)."""
        return self.established and mesh_agreed(self.agreement) and not self.rtt.relayed

    def yields_to(self, other: Link) -> bool:
        """Whether this session gives way to `other`: both nodes dialled, and `other` was by the lower fingerprint.

        One that goes over other nodes gives way to a direct one, whoever dialled (MESH-1).
        """
        if self.rtt.relayed != other.rtt.relayed:
            return self.rtt.relayed
        ours_is_lower = self._context.identity.fingerprint < self.rtt.peer
        return self.rtt.initiator != other.rtt.initiator and other.rtt.initiator == ours_is_lower

    def failure(self) -> HandshakeFailed:
        """Why the handshake did not succeed, once it did not."""
        return handshake_failed(self.reason, self.rtt.peer)

    def close(self, reason: str) -> None:
        """Close the session at once; the peer is told `reason`. A closed one stays as it is."""
        if self.reason is None:
            self.reason = reason
        self.rtt.abort(self.reason)

    def lose(self, error: Exception) -> None:
        """Close the session because its peer's lane cannot be kept: what is not durable is not done."""
        if self.reason is None:
            report_journal(self._context.emit, self.rtt, error)
        self.close("journal")

    async def _load(self) -> None:
        try:
            await self._peer.lane.load()
        except LANE_ERRORS as error:
            self.lose(error)

    async def run(self) -> None:
        """Serve the session until it ends. Only a cancellation or a mistake in the program escapes."""
        try:
            if self.reason is None:
                await self._load()
            if self.reason is None:
                async with trio.open_nursery() as self._nursery:
                    await self._act(self.session.start)
                    self._nursery.start_soon(self._live)
            self.session.closed()
            if self._peer_ended:
                await self._end_gracefully()
            await self._settle()
        finally:
            self.session.closed()
            self.over = True
            self.rtt.abort(self.reason or "cip ended")
            self.settled.set()
            self._channels.end()

    async def _settle(self) -> None:
        """Make the session's end durable, if that takes a moment only: loading the lane makes up for it otherwise."""
        with trio.move_on_after(self._context.options.step_deadline_ms / 1_000), suppress(*LANE_ERRORS):
            await self._peer.lane.durable()

    async def _end_gracefully(self) -> None:
        """The peer says nothing more: let it have what was accepted for it (RTT-13)."""
        try:
            await self.rtt.aclose()
        except RttError as error:
            report_unclosed(self._context.emit, self.rtt, error)

    async def send(
        self, payload: AgentPayload, *, corr_id: str | None = None, about: About | None = None
    ) -> str:
        """Send a message of the application; its msg_id.

        Raises:
            NotConnectedError, TrustViolationError, PayloadSchemaError, InvalidEnvelopeError: See `CipSession.send`.
            RttError: The session ended, or the message is too large for its channel.
        """
        kind = type_of(payload).channel
        if not self.established or (kind == "control" and not type_of(payload).durable):
            raise NotConnectedError("the session is not established", peer=self.rtt.peer)
        channel = await self._channels.get(kind)
        sealed, _ = self.session.send(payload, corr_id=corr_id, about=about)
        await channel.send(sealed.data)
        self.session.sent(sealed)
        return sealed.msg_id

    async def send_mesh(self, data: bytes, kind: ChannelKind) -> None:
        """Give the neighbour a mesh envelope: once, as it is (MESH-2).

        Raises:
            NotConnectedError: The session is not established, or without the mesh.
            RttError: The session ended, or the message is too large for its channel.
        """
        if not self.meshed:
            raise NotConnectedError("the mesh is not agreed on this session", peer=self.rtt.peer)
        await (await self._channels.get(kind)).send(data)

    def tell_state(self) -> None:
        """Tell the peer how this node is, if the session is established."""
        for action in self.session.state_update():
            if isinstance(action, Send):
                self._outgoing.hand(action)

    def verify_again(self) -> None:
        """Say HELLO once more (HS-8)."""
        self._nursery.start_soon(self._act, self.session.verify_again)

    # --- reading ----------------------------------------------------------------------------------------

    async def _read(self, kind: ChannelKind, channel: Channel) -> None:
        """Read one channel to its end. The end of the control channel is that of the session."""
        try:
            while True:
                if kind == "knowledge":
                    await self._inbox.relieved(self.rtt.peer, _BATCH, _RELIEF_SECONDS)
                strange = self._context.strangers is not None and self._peer.trust != "trusted"
                messages = await channel.receive_many(max=_STRANGERS_BATCH if strange else _BATCH)
                await self._take_in(messages, kind)
                if strange and kind != "control":
                    await self._wait_for_turn(len(messages))
        except (trio.EndOfChannel, ChannelResetError, ChannelClosedError):
            if kind == "control":
                self._peer_ended = True
        except RttError:
            pass  # the session is over; what was received on other channels is still there

    async def _wait_for_turn(self, count: int) -> None:
        """Leave time for those who are trusted: of any number of strangers a node reads so much, and no more.

        A limit per peer does not do that: a key costs nothing, and each message is work, and a write to the disk.
        """
        if self._context.strangers is not None:
            await trio.sleep(self._context.strangers.take(count, self._context.clock.monotonic_ns()))

    async def _live(self) -> None:
        """Read the control channel, whose end is that of the session, and what had come on others by then."""
        try:
            await self._read("control", self.rtt.control)
            if self.reason is None:
                # The transport has acknowledged it, so the peer will not say it again (RTT-13).
                with trio.move_on_after(self._context.options.step_deadline_ms / 1_000):
                    for done in self._drained:
                        await done.wait()
            self._nursery.cancel_scope.cancel()
        finally:
            # While this task lives the nursery takes tasks in; from now on nobody asks it to.
            self.session.closed()

    async def _until_drained(self, drain: Callable[[], Awaitable[None]]) -> None:
        """Run what takes in what the peer has sent, so that `_live` waits for it."""
        done = trio.Event()
        self._drained.append(done)
        try:
            await drain()
        finally:
            done.set()

    # --- deciding, then doing ---------------------------------------------------------------------------

    async def _take_in(self, messages: list[bytes], kind: ChannelKind) -> None:
        """Decide what came at once, so that one commit of the journal carries all of it; then do what follows."""
        actions: list[Action] = []
        refused: Exception | None = None
        try:
            self._peer.settle_now(self._context.clock.wall_ms())
            for decided in self.session.receive_together(messages, kind):
                self._places.hold(decided)
                actions += decided
        except LANE_ERRORS as error:
            refused = error
        try:
            await self._perform(actions)
        finally:
            self._places.release(actions)
        if refused is not None:
            self._lost(refused)

    async def _act(self, decide: Callable[[], list[Action]]) -> None:
        """Decide, and do what follows."""
        try:
            actions = decide()
        except LANE_ERRORS as error:
            self._lost(error)
        else:
            await self._perform(actions)

    async def _perform(self, actions: list[Action]) -> None:
        """Do what was decided once the events that announce it are durable: no answer leaves before."""
        try:
            await self._peer.lane.durable()
        except LANE_ERRORS as error:
            self._lost(error)
            return
        self._receipt(receipted(actions))
        try:
            for action in actions:
                await self._do(action)
        except LANE_ERRORS as error:
            self._lost(error)

    async def _do(self, action: Action) -> None:
        match action:
            case Report(kind=kind, fields=fields):
                self._context.emit(kind, **fields)
            case Send():
                self._outgoing.hand(action)
            case TakenTogether(deliveries=deliveries):
                self._deliver(action, deliveries)
            case Deliver(delivery=delivery):
                self._deliver(action, (delivery,))
            case AskIntent():
                await self._questions.ask(action)
            case Established(agreement=agreement):
                await self._establish(agreement)
            case DeliverMesh(incoming=incoming, channel=channel):
                await self._mesh(incoming, channel)
            case Arm(step=step, after_ms=after_ms):
                self._deadline.arm(self._nursery, step, after_ms)
            case Close(reason=reason):
                self._end(reason)

    def _deliver(self, action: Deliver | TakenTogether, deliveries: Sequence[Delivery]) -> None:
        if self._peer.trust == "blacklisted":
            return  # meanwhile: of such a peer nothing more is taken in (TRUST-8)
        if not TYPES[deliveries[0].type].durable:
            self._places.deliver(action)
            return
        given, taken = self._peer.given, self._peer.lane.state.taken.messages
        fresh = [one for one in deliveries if one.msg_id not in given and one.msg_id in taken]
        given.update([delivery.msg_id for delivery in fresh])
        if len(fresh) < len(deliveries):
            self._places.release([action])  # the others were found on the lane and delivered before (OUT-4)
        elif self._places.deliver(action):
            return
        for delivery in fresh:
            self._inbox.put_again(delivery)  # it was let in, and the peer is told so

    def _receipt(self, msg_ids: list[str]) -> None:
        """Tell the peer what is durable here, up to 256 at once (OUT-3)."""
        for at in range(0, len(msg_ids), _RECEIPTS):
            sealed = self.session.receipt(msg_ids[at : at + _RECEIPTS])
            if sealed is not None:
                # One that finds no room is made up for: the peer says again what has no receipt.
                self._outgoing.hand(Send("control", sealed, urgent=True))

    async def _mesh(self, incoming: Incoming, channel: ChannelKind) -> None:
        if self._context.mesh is not None and self._peer.trust != "blacklisted":
            await self._context.mesh.receive(self.rtt.peer, incoming, channel)

    def _lost(self, error: Exception) -> None:
        self.lose(error)
        self._nursery.cancel_scope.cancel()

    # --- channels ---------------------------------------------------------------------------------------

    async def _establish(self, agreement: Agreement) -> None:
        """Open the channels, or expect them, and begin to read (CIP-1, HS-3)."""
        self.agreement = agreement
        if not self._opened:
            self._opened = True
            if self.rtt.initiator:
                await self._channels.open(agreement)
            else:
                self._nursery.start_soon(self._until_drained, partial(self._channels.accept, agreement))
            self._nursery.start_soon(self._pump)
        self.settled.set()
        self._on_established(self)

    async def _pump(self) -> None:
        """Say what the outbox holds (OUT-4)."""
        try:
            await Pump(self._context, self._peer, self).run()
        except LANE_ERRORS as error:
            self._lost(error)

    async def channel(self, kind: ChannelKind) -> Channel:
        """The channel on which messages of this kind travel, once it is open."""
        return await self._channels.get(kind)

    @property
    def up(self) -> bool:
        """Whether the session has a carrier now."""
        return self.rtt.state == "open"

    def allows(self, type_name: str) -> bool:
        """Whether what a type needs was agreed (CIP-3)."""
        return self.agreement is not None and self.agreement.allows(type_name)

    def _read_too(self, kind: Opened, channel: Channel) -> None:
        self._nursery.start_soon(self._until_drained, partial(self._read, kind, channel))
        if kind == "state":
            self._nursery.start_soon(self._outgoing.say_states, channel)

    # --- ending -----------------------------------------------------------------------------------------

    def _end(self, reason: str) -> None:
        self.close(reason)
        self._nursery.cancel_scope.cancel()
