"""A session as Trio sees it: its pump reads, everything else happens where it is called (RTT-60, RTT-61)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from web4._core import CoreError
from web4.rtt.channel import Channel
from web4.rtt.errors import (
    ChannelKindError,
    LimitError,
    RttError,
    SessionLost,
)
from web4.rtt.hooks import SessionHooks
from web4.rtt.lifecycle import Lifecycle
from web4.rtt.loss_report import LossReport
from web4.rtt.opening import opening_error
from web4.rtt.pump import Pump, now
from web4.rtt.status import BLOCKED, BURST, DETACHED, FINISHED, HAS_EVENTS
from web4.rtt.stream_pump import StreamPump
from web4.rtt.timers import Alarm
from web4.rtt.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from web4._core import OpeningLink, SessionLink
    from web4.foundation.events import Emitter
    from web4.rtt.hooks import EndpointHooks
    from web4.rtt.reconnect import Attempts
    from web4.rtt.roster import Roster
    from web4.rtt.timers import Timers
    from web4.rtt.transports import Address


_CLOSED = 7
"""The native event that ends a session."""


class RttSession:
    """An encrypted, authenticated conversation with one peer.

    Made by `Endpoint.dial` and `Endpoint.sessions`, never directly. Use it as a context manager: leaving normally
    closes gracefully, leaving by an exception or a cancellation closes at once.
    """

    def __init__(
        self,
        link: SessionLink,
        stream: trio.abc.Stream,
        *,
        nursery: trio.Nursery,
        timers: Timers,
        emit: Emitter,
        hooks: EndpointHooks,
        pinned: bool,
        roster: Roster,
        peer_boot_id: bytes,
        addresses: Sequence[Address],
    ) -> None:
        self.link = link
        self.pinned = pinned
        """Whether the peer was dialled by its fingerprint, or admitted by it (RTT-5)."""
        self.session_id: bytes = link.session_id
        self.peer: str = link.peer
        """The peer's fingerprint, proven."""
        self.peer_public_key: bytes = link.peer_public_key
        self.binding: bytes = link.binding()
        """Secret of exactly these two endpoints and this session (RTT-8). Never sent, never logged."""
        self.initiator: bool = link.initiator
        self.hooks = SessionHooks(self, hooks)
        """Functions that are told what becomes of this session (RTT-54)."""
        self.timers = timers
        self._alarm = Alarm(self._on_time)
        self._emit = emit
        self._nursery = nursery
        self._roster = roster
        self._ending = LossReport(link, self.peer)
        self.peer_boot_id = peer_boot_id
        """Names the peer's start that this session is with (RTT-35)."""
        self.peer_has_restarted = False
        """Whether another start of the peer has refused to go on with this session."""
        self.addresses = deque(addresses)
        """Where the peer was dialled, the latest first; empty when it dialled."""
        self.lifecycle = Lifecycle(self, nursery=nursery, roster=roster, emit=emit)
        self.reconnects = 0
        """How often the session went on upon another carrier."""
        self.waits = Waits(self)
        self.parked: dict[Channel, None] = {}
        """Channels with a task that waits for a message while somebody else reads, in order of arrival."""
        self._channels: dict[int, Channel] = {}
        self._unaccepted: deque[int] = deque()
        self._acceptors: deque[trio.lowlevel.Task] = deque()
        self._ended = trio.Event()
        self._peer_shutdown = False
        self.control = Channel(self, 0)
        """Channel 0, which every session has (RTT-18)."""
        self._channels[0] = self.control
        self.pump = self._pump_for(stream)

    def _pump_for(self, stream: trio.abc.Stream) -> Pump | StreamPump:
        if isinstance(stream, trio.SocketStream):
            return Pump(self, stream, nursery=self._nursery, timers=self.timers)
        return StreamPump(self, stream, nursery=self._nursery)

    def __repr__(self) -> str:
        return f"<RttSession {self.session_id.hex()[:8]} with {self.peer[:12]} {self.state}>"

    @property
    def state(self) -> str:
        """`open`, `suspended`, `closing` or `closed` (RTT-11)."""
        return self.link.state

    @property
    def epoch(self) -> int:
        """The number of the current, or the latest, carrier: 0 first."""
        return self.link.epoch

    @property
    def attempts(self) -> Attempts | None:
        """How the search for another carrier goes; None unless `suspended`, and where that is the peer's to do."""
        reconnector = self.lifecycle.reconnector
        return None if reconnector is None or self.state != "suspended" else reconnector.attempts

    @property
    def relayed(self) -> bool:
        """Whether its current, or latest, carrier goes over other nodes: then its peer is no neighbour."""
        return bool(getattr(self.pump.stream, "relayed", False))

    @property
    def remote_host(self) -> str | None:
        """The host of the peer's end of the carrier: an IP address, empty for a socket of this machine.

        None without a carrier, and where it leads over other nodes or is no socket.
        """
        stream = self.pump.stream
        if not isinstance(stream, trio.SocketStream):
            return None
        try:
            name = stream.socket.getpeername()
        except OSError:
            return None
        return str(name[0]) if isinstance(name, tuple) else ""

    @property
    def carrier_binding(self) -> bytes:
        """What `binding` is to the session, of the current carrier (RTT-8). Secret.

        Raises:
            SessionClosedError, SessionLost, ProtocolError: The session is over.
            trio.WouldBlock: It has no carrier just now.
        """
        try:
            return self.link.binding()
        except CoreError:
            if self.state == "suspended":
                raise trio.WouldBlock from None
            raise self.error() from None

    @property
    def ended(self) -> bool:
        """Whether the session is closed and nothing of it is left but what was received."""
        return self._ended.is_set()

    @property
    def close_report(self) -> SessionLost | None:
        """After the end: what was accepted and never acknowledged, or None when everything was (RTT-13, RTT-25)."""
        return self._ending.report()

    async def open_channel(
        self,
        kind: str,
        *,
        name: str = "channel",
        policy: str | None = None,
        block_timeout: float | None = None,
    ) -> Channel:
        """Open a channel; the peer learns of it with the next write, and nobody waits for it (RTT-65).

        Args:
            kind: `control`, `state` or `knowledge` (section 6).
            name: 1 to 64 printable ASCII characters, for the peer to know what it is.
            policy: What happens when the send queue is full: `block`, `error`, `drop_oldest` or `drop_newest`; the
                default of the kind when left out.
            block_timeout: Seconds a send waits at most under `block`.

        Raises:
            ChannelKindError: `unknown_kind`, `bad_policy`.
            LimitError: `too_many_channels`.
            ValueError: The name, or `block_timeout`.
            SessionClosedError, SessionLost, ProtocolError: The session is over.
        """
        check_block_timeout(block_timeout)
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            channel_id, status = self.link.open_channel(kind, name, policy)
        except CoreError as error:
            if error.code in ("unknown_kind", "bad_policy"):
                raise ChannelKindError(str(error), code=error.code) from None
            if error.code == "too_many_channels":
                raise LimitError(str(error), code=error.code) from None
            raise self.error() from None
        channel = self._channels[channel_id] = Channel(self, channel_id, block_timeout=block_timeout)
        self.react(status)
        self._emit(
            "channel_open", peer=self.peer, session_id=self.session_id.hex(), channel=channel_id, kind=kind
        )
        await trio.lowlevel.cancel_shielded_checkpoint()
        return channel

    async def accept_channel(
        self, *, policy: str | None = None, block_timeout: float | None = None
    ) -> Channel:
        """Wait for the next channel that the peer opens. `policy` is that of this side's sends.

        Raises:
            ChannelKindError: `bad_policy`; the channel stays to be accepted.
            trio.EndOfChannel: The peer opens no more channels.
            ValueError: `block_timeout`.
            SessionClosedError, SessionLost, ProtocolError: The session is over.
        """
        check_block_timeout(block_timeout)
        await trio.lowlevel.checkpoint()
        while not self._unaccepted:
            if self.state == "closed":
                raise self.error()
            if self._peer_shutdown:
                raise trio.EndOfChannel
            self._acceptors.append(task := trio.lowlevel.current_task())

            def abort(_: object, task: trio.lowlevel.Task = task) -> trio.lowlevel.Abort:
                self._acceptors.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            self.pump.attend()
            await trio.lowlevel.wait_task_rescheduled(abort)
        channel_id = self._unaccepted[0]
        if policy is not None:
            try:
                self.link.set_policy(channel_id, policy)
            except CoreError as error:
                if error.code == "bad_policy":
                    raise ChannelKindError(str(error), code="bad_policy") from None
        self._unaccepted.popleft()
        return self._accept(channel_id, block_timeout)

    def _accept(self, channel_id: int, block_timeout: float | None) -> Channel:
        channel = self._channels[channel_id] = Channel(self, channel_id, block_timeout=block_timeout)
        self._emit(
            "channel_open",
            peer=self.peer,
            session_id=self.session_id.hex(),
            channel=channel_id,
            kind=channel.kind,
        )
        return channel

    def stats(self) -> dict[str, int]:
        """Counters of the session: frames each way, acknowledgements, bytes kept for resending."""
        return self.link.stats()

    def abort(self, reason: str) -> None:
        """Close at once, with one attempt to tell the peer `reason`. Closing a closed session changes nothing."""
        if self.state != "closed":
            self.react(self.link.abort("application", reason))
        self._release()

    async def aclose(self) -> None:
        """Close gracefully: take no more sends, deliver what was accepted, and wait for the peer to do the same.

        Waits at most `Options.drain_timeout`. Cancelled, it closes at once; nothing is left open either way.
        Closing a closed session changes nothing.

        Raises:
            SessionLost: Some of what was accepted was not acknowledged, now or, unless this side aborted the session,
                when it ended before; the error lists it (RTT-13).
        """
        closed = self.link.closed
        try:
            if closed is None:
                self.react(self.link.shutdown(now()))
                self.arm()
                self.pump.attend()
            await self._ended.wait()
        finally:
            self.abort("cancelled")
        if closed is not None and closed[0] == "local":
            return
        if (report := self.close_report) is not None and report.count:
            raise report

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        if exc_type is not None:
            self.abort("cancelled")
        else:
            await self.aclose()

    # --- what channels, endpoint and timers need of it ------------------------------------------------

    @property
    def waited_for(self) -> bool:
        """Whether a task waits for something that only reading brings, other than a message."""
        return bool(self.waits or self._acceptors or self.link.state != "open")

    def lose(self, loss: str) -> None:
        """The session cannot go on (RTT-25); `loss` is what `SessionLost.reason` will say."""
        self.react(self.link.lose(loss))
        self._release()

    def forget(self, channel: Channel) -> None:
        """A channel was closed."""
        self._channels.pop(channel.id, None)
        self._emit("channel_close", peer=self.peer, session_id=self.session_id.hex(), channel=channel.id)

    def error(self) -> RttError:
        """What every operation raises now that the session is over, or closing: a new one for each."""
        return self._ending.error()

    def begin(self) -> None:
        """Start to read the carrier; the endpoint calls this once everybody knows the session."""
        self._nursery.start_soon(self._run, self.pump)

    async def _run(self, pump: Pump | StreamPump) -> None:
        """Read until the carrier ends. Nothing escapes but a cancellation, which ends the session."""
        try:
            await pump.run()
        except BaseException:
            self._release()
            raise

    def attach(self, link: OpeningLink, stream: trio.abc.Stream) -> None:
        """Go on upon a carrier that opened to resume this session. The one of before is let go of.

        Raises:
            RttError: The session does not take it; it stays the caller's.
        """
        try:
            status = self.link.attach(link, now())
        except CoreError as error:
            # The carrier of before is as good as it was: this one may only have come too late.
            self.react(self.link.write())
            raise opening_error(error, self.peer) from None
        self.pump.leave()
        self.pump = self._pump_for(stream)
        self.begin()
        self.react(status)
        self.arm()

    def reconnect(self) -> None:
        """Skip the pause before the next attempt to find another carrier. Does nothing unless `suspended` (RTT-12)."""
        if (reconnector := self.lifecycle.reconnector) is not None and self.state == "suspended":
            reconnector.hurry()

    def _on_time(self) -> None:
        if not self._ended.is_set():
            self.react(self.link.advance(now()))
            self.arm()

    def arm(self) -> None:
        """See that the pump advances when the native session wants it."""
        deadline = self.link.deadline
        if deadline is not None and not self._ended.is_set():
            # A microsecond later, so that rounding never wakes it just too early.
            self.timers.arm(self._alarm, deadline / 1e9 + 1e-6)

    def react(self, status: int) -> None:
        """Do what the status of a native call asks for."""
        if status & HAS_EVENTS:
            for number, argument in self.link.events():
                self._dispatch(number, argument)
        if status & BURST:
            self.pump.begin_burst()
        if status & BLOCKED:
            self.pump.drain()
        if status & DETACHED:
            self.pump.close()
        if status & FINISHED:
            self._release()

    def _dispatch(self, number: int, argument: int) -> None:
        match number:
            case 0:
                self._unaccepted.append(argument)
                self.hooks.post("on_channel", channel=argument)
                self._wake_acceptors()
            case 1:
                if (channel := self._channels.get(argument)) is not None:
                    channel.wake()
            case 2 | 4:
                self.waits.conclude(argument, done=True)
            case 3:
                self.waits.conclude(argument, done=False)
            case 5:
                self._peer_shutdown = True
                self._wake_acceptors()
            case 12:
                self._roster.memory_freed(self.peer)
            case _:
                if number == _CLOSED:
                    self._on_closed()
                self.lifecycle.happen(number)

    def _wake_acceptors(self) -> None:
        while self._acceptors:
            trio.lowlevel.reschedule(self._acceptors.popleft())

    def _on_closed(self) -> None:
        for channel in self._channels.values():
            channel.end()
        self._wake_acceptors()

    def _release(self) -> None:
        """Let go of the socket. What was received stays readable."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._alarm.cancel()
        if self.link.closed is None:
            self.react(self.link.abort("application", "cancelled") & ~FINISHED)
        self.pump.close()
        self._roster.forget(self)


def check_block_timeout(seconds: float | None) -> None:
    """Refuse a `block_timeout` that nobody can wait for: found out only by a send, it would have queued already."""
    if seconds is not None and not seconds >= 0:
        raise ValueError(f"block_timeout is a number of seconds from 0 or None, not {seconds!r}")
