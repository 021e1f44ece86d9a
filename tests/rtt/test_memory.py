"""`memory://`, its weather, and streams without a descriptor (RTT-66, RTT-67)."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.rtt.arrange import ALICE, BOB, SAFETY, Events, Pair, anybody, next_session, until
from tests.rtt.processes import descriptors
from web4 import rtt
from web4.rtt.stream_pump import StreamPump
from web4.rtt.transports.faults import FaultyStream
from web4.rtt.transports.memory import MEMORY_BACKLOG
from web4.rtt.transports.pipe import pipe_pair

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

PLACE = rtt.Address.parse("memory://bob")


def registry_of(network: rtt.MemoryNetwork) -> rtt.Registry:
    registry = rtt.Registry()
    registry.register("memory", lambda: rtt.MemoryTransport(network))
    return registry


@asynccontextmanager
async def in_memory(network: rtt.MemoryNetwork, options: rtt.Options | None = None) -> AsyncGenerator[Pair]:
    """Alice dials Bob on a network of the test's own."""
    transports = registry_of(network)
    alice_events, bob_events = Events(), Events()
    async with (
        rtt.open_endpoint(ALICE, options=options, transports=transports, emit=alice_events) as alice,
        rtt.open_endpoint(BOB, options=options, transports=transports, emit=bob_events) as bob,
    ):
        await bob.listen(str(PLACE), admit=anybody)
        async with alice.dial(str(PLACE), expect=BOB.fingerprint) as here:
            there = await next_session(bob)
            try:
                yield Pair(here, there, alice, bob, alice_events, bob_events)
            finally:
                here.abort("the test is over")
                there.abort("the test is over")


async def test_endpoints_that_are_given_no_registry_find_each_other() -> None:
    """RTT-67: `memory://` works without any set-up; a registry of one's own is a network of one's own."""
    async with (
        rtt.open_endpoint(ALICE) as alice,
        rtt.open_endpoint(BOB) as bob,
        rtt.open_endpoint(ALICE, transports=rtt.default_registry()) as elsewhere,
    ):
        listener = await bob.listen("memory://bob", admit=anybody)
        assert listener.addresses == ("memory://bob",)
        async with alice.dial("memory://Bob", expect=BOB.fingerprint) as session:
            assert isinstance(session.pump, StreamPump)
            await session.control.send(b"hello")
            assert await (await next_session(bob)).control.receive() == b"hello"
            session.abort("done")
        with pytest.raises(rtt.TransportUnavailableError) as caught:
            async with elsewhere.dial("memory://bob", expect=BOB.fingerprint):
                pytest.fail("it opened")
        assert caught.value.code == "unreachable"


async def test_names_belong_to_one_trio_run() -> None:
    """RTT-67: what listens in one run is not seen by another one, in another thread."""
    network = rtt.MemoryNetwork()
    seen: list[object] = []

    async def elsewhere() -> None:
        seen.append(network.names())
        place = await rtt.MemoryTransport(network).listen(PLACE)
        seen.append(network.names())
        await place.aclose()

    place = await rtt.MemoryTransport(network).listen(PLACE)
    await trio.to_thread.run_sync(trio.run, elsewhere)
    assert seen == [[], ["bob"]]
    assert network.names() == ["bob"]
    await place.aclose()
    assert network.names() == []


@pytest.mark.parametrize("url", ["memory://", "memory://a:1", "memory://a/b", "memory:a"])
async def test_what_is_no_name(url: str) -> None:
    async with rtt.open_endpoint(BOB) as bob:
        with pytest.raises(rtt.TransportUnavailableError) as caught:
            await bob.listen(url, admit=anybody)
        assert caught.value.code == "bad_address"


async def test_delay_is_on_trios_clock(autojump_clock: trio.testing.MockClock) -> None:
    """RTT-67: every byte is under way for as long as the network says, and a mocked clock waits for none of it."""
    network = rtt.MemoryNetwork(delay=100.0)
    patient = rtt.Options(handshake_timeout=5000.0, heartbeat=5000.0)
    async with in_memory(network, patient) as pair:
        before = trio.current_time()
        await pair.here.control.send(b"far")
        assert await pair.there.control.receive() == b"far"
        assert trio.current_time() - before == pytest.approx(100.0, abs=0.1)
        # What was sent before is not overtaken.
        network.delay = 50.0
        await pair.here.control.send(b"first")
        await trio.testing.wait_all_tasks_blocked()
        network.delay = 0.0
        await pair.here.control.send(b"second")
        assert [await pair.there.control.receive() for _ in range(2)] == [b"first", b"second"]
        assert trio.current_time() - before == pytest.approx(150.0, abs=0.2)


async def test_nothing_of_it_is_a_descriptor() -> None:
    before = descriptors()
    async with in_memory(rtt.MemoryNetwork()):
        assert descriptors() == before


async def test_a_cut_network_heals() -> None:
    """RTT-23, RTT-67: `cut` ends every stream without a word, and sessions go on upon new ones."""
    network = rtt.MemoryNetwork()
    async with in_memory(network, rtt.Options(reconnect_base=0.001)) as pair:
        for number in range(5):
            assert network.cut() == 1
            await pair.here.control.send(b"%d" % number)
            with trio.fail_after(SAFETY):
                assert await pair.there.control.receive() == b"%d" % number
        assert pair.here.reconnects == pair.there.reconnects == 5
    assert network.cut() == 0


async def test_a_silent_network_is_noticed(autojump_clock: trio.testing.MockClock) -> None:
    """RTT-44: three intervals of silence, in virtual time."""
    network = rtt.MemoryNetwork()
    network.dialed = iter([rtt.Faults(receiving=rtt.Break(3000, "stall"))])
    async with in_memory(network) as pair:
        channel = await pair.there.open_channel("knowledge")
        await channel.send(bytes(10_000))
        before = trio.current_time()
        await pair.alice_events.wait("heartbeat_timeout")
        assert 14.0 < trio.current_time() - before < 16.0
        received = await pair.here.accept_channel()
        assert len(await received.receive()) == 10_000
        assert pair.here.reconnects == 1


async def test_a_sender_waits_for_room_in_the_pipe() -> None:
    """RTT-67: what is under way is bounded, to the byte."""
    ours, theirs = pipe_pair(1000, lambda: 0.0, set())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, bytes(2500))
        await trio.testing.wait_all_tasks_blocked()
        got = [len(await theirs.receive_some()) for _ in range(3)]
    assert got == [1000, 1000, 500]


async def test_a_full_backlog_makes_whoever_dials_wait() -> None:
    network = rtt.MemoryNetwork()
    transport = rtt.MemoryTransport(network)
    place = await transport.listen(PLACE)
    waiting = [await transport.connect(PLACE) for _ in range(MEMORY_BACKLOG)]
    with trio.move_on_after(0.01) as scope:
        await transport.connect(PLACE)
    assert scope.cancelled_caught
    outcomes: list[str] = []

    async def dial() -> None:
        try:
            await transport.connect(PLACE)
        except rtt.TransportUnavailableError as error:
            outcomes.append(error.code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dial)
        await trio.testing.wait_all_tasks_blocked()
        await place.aclose()
    assert outcomes == ["unreachable"]
    # Who waited to be accepted learns that nobody will.
    assert [await stream.receive_some() for stream in waiting] == [b""] * MEMORY_BACKLOG


@pytest.mark.parametrize("direction", ["sending", "receiving"])
async def test_a_break_comes_at_its_byte(direction: str) -> None:
    """RTT-67: exactly as many bytes pass as were allowed; the other end sees the stream end."""
    for after in (0, 1, 9, 10):
        ours, theirs = pipe_pair(1000, lambda: 0.0, set())
        broken = rtt.Break(after)
        faults = rtt.Faults(sending=broken) if direction == "sending" else rtt.Faults(receiving=broken)
        faulty = FaultyStream(ours, faults)
        if direction == "sending":
            with pytest.raises(trio.BrokenResourceError):
                await faulty.send_all(bytes(10))
            assert len(await theirs.receive_some()) == after if after else True
        else:
            await theirs.send_all(bytes(10))
            if after:
                assert len(await faulty.receive_some()) == after
            with pytest.raises(trio.BrokenResourceError):
                await faulty.receive_some()
        assert await theirs.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await faulty.send_all(b"x")


def test_faults_that_make_no_sense() -> None:
    for chunks in ((0, 1), (2, 1)):
        with pytest.raises(ValueError, match="chunks"):
            rtt.Faults(chunks=chunks)
    with pytest.raises(ValueError, match="0 bytes or more"):
        rtt.Faults(sending=rtt.Break(-1))


async def test_a_stalled_stream_keeps_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """RTT-61: an endpoint that is left while its peer reads nothing waits a second for its last words, not longer."""
    network = rtt.MemoryNetwork()
    network.dialed = iter([rtt.Faults(sending=rtt.Break(4000, "stall"))])
    async with in_memory(network) as pair:
        channel = await pair.here.open_channel("knowledge")
        await channel.send(bytes(100_000))
        await until(lambda: pair.here.pump.draining)
        before = trio.current_time()
    assert trio.current_time() - before <= 1.1


async def test_the_last_words_arrive() -> None:
    """RTT-61: leaving by an exception says CLOSE, on a stream that Python drives, too."""
    network = rtt.MemoryNetwork()
    async with in_memory(network) as pair:
        with trio.CancelScope() as scope:
            async with pair.here:
                scope.cancel()
                await trio.lowlevel.checkpoint()
        with pytest.raises(rtt.SessionClosedError) as caught:
            await pair.there.control.receive()
        assert caught.value.reason == "peer"


class Narrow(rtt.MemoryTransport):
    """Takes at most 100 bytes at once, and sees that it gets no more."""

    max_write = 100

    def __init__(self, network: rtt.MemoryNetwork) -> None:
        super().__init__(network)
        self.sizes: set[int] = set()

    async def connect(self, address: rtt.Address, given_up: rtt.GivenUp | None = None) -> trio.abc.Stream:
        return Measured(await super().connect(address, given_up), self.sizes)


class Measured(trio.abc.Stream):
    def __init__(self, inner: trio.abc.Stream, sizes: set[int]) -> None:
        self.inner = inner
        self.sizes = sizes

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sizes.add(len(data))
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_max_write_bounds_what_is_written_at_once() -> None:
    """RTT-66. The Rust tests show the same of sockets."""
    narrow = Narrow(rtt.MemoryNetwork())
    registry = rtt.Registry()
    registry.register("memory", lambda: narrow)
    async with (
        rtt.open_endpoint(ALICE, transports=registry) as alice,
        rtt.open_endpoint(BOB, transports=registry) as bob,
    ):
        await bob.listen("memory://bob", admit=anybody)
        async with alice.dial("memory://bob", expect=BOB.fingerprint) as session:
            there = await next_session(bob)
            channel = await session.open_channel("knowledge")
            await channel.send(bytes(100_000))
            await channel.flush()
            session.abort("these last words are longer than a hundred bytes, and are cut as well" * 3)
            await until(lambda: there.state == "closed")
    assert max(narrow.sizes) == 100


async def test_plans_run_out() -> None:
    """RTT-67: faults are for the next streams, one after another; then the weather is fine."""
    network = rtt.MemoryNetwork()
    network.dialed = itertools.chain([rtt.Faults(chunks=(1, 1)), None], iter(()))
    transport = rtt.MemoryTransport(network)
    await transport.listen(PLACE)
    wrapped = [isinstance(await transport.connect(PLACE), FaultyStream) for _ in range(3)]
    assert wrapped == [True, False, False]
