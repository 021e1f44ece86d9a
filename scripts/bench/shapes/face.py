"""The Python half of both shapes: how a task waits, and how it sends."""

from __future__ import annotations

import importlib
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled, wait_readable, wait_writable

from scripts.bench.peers import raw_tcp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from scripts.bench.link import Link
    from scripts.bench.side import Side

_NATIVE = importlib.import_module("shapes")  # built by build.sh; the parent puts its directory on the path

INBOX_MESSAGES = 1024
"""Messages a pump keeps ready before it stops reading."""
COALESCED = 16 * 1024
"""Bytes that are written without waiting for the end of the burst: one full TLS record."""


class Native(Protocol):
    """What both shapes offer to Python."""

    def receive(self) -> list[bytes]:
        """Return every complete message that has arrived; never waits."""

    def send(self, messages: list[bytes], first: int) -> tuple[int, bool]:
        """Take messages from `first` on: how many are taken in all, and whether to wait and call again."""


class DirectLink:
    """The task that receives waits on the descriptor itself; every method is a checkpoint (RTT-60).

    Args:
        native: The shape.
        wait_receive: Waits until a read is worth while.
        wait_send: Waits until a write is worth while.
        try_first: Whether to read before the first wait, as a stream usually has more.
    """

    def __init__(
        self,
        native: Native,
        wait_receive: Callable[[], Awaitable[None]],
        wait_send: Callable[[], Awaitable[None]],
        *,
        try_first: bool = True,
    ) -> None:
        self._native = native
        self._wait_receive = wait_receive
        self._wait_send = wait_send
        self._try_first = try_first
        self._ready: deque[bytes] = deque()

    async def send(self, message: bytes) -> None:
        """Hand over one message."""
        await self.send_many([message])

    async def send_many(self, messages: list[bytes]) -> None:
        """Hand over a batch; wait until all of it is written or queued."""
        await checkpoint_if_cancelled()
        taken, wait = self._native.send(messages, 0)
        if not wait:
            await cancel_shielded_checkpoint()
        while wait:
            await self._wait_send()
            taken, wait = self._native.send(messages, taken)

    async def receive(self) -> bytes:
        """Return the next message."""
        if self._ready:
            await checkpoint_if_cancelled()
            await cancel_shielded_checkpoint()
        else:
            self._ready.extend(await self._fetch())
        return self._ready.popleft()

    async def receive_many(self) -> list[bytes]:
        """Return every message that is here; wait for one."""
        if not self._ready:
            return await self._fetch()
        messages = list(self._ready)
        self._ready.clear()
        return messages

    async def _fetch(self) -> list[bytes]:
        if self._try_first:
            await checkpoint_if_cancelled()
            if messages := self._native.receive():
                await cancel_shielded_checkpoint()
                return messages
        while True:
            await self._wait_receive()
            if messages := self._native.receive():
                return messages


class PumpedLink(DirectLink):
    """One task waits on the descriptor and wakes the receiver: one hop more."""

    _parked: trio.lowlevel.Task | None = None
    _full: trio.lowlevel.Task | None = None
    _failed: ConnectionError | None = None

    async def pump(self) -> None:
        """Read until the connection ends; pause while the receiver has enough."""
        while self._failed is None:
            try:
                self._ready.extend(await super()._fetch())
            except ConnectionError as error:
                self._failed = error
            if self._parked is not None:
                trio.lowlevel.reschedule(self._parked)
                self._parked = None
            while len(self._ready) >= INBOX_MESSAGES:
                self._full = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._parked = self._full = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def receive(self) -> bytes:
        """Return the next message."""
        await self._park()
        return self._ready.popleft()

    async def receive_many(self) -> list[bytes]:
        """Return every message that is here; wait for one."""
        await self._park()
        messages = list(self._ready)
        self._ready.clear()
        self._resume()
        return messages

    async def _park(self) -> None:
        await checkpoint_if_cancelled()
        if self._ready:
            await cancel_shielded_checkpoint()
        else:
            self._resume()
            self._parked = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
            if self._failed is not None and not self._ready:
                raise self._failed

    def _resume(self) -> None:
        if self._full is not None:
            trio.lowlevel.reschedule(self._full)
            self._full = None


class CoalescingLink(DirectLink, trio.abc.Instrument):
    """The first single send after a pause is written at once; those that follow share a write.

    That write happens when a TLS record is full, or when the loop has nothing left to run and would sleep.
    """

    def __init__(
        self,
        native: Native,
        wait_receive: Callable[[], Awaitable[None]],
        wait_send: Callable[[], Awaitable[None]],
        *,
        try_first: bool = True,
    ) -> None:
        super().__init__(native, wait_receive, wait_send, try_first=try_first)
        self._queue: list[bytes] = []
        self._queued = 0
        self._flowing = False

    async def send(self, message: bytes) -> None:
        """Hand over one message."""
        await checkpoint_if_cancelled()
        self._queue.append(message)
        self._queued += len(message)
        if self._flowing and self._queued < COALESCED:
            await cancel_shielded_checkpoint()
            return
        self._flowing = True
        await self._write()

    async def send_many(self, messages: list[bytes]) -> None:
        """Hand over a batch; wait until all of it is written or queued."""
        self._queue += messages
        await self._write()

    async def _write(self) -> None:
        queue, self._queue, self._queued = self._queue, [], 0
        await super().send_many(queue)

    def before_io_wait(self, timeout: float) -> None:
        """Write what is queued before the loop sleeps; the socket has room whenever a burst is this small."""
        if timeout > 0:
            self._flowing = False
            if self._queue:
                taken, wait = self._native.send(self._queue, 0)
                if wait or taken < len(self._queue):
                    raise RuntimeError(
                        "the prototype has no writer for a socket that fills at the end of a burst"
                    )
                self._queue, self._queued = [], 0


@asynccontextmanager
async def open_in_loop(
    side: Side,
    *,
    adaptive: bool = False,
    try_first: bool = True,
    kind: type[DirectLink] = DirectLink,
) -> AsyncIterator[Link]:
    """Connect, do the handshake and yield a link of the in-loop shape."""
    certificate, key = _credentials(side)
    with await raw_tcp.connect(side) as connection:
        connection.setblocking(False)
        native = _NATIVE.InLoop(
            connection.fileno(), certificate, key, adaptive=adaptive, read_size=256 * 1024
        )
        native.send([], 0)
        while native.handshaking:
            await wait_readable(connection)
            native.receive()
            native.send([], 0)

        async def readable() -> None:
            await wait_readable(connection)

        async def writable() -> None:
            await wait_writable(connection)

        link = kind(native, readable, writable, try_first=try_first)
        if isinstance(link, CoalescingLink):
            trio.lowlevel.add_instrument(link)
        async with _pumping(link):
            yield link


@asynccontextmanager
async def open_io_thread(side: Side, *, kind: type[DirectLink] = DirectLink) -> AsyncIterator[Link]:
    """Connect, hand the socket to a native thread and yield a link of the I/O-thread shape."""
    certificate, key = _credentials(side)
    with await raw_tcp.connect(side) as connection:
        connection.setblocking(False)
        native = _NATIVE.IoThread(connection.fileno(), certificate, key)

        room = trio.lowlevel.ParkingLot()

        async def woken() -> None:
            await wait_readable(native.fileno())
            room.unpark_all()

        # Only one task may wait on a descriptor: beside a pump, a sender is woken by it.
        link = kind(native, woken, room.park if kind is PumpedLink else woken)
        try:
            async with _pumping(link):
                yield link
        finally:
            native.close()


@asynccontextmanager
async def _pumping(link: DirectLink) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        if isinstance(link, PumpedLink):
            nursery.start_soon(link.pump)
        yield
        nursery.cancel_scope.cancel()


def _credentials(side: Side) -> tuple[bytes, bytes | None]:
    certificate = (side.credentials / "certificate.der").read_bytes()
    key = (side.credentials / "key.der").read_bytes() if side.role == "server" else None
    return certificate, key


@dataclass(frozen=True)
class Shape:
    """A peer of the harness."""

    open_link: Callable[[Side], AbstractAsyncContextManager[Link]]
    LOOP: Literal["blocking", "trio"] = "trio"
    ENCRYPTED: bool = True


in_loop = Shape(open_in_loop)
in_loop_wait_first = Shape(partial(open_in_loop, try_first=False))
in_loop_pump = Shape(partial(open_in_loop, kind=PumpedLink))
in_loop_adaptive = Shape(partial(open_in_loop, adaptive=True))
in_loop_coalesce = Shape(partial(open_in_loop, adaptive=True, kind=CoalescingLink))
io_thread = Shape(open_io_thread)
io_thread_pump = Shape(partial(open_io_thread, kind=PumpedLink))
