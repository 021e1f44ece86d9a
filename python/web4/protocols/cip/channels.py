"""The channels of one session: control is there, the initiator opens the others, the responder expects them (CIP-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

import trio

from web4.protocols.cip.mesh_path import RELAY_CHANNEL, mesh_agreed
from web4.protocols.errors import NotConnectedError
from web4.rtt import RttError

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.protocols.cip.agreement import Agreement
    from web4.protocols.messages.vocabulary import ChannelKind
    from web4.rtt import Channel, RttSession

CHANNEL_NAME: Final = "web4"
Opened = Literal["state", "knowledge", "relay"]
_OPENED: Final[tuple[Opened, ...]] = ("state", "knowledge")
"""What the initiator always opens; control is channel 0, and `relay` is there if the mesh is agreed."""


class Channels:
    """Says which channel messages of a kind travel on.

    Args:
        rtt: The session.
        used: Told of each channel but control once it is there: somebody has to read it.
        unusable: Told when the session does not let them be opened.
    """

    def __init__(
        self, rtt: RttSession, *, used: Callable[[Opened, Channel], None], unusable: Callable[[], None]
    ) -> None:
        self._rtt = rtt
        self._used = used
        self._unusable = unusable
        self._there: dict[ChannelKind, Channel] = {"control": rtt.control}
        self._ready: dict[ChannelKind, trio.Event] = {kind: trio.Event() for kind in get_args(Opened)}

    async def get(self, kind: ChannelKind) -> Channel:
        """The channel of a kind, once it is there.

        Raises:
            NotConnectedError: It never will be: the session is over.
        """
        if kind in self._ready:
            await self._ready[kind].wait()
        if kind not in self._there:
            raise NotConnectedError("the session is over", peer=self._rtt.peer)
        return self._there[kind]

    def end(self) -> None:
        """Nothing more is opened: who waits must learn that it never will be."""
        for ready in self._ready.values():
            ready.set()

    async def open(self, agreement: Agreement) -> None:
        """Open them, as the initiator."""
        try:
            for kind in _OPENED:
                self._use(kind, await self._rtt.open_channel(kind, name=CHANNEL_NAME))
            if mesh_agreed(agreement):
                self._use("relay", await self._rtt.open_channel("knowledge", name=RELAY_CHANNEL))
        except RttError:
            self._unusable()

    async def accept(self, agreement: Agreement) -> None:
        """Expect them, as the responder, until the peer opens no more."""
        try:
            while True:
                channel = await self._rtt.accept_channel()
                kind = _expected(channel, agreement)
                if kind is None or kind in self._there:
                    await channel.aclose()  # nobody would read it
                else:
                    self._use(kind, channel)
        except (trio.EndOfChannel, RttError):
            return

    def _use(self, kind: Opened, channel: Channel) -> None:
        self._there[kind] = channel
        self._ready[kind].set()
        self._used(kind, channel)


def _expected(channel: Channel, agreement: Agreement) -> Opened | None:
    """What a channel is that the peer opened, if it is one that it should (CIP-1)."""
    if channel.kind == "knowledge" and channel.name == RELAY_CHANNEL and mesh_agreed(agreement):
        return "relay"
    expected = channel.name == CHANNEL_NAME
    return next((kind for kind in _OPENED if expected and kind == channel.kind), None)
