"""Carriers inside one process: `memory://name` (RTT-67). Nothing of it touches the operating system."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import trio

from web4.rtt.errors import TransportUnavailableError
from web4.rtt.transports.faults import suffering
from web4.rtt.transports.pipe import CAPACITY, pipe_pair
from web4.rtt.transports.stream import close_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from web4.rtt.transports.address import Address
    from web4.rtt.transports.faults import Faults
    from web4.rtt.transports.pipe import PipeStream
    from web4.rtt.transports.transport import GivenUp

MEMORY_BACKLOG = 64
"""Streams that a listening place holds until they are accepted; whoever dials then waits."""


class MemoryNetwork:
    """Names that can be listened at and dialled, and the weather between them.

    Every network has names of its own, and every Trio run its own of them: two runs in two threads never meet. What
    happens to the bytes is set by its attributes, at any time; a test that sets a delay and uses Trio's `MockClock`
    waits for nothing.
    """

    def __init__(self, *, delay: float = 0.0, capacity: int = CAPACITY) -> None:
        self.delay = delay
        """Seconds, by Trio's clock, that every byte is under way. Order is kept when it changes."""
        self.capacity = capacity
        """Bytes under way or unread, in each direction, before a sender waits. Of streams dialled from now on."""
        self.dialed: Iterator[Faults | None] = iter(())
        """What the dialling ends of the next streams suffer, one after another; nothing, when it is over."""
        self.accepted: Iterator[Faults | None] = iter(())
        """The same for the accepting ends."""
        self._places: trio.lowlevel.RunVar[dict[str, Place]] = trio.lowlevel.RunVar("memory network")
        self._streams: trio.lowlevel.RunVar[set[PipeStream]] = trio.lowlevel.RunVar("memory streams")

    def cut(self) -> int:
        """Break every stream of this run, at once and without a word to either end; how many there were."""
        streams = self._streams.get(set())
        cut = len(streams)
        for stream in list(streams):
            stream.cut()
        return cut // 2

    def names(self) -> list[str]:
        """Where somebody listens in this run, sorted."""
        return sorted(self._places.get({}))

    def open_place(self, address: Address) -> Place:
        """For the transport: listen at a name."""
        name = _name(address)
        places = _of_this_run(self._places, dict)
        if name in places:
            raise TransportUnavailableError(f"something listens at {address}", code="address_in_use")
        places[name] = place = Place(str(address), lambda: places.pop(name))
        return place

    async def connect(self, address: Address) -> trio.abc.Stream:
        """For the transport: dial a name."""
        place = self._places.get({}).get(_name(address))
        if place is None:
            await trio.lowlevel.checkpoint()
            raise TransportUnavailableError(
                f"nobody listens at {address} in this process", code="unreachable"
            )
        streams = _of_this_run(self._streams, set)
        ours, theirs = pipe_pair(self.capacity, lambda: self.delay, streams)
        try:
            await place.arrive(suffering(theirs, self.accepted))
        except BaseException as error:
            ours.cut()
            theirs.cut()
            if isinstance(error, trio.BrokenResourceError | trio.ClosedResourceError):
                raise TransportUnavailableError(
                    f"nobody listens at {address} any more", code="unreachable"
                ) from None
            raise
        return suffering(ours, self.dialed)


class Place(trio.abc.Listener[trio.abc.Stream]):
    """A name that is listened at: listener and acceptor in one."""

    def __init__(self, address: str, forget: Callable[[], object]) -> None:
        self.addresses = (address,)
        self.listeners = (self,)
        self._forget: Callable[[], object] | None = forget
        self._entrance, self._queue = trio.open_memory_channel[trio.abc.Stream](MEMORY_BACKLOG)

    def peer_address(self, stream: trio.abc.Stream) -> str:
        """See `Acceptor.peer_address`: whoever dials is in this process."""
        return "memory"

    async def arrive(self, stream: trio.abc.Stream) -> None:
        """Somebody dials; waits while the backlog is full."""
        await self._entrance.send(stream)

    async def accept(self) -> trio.abc.Stream:
        """See `trio.abc.Listener.accept`."""
        try:
            return await self._queue.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError from None

    async def aclose(self) -> None:
        """See `Acceptor.aclose`. Streams that nobody accepted are closed."""
        forget, self._forget = self._forget, None
        if forget is not None:
            forget()
            self._entrance.close()
            with suppress(trio.EndOfChannel):
                while True:
                    await close_now(self._queue.receive_nowait())
            self._queue.close()
        await trio.lowlevel.checkpoint()


class MemoryTransport:
    """Byte streams inside this process: `memory://name`, for tests and for nodes that live together.

    Capitals make no difference in a name.
    """

    scheme = "memory"
    local_only = True
    survives_address_change = True
    max_write: int | None = None

    def __init__(self, network: MemoryNetwork) -> None:
        self.network = network

    async def connect(self, address: Address, given_up: GivenUp | None = None) -> trio.abc.Stream:
        """See `Transport.connect`."""
        return await self.network.connect(address)

    async def listen(self, address: Address) -> Place:
        """See `Transport.listen`."""
        await trio.lowlevel.checkpoint()
        return self.network.open_place(address)


def _name(address: Address) -> str:
    if not address.host or address.port is not None or address.path.strip("/"):
        raise TransportUnavailableError(f"{address} is not memory://name", code="bad_address")
    return address.host


Kept = TypeVar("Kept")


def _of_this_run(variable: trio.lowlevel.RunVar[Kept], make: Callable[[], Kept]) -> Kept:
    try:
        return variable.get()
    except LookupError:
        variable.set(made := make())
        return made
