"""Memory of one peer and of an endpoint (section 15, RTT-51): full, freed, and nobody else disturbed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.rtt.arrange import ALICE, BOB, CAROL, SAFETY, anybody, next_session, until
from web4 import rtt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

KIB = 1024
NARROW = rtt.Options(memory_per_peer=512 * KIB, heartbeat=600.0)
"""Half a window of `knowledge`."""

Ends = tuple[rtt.RttSession, rtt.RttSession]


@asynccontextmanager
async def dialled(alice: rtt.Endpoint, bob: rtt.Endpoint, address: str) -> AsyncGenerator[Ends]:
    async with alice.dial(address, expect=bob.identity.fingerprint) as here:
        there = await next_session(bob)
        yield here, there
        there.abort("done")
        here.abort("done")


async def fill(channel: rtt.Channel) -> int:
    """Send until nothing goes any more; the number of messages."""
    sent, before = 0, -1
    while sent != before:  # until nothing went in a while: on a busy machine a while is not enough for all
        before = sent
        with trio.move_on_after(0.2):
            while True:
                await channel.send(bytes(32 * KIB))
                sent += 1
    return sent


async def test_rtt_memory_per_peer(url: str) -> None:
    """A greedy peer gets no channel more, in any of its sessions, and no credit; an honest one beside it notices
    nothing. When somebody reads, everything goes on."""
    async with (
        rtt.open_endpoint(BOB, options=NARROW) as bob,
        rtt.open_endpoint(ALICE) as alice,
        rtt.open_endpoint(CAROL) as carol,
    ):
        address = (await bob.listen(url, admit=anybody)).addresses[0]
        async with (
            dialled(alice, bob, address) as (here, there),
            dialled(alice, bob, address) as (again, _),
            dialled(carol, bob, address) as (honest, beside),
        ):
            greedy = await here.open_channel("knowledge", name="greedy")
            unread = await there.accept_channel()
            sent = await fill(greedy)
            assert sent == 64, "one window there and one queue here"
            for session in (here, again):
                refused = await session.open_channel("knowledge", name="one more")
                with trio.fail_after(SAFETY), pytest.raises(rtt.ChannelResetError) as caught:
                    await refused.receive()
                assert caught.value.reset_code == "limit"
            # Half a window is read, and nothing is granted for it: the next message stays here.
            for _ in range(16):
                assert len(await unread.receive()) == 32 * KIB
            with pytest.raises(rtt.BackpressureError):
                greedy.send_nowait(b"x")
            assert bob.metrics().total.limits["memory_per_peer"] == 3

            channel = await honest.open_channel("knowledge", name="honest")
            other = await beside.accept_channel()
            with trio.fail_after(SAFETY):
                for _ in range(20):
                    await channel.send(bytes(256 * KIB))
                    assert len(await other.receive()) == 256 * KIB
            assert bob.metrics().peers[CAROL.fingerprint].limits == {}

            with trio.fail_after(SAFETY):
                for _ in range(sent - 16):
                    assert len(await unread.receive()) == 32 * KIB
                await greedy.send(bytes(1024 * KIB))
                assert len(await unread.receive()) == 1024 * KIB
                later = await again.open_channel("knowledge", name="later")
                await later.send(b"welcome again")
                await later.flush()


async def test_rtt_memory_wakes_the_other_session(url: str) -> None:
    """Who is blocked because of what another session of the same peer holds goes on when that is gone (RTT-41)."""
    async with rtt.open_endpoint(BOB, options=NARROW) as bob, rtt.open_endpoint(ALICE) as alice:
        address = (await bob.listen(url, admit=anybody)).addresses[0]
        async with (
            dialled(alice, bob, address) as (here, there),
            dialled(alice, bob, address) as (again, second),
        ):
            full = await there.open_channel("knowledge", name="full")
            reader = await here.accept_channel()
            sent = await fill(full)
            assert 32 < sent < 64, "less than a queue of its own: the peer's memory is full"
            blocked = await second.open_channel("knowledge", name="blocked")
            answered = await again.accept_channel()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(blocked.send, bytes(32 * KIB))
                await until(lambda: blocked.stats()["waiting"] == 1)
                with pytest.raises(rtt.BackpressureError):
                    blocked.send_nowait(bytes(32 * KIB))
                await second.control.send(b"control passes")
                assert await again.control.receive() == b"control passes"
                with trio.fail_after(SAFETY):
                    for _ in range(sent):
                        await reader.receive()
                    assert await answered.receive() == bytes(32 * KIB)
            await blocked.send(b"and goes on")
            assert await answered.receive() == b"and goes on"


async def test_rtt_memory_of_the_endpoint(url: str) -> None:
    """A full endpoint grants no session: `busy`, to be tried again (RTT-36); what is open goes on."""
    options = rtt.Options(memory_per_peer=512 * KIB, memory=512 * KIB, heartbeat=600.0)
    async with (
        rtt.open_endpoint(BOB, options=options) as bob,
        rtt.open_endpoint(ALICE) as alice,
        rtt.open_endpoint(CAROL) as carol,
    ):
        address = (await bob.listen(url, admit=anybody)).addresses[0]
        async with dialled(alice, bob, address) as (here, there):
            channel = await here.open_channel("knowledge", name="much")
            unread = await there.accept_channel()
            sent = await fill(channel)
            with pytest.raises(rtt.HandshakeError) as caught:
                async with carol.dial(address, expect=BOB.fingerprint):
                    raise AssertionError("nobody is let in")
            assert caught.value.code == "busy"
            assert bob.hits["memory"] == 1
            await here.control.send(b"passes")
            assert await there.control.receive() == b"passes"
            with trio.fail_after(SAFETY):
                for _ in range(sent):
                    await unread.receive()
            async with dialled(carol, bob, address) as (session, _):
                assert session.state == "open"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"memory_per_peer": 64 * KIB - 1}, "memory_per_peer"),
        ({"memory_per_peer": 64 * KIB, "memory": 64 * KIB - 1}, "memory"),
    ],
)
async def test_memory_options_are_checked(options: dict[str, int], field: str) -> None:
    """RTT-51: found when the endpoint opens."""
    with pytest.raises(rtt.LimitError) as caught:
        async with rtt.open_endpoint(ALICE, options=rtt.Options(**options)):  # type: ignore[arg-type]
            raise AssertionError("it cannot work")
    assert caught.value.code == "bad_option"
    assert caught.value.field == field
