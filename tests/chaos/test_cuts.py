"""A recorded exchange, cut at every byte of it, the openings and the end included (RTT-23, RTT-37, RTT-49).

The sample that runs by itself takes one byte of many, others each time, and prints which. `make cuts` takes all.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.chaos.lanes import Chaos, Lane, chaos
from tests.seeds import a_seed
from web4 import rtt

if TYPE_CHECKING:
    from collections.abc import Iterator

STRIDE = int(os.environ.get("WEB4_CUTS_STRIDE", "250"))
SIZES = (0, 300, 5000)
"""Of the messages: none, one frame, several frames."""


async def exchange(net: Chaos, first: list[dict[str, Any]]) -> int:
    """Dial, send, receive, close; how often the session resumed. The next connections suffer what `first` says."""
    await net.proxy.ask("plan", plans=first)
    async with net.session() as session:
        channel = await session.open_channel("knowledge")
        for size in SIZES:
            await channel.send(bytes([size % 251]) * size)
        for size in SIZES:
            assert await channel.receive() == bytes([size % 251]) * size
        await channel.flush()
    return session.reconnects


@dataclass
class Lengths:
    """Bytes of a connection, each way: until the session is open, and altogether."""

    opening: dict[str, int]
    whole: dict[str, int]

    def places(self, direction: str, offset: int) -> Iterator[int]:
        return iter(range(offset % STRIDE, self.whole[direction] + 1, STRIDE))


async def measure(net: Chaos) -> Lengths:
    before = await net.proxy.ask("look")
    session = await net.alice._dial(net.url, net.expect)
    told: list[str] = []
    while "session_open" not in told:
        told = [name for name, _ in (await net.bob.ask("events"))["events"]]
    opened = await net.proxy.ask("look")
    session.abort("measured")
    after = await net.proxy.ask("look")
    await exchange(net, [])
    closed = await net.proxy.ask("look")
    return Lengths(
        {way: opened[way] - before[way] for way in ("up", "down")},
        {way: closed[way] - after[way] for way in ("up", "down")},
    )


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_cut_at_every_byte(direction: str, how: str) -> None:
    """RTT-23: a cut before the session is open fails the dial, or loses a session that the peer never had and says
    so exactly (RTT-25, RTT-37); any later one is not noticed."""
    offset = a_seed() % STRIDE
    with trio.fail_after(60 + 3000 / STRIDE * 40):
        async with chaos(there={"frame_payload": 4096}) as net:
            lengths = await measure(net)
            print(f"offset {offset}, {lengths}")
            resumed = failed = 0
            for at in lengths.places(direction, offset):
                plan = [{direction: {"what": how, "at": at}}]
                try:
                    resumed += await exchange(net, plan) > 0
                    continue
                except rtt.RttError as raised:
                    error = raised
                failed += 1
                assert at <= lengths.opening[direction], (at, error)
                if isinstance(error, rtt.SessionLost):
                    # Cut between the last byte of the answer and the last of CONFIRM.
                    assert error.reason == "unknown_session", (at, error)
                    assert [entry.size for entry in error.messages] == list(SIZES), (at, error)
                else:
                    assert isinstance(error, rtt.HandshakeError | rtt.TransportUnavailableError), (at, error)
                    assert not isinstance(error, rtt.AuthenticationError), (at, error)
                await exchange(net, [])
            assert failed or offset > lengths.opening[direction]
            assert resumed
            assert net.violations() == []


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_cut_at_every_byte_of_a_resume(direction: str, how: str) -> None:
    """RTT-32, RTT-49: a session that was open resumes whatever byte of whatever resume is the last."""
    offset = a_seed() % STRIDE
    print(f"offset {offset}")
    with trio.fail_after(60 + 3000 / STRIDE * 40):
        async with chaos() as net, net.session() as session:
            lane = Lane(await session.open_channel("knowledge"), random.Random(offset), most=300)
            await lane.run(1)
            before = await net.proxy.ask("look")
            await net.proxy.ask("cut", how=how)
            await lane.run(5)
            after = await net.proxy.ask("look")
            for at in range(offset, after[direction] - before[direction] + 1, STRIDE):
                await net.proxy.ask("plan", plans=[{direction: {"what": how, "at": at}}])
                await net.proxy.ask("cut", how=how)
                await lane.run(5)
            assert session.reconnects > 5
            assert net.violations() == []


async def test_cuts_in_a_row() -> None:
    """RTT-32: ticket after ticket is offered, and each resume is cut somewhere else before one succeeds."""
    seed = a_seed()
    print(f"seed {seed}")
    choose = random.Random(seed)
    with trio.fail_after(60):
        async with chaos() as net, net.session() as session:
            lane = Lane(await session.open_channel("knowledge"), choose, most=300)
            await lane.run(1)
            for _ in range(max(10, 1000 // STRIDE)):
                plans = [
                    {
                        choose.choice(["up", "down"]): {
                            "what": choose.choice(["rst", "fin"]),
                            "at": choose.randrange(2500),
                        }
                    }
                    for _ in range(6)
                ]
                await net.proxy.ask("plan", plans=plans)
                await net.proxy.ask("cut")
                await lane.run(5)
            assert session.state == "open"
            assert net.violations() == []
