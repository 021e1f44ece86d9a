"""The Trio face under seeded weather, in virtual time, against a model: a session whose carriers break.

`WEB4_SIM_SEEDS` says how many seeds (default 8), `WEB4_SIM_SEED` names one. A failure names the seed that repeats it.
"""

from __future__ import annotations

import itertools
import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import trio

from tests.rtt.arrange import ALICE, BOB, anybody, next_session
from web4 import rtt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock

MESSAGES = 150
KINDS = ("control", "state", "knowledge")
LONGEST = 3_600.0
"""Virtual seconds: every seed must have delivered everything by then."""

SEEDS = (
    [int(os.environ["WEB4_SIM_SEED"])]
    if "WEB4_SIM_SEED" in os.environ
    else range(int(os.environ.get("WEB4_SIM_SEEDS", "8")))
)


@dataclass
class Model:
    """What one direction of a channel was given, and what came out of it."""

    kind: str
    accepted: list[bytes] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    cancelled: set[bytes] = field(default_factory=set)
    arrival: trio.Event = field(default_factory=trio.Event)
    reading: trio.CancelScope = field(default_factory=trio.CancelScope)

    def check(self) -> None:
        """RTT-23, RTT-62: everything accepted arrived, once and in order, and nothing that was taken back."""
        assert self.received == self.accepted
        assert not self.cancelled.intersection(self.received)


class Weather:
    """The faults of one seed: breaks after random numbers of bytes, pieces, delays."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.over = False

    def faults(self) -> Iterator[rtt.Faults | None]:
        for seed in itertools.count(self.random.randrange(1 << 30)):
            if self.over:
                yield None
            else:
                yield rtt.Faults(
                    chunks=self.random.choice([None, (1, 64), (100, 5_000)]),
                    seed=seed,
                    sending=self._break(),
                    receiving=self._break(),
                )

    def _break(self) -> rtt.Break | None:
        if self.random.random() < 0.4:
            return None
        after = self.random.choice([self.random.randrange(900), self.random.randrange(60_000)])
        return rtt.Break(after, self.random.choice(["cut", "cut", "end", "stall"]))


async def send(channel: rtt.Channel, model: Model, chance: random.Random) -> None:
    for number in range(MESSAGES):
        message = b"%d:" % number + chance.randbytes(chance.choice([0, 10, 1_000, 9_000]))
        with trio.move_on_after(chance.choice([0.0, 0.05, 1_000.0])) as patience:
            await channel.send(message)
        if patience.cancelled_caught:
            model.cancelled.add(message)
        else:
            model.accepted.append(message)
        if chance.random() < 0.05:
            await trio.sleep(chance.random() * 20)


async def receive(channel: rtt.Channel, model: Model, chance: random.Random) -> None:
    with model.reading:
        async for message in channel:
            model.received.append(message)
            model.arrival.set()
            model.arrival = trio.Event()
            if chance.random() < 0.05:
                await trio.sleep(chance.random() * 10)


async def lives(seed: int, clock: MockClock) -> None:
    """One session from its opening to its graceful end."""
    clock.autojump_threshold = 0.0
    weather, network, registry = Weather(seed), rtt.MemoryNetwork(), rtt.Registry()
    network.delay = weather.random.choice([0.0, 0.001, 0.2])
    registry.register("memory", lambda: rtt.MemoryTransport(network))
    options = rtt.Options(
        resume_window=1_000.0,
        state=rtt.ChannelLimits(10_000, 8, 20_000),
        knowledge=rtt.ChannelLimits(10_000, 8, 20_000),
        rekey_bytes=1 << 16,
    )
    async with (
        rtt.open_endpoint(ALICE, options=options, transports=registry) as alice,
        rtt.open_endpoint(BOB, options=options, transports=registry) as bob,
    ):
        await bob.listen("memory://bob", admit=anybody)
        async with alice.dial("memory://bob", expect=BOB.fingerprint) as here:
            there = await next_session(bob)
            network.dialed, network.accepted = weather.faults(), weather.faults()
            network.cut()
            models = []
            async with trio.open_nursery() as nursery:
                for kind in KINDS:
                    ours = await here.open_channel(kind, policy="block")
                    theirs = await there.accept_channel(policy="block")
                    for source, sink in ((ours, theirs), (theirs, ours)):
                        model = Model(kind)
                        models.append(model)
                        chance = random.Random(weather.random.random())
                        nursery.start_soon(receive, sink, model, chance)
                        nursery.start_soon(run_source, source, model, chance)
                nursery.start_soon(clear_up, weather)
            for model in models:
                model.check()
            assert here.reconnects > 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(there.aclose)
        assert (alice.session_count, bob.session_count) == (0, 0)


async def run_source(channel: rtt.Channel, model: Model, chance: random.Random) -> None:
    await send(channel, model, chance)
    await channel.flush()
    while len(model.received) < len(model.accepted):
        await model.arrival.wait()
    # Long enough for anything that should not come.
    await trio.sleep(60)
    model.reading.cancel()


async def clear_up(weather: Weather) -> None:
    await trio.sleep(600)
    weather.over = True


@pytest.mark.parametrize("seed", SEEDS)
async def test_sim_trio_face(seed: int, mock_clock: MockClock) -> None:
    """RTT-2, RTT-23: carriers that break, stall and crawl, senders that lose patience, readers that dawdle: everything
    accepted arrives once and in order. Repeat a failure with `WEB4_SIM_SEED=<seed>`."""
    with trio.fail_after(LONGEST):
        await lives(seed, mock_clock)
