"""What one session has to say of itself: states, receipts and errors, handed over without waiting for the peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from web4.rtt import BackpressureError, RttError

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.protocols.cip.actions import Send
    from web4.protocols.cip.sealing import Sealed
    from web4.rtt import Channel, RttSession


class Outgoing:
    """The queues behind a session's channels.

    A reader that waited for its peer to read, while that one waited for this one, would wait for ever.

    Args:
        rtt: The session.
        sent: Told of every message that the transport has accepted.
        end: Ends the session, with a reason.
    """

    def __init__(
        self, rtt: RttSession, *, sent: Callable[[Sealed], None], end: Callable[[str], None]
    ) -> None:
        self._rtt = rtt
        self._sent = sent
        self._end = end
        self._state_to_say: Sealed | None = None
        self._state_wait = trio.Event()

    def hand(self, action: Send) -> None:
        """Hand over a message, without waiting."""
        if action.channel == "state":
            # Only the latest counts (WEB-3): one that the peer never opens a channel for must not pile up.
            self._state_to_say = action.sealed
            self._state_wait.set()
        else:
            self._control(action)

    def unsendable(self) -> None:
        """End a session that refuses what has to be said; one that is over may still have something to read."""
        if self._rtt.state in ("open", "suspended"):
            self._end("unsendable")

    async def say_states(self, channel: Channel) -> None:
        """Say states on their channel as they come, the latest only."""
        while True:
            while self._state_to_say is not None:
                sealed, self._state_to_say = self._state_to_say, None
                await self._say(channel, sealed)
            self._state_wait = trio.Event()
            await self._state_wait.wait()

    async def _say(self, channel: Channel, sealed: Sealed) -> None:
        try:
            await channel.send(sealed.data)
        except RttError:
            self.unsendable()
        else:
            self._sent(sealed)

    def _control(self, action: Send) -> None:
        try:
            self._rtt.control.send_nowait(action.sealed.data)
        except BackpressureError:
            # The peer has not read 256 messages. It can do without an ERROR, not without the handshake.
            if not action.urgent:
                self._end("control_blocked")
        except RttError:
            self.unsendable()
        else:
            self._sent(action.sealed)
