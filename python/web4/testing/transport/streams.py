"""What a transport's streams must do, before any session is on them."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import trio
import trio.testing

from web4 import rtt
from web4.testing.transport.arena import require

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from web4.testing.transport.arena import Arena

    Pair = tuple[trio.abc.Stream, trio.abc.Stream]

BULK = 2 * 1024 * 1024
CLOG = 64 * 1024 * 1024
"""Bytes that no honest stream takes without a reader."""


@asynccontextmanager
async def listening(arena: Arena) -> AsyncGenerator[tuple[rtt.Transport, rtt.Acceptor]]:
    """The transport, listening."""
    transport = arena.factory()
    acceptor = await transport.listen(rtt.Address.parse(arena.at))
    try:
        yield transport, acceptor
    finally:
        await trio.aclose_forcefully(acceptor)  # type: ignore[arg-type] # has the one method that this needs


async def connected(transport: rtt.Transport, acceptor: rtt.Acceptor) -> Pair:
    """Both ends of one stream."""
    ends: dict[str, trio.abc.Stream] = {}

    async def accept() -> None:
        ends["there"] = await acceptor.listeners[0].accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        ends["here"] = await transport.connect(rtt.Address.parse(acceptor.addresses[0]))
    require(acceptor.peer_address(ends["there"]), "peer_address names nobody")
    return ends["here"], ends["there"]


async def declares_itself(arena: Arena) -> None:
    """The capabilities are of the right types, and its addresses are its own."""
    transport = arena.factory()
    async with arena.case("capabilities"):
        require(
            transport.scheme == rtt.Address.parse(arena.at).scheme, "its scheme is not that of the address"
        )
        require(isinstance(transport.local_only, bool), "local_only is a bool")
        require(isinstance(transport.survives_address_change, bool), "survives_address_change is a bool")
        most = transport.max_write
        require(most is None or most > 0, "max_write is None or a number from 1")
    async with arena.case("addresses"), listening(arena) as (_, acceptor):
        require(acceptor.addresses, "it listens at no address")
        for address in acceptor.addresses:
            require(rtt.Address.parse(address).scheme == transport.scheme, f"{address} is of another scheme")
        with suppress(rtt.TransportUnavailableError):
            again = await transport.listen(rtt.Address.parse(acceptor.addresses[0]))
            await again.aclose()
            require(condition=False, what=f"two can listen at {acceptor.addresses[0]}")
    async with arena.case("nobody listens any more"):
        try:
            stream = await transport.connect(rtt.Address.parse(acceptor.addresses[0]))
        except rtt.TransportUnavailableError as error:
            require(error.code == "unreachable", f"the code is {error.code}, not unreachable")
        else:
            await trio.aclose_forcefully(stream)
            require(condition=False, what="a place that was closed still answers")


async def behaves_as_a_stream(arena: Arena) -> None:
    """The contract of `trio.abc.Stream`, as Trio's own suite checks it."""
    async with listening(arena) as (transport, acceptor):

        async def make() -> Pair:
            return await connected(transport, acceptor)

        async def clogged() -> Pair:
            pair = await make()
            async with trio.open_nursery() as nursery:
                for end in pair:
                    nursery.start_soon(end.send_all, bytes(CLOG))
                await trio.testing.wait_all_tasks_blocked(0.02)
                nursery.cancel_scope.cancel()
            return pair

        async with arena.case("trio's suite"):
            ours, theirs = await make()
            whole = isinstance(ours, trio.abc.HalfCloseableStream)
            await trio.aclose_forcefully(ours)
            await trio.aclose_forcefully(theirs)
            check: Callable[..., Awaitable[None]] = (
                trio.testing.check_half_closeable_stream if whole else trio.testing.check_two_way_stream
            )
            await check(make, clogged)


async def carries_every_byte(arena: Arena) -> None:
    """Much data, both ways at once, in pieces of all sizes: every byte once, in order; then the end, and only then."""
    async with arena.case("bulk"), listening(arena) as (transport, acceptor):
        ours, theirs = await connected(transport, acceptor)
        sent = {end: arena.random.randbytes(BULK) for end in (ours, theirs)}

        async def write(end: trio.abc.Stream) -> None:
            left = memoryview(sent[end])
            while left:
                size = arena.random.choice((1, 7, 1000, 65536, 300_000))
                await end.send_all(left[:size])
                left = left[size:]
            if isinstance(end, trio.abc.HalfCloseableStream):
                await end.send_eof()

        async def read(end: trio.abc.Stream, expected: bytes) -> None:
            got = bytearray()
            while len(got) < len(expected):
                part = await end.receive_some(arena.random.choice((1000, 65536, None)))
                require(part, f"the stream ended after {len(got)} of {len(expected)} bytes")
                require(
                    expected[len(got) : len(got) + len(part)] == part, f"byte {len(got)} or later is wrong"
                )
                got += part
            if isinstance(end, trio.abc.HalfCloseableStream):
                require(await end.receive_some() == b"", "there are more bytes than were sent")

        async with trio.open_nursery() as nursery:
            for end in (ours, theirs):
                nursery.start_soon(write, end)
            nursery.start_soon(read, theirs, sent[ours])
            nursery.start_soon(read, ours, sent[theirs])
        for end in (ours, theirs):
            await trio.aclose_forcefully(end)


async def holds_back_a_sender(arena: Arena) -> None:
    """A sender waits while nobody reads, and nothing is lost by waiting; closing either end wakes it."""
    for who in ("reader", "sender"):
        async with arena.case(f"the {who} goes"), listening(arena) as (transport, acceptor):
            ours, theirs = await connected(transport, acceptor)
            outcome: list[str] = []

            async def flood(end: trio.abc.Stream = ours, outcome: list[str] = outcome) -> None:
                try:
                    await end.send_all(bytes(CLOG))
                    outcome.append("took it all")
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    outcome.append(type(error).__name__)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood)
                await trio.testing.wait_all_tasks_blocked(0.02)
                require(not outcome, f"it {outcome} of {CLOG} bytes that nobody read")
                await trio.aclose_forcefully(theirs if who == "reader" else ours)
            await trio.aclose_forcefully(theirs)
            await trio.aclose_forcefully(ours)
            expected = "BrokenResourceError" if who == "reader" else "ClosedResourceError"
            require(outcome == [expected], f"the waiting sender got {outcome}, not {expected}")


STREAMS = {
    "declares itself": declares_itself,
    "behaves as a stream": behaves_as_a_stream,
    "carries every byte": carries_every_byte,
    "holds back a sender": holds_back_a_sender,
}
