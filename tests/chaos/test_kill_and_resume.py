"""Two processes, and a proxy that cuts what joins them (RTT-23, RTT-30, RTT-49)."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio

from tests.chaos.lanes import chaos, lanes, run_all
from tests.seeds import a_seed

LIMIT = 60.0
"""Seconds after which a test that hangs fails. Nothing is measured by it."""


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_rtt_kill_and_resume(how: str) -> None:
    """RTT-23: cuts at random points in 10 000 messages on three channels: nothing lost, twice or reordered, there
    and back. The seed is in the output of a failure."""
    seed = a_seed()
    print(f"seed {seed}")
    choose = random.Random(seed)
    cuts = sorted(choose.sample(range(10_000), 25))
    sent = 0
    wanted = trio.Event()

    def count() -> None:
        nonlocal sent, wanted
        sent += 1
        if cuts and sent >= cuts[0]:
            del cuts[0]
            wanted.set()

    with trio.fail_after(LIMIT):
        async with chaos(seed=seed) as net, net.session() as session:

            async def cut() -> None:
                nonlocal wanted
                while True:
                    await wanted.wait()
                    wanted = trio.Event()
                    await net.proxy.ask("cut", how=how)

            every = await lanes(session, choose)
            # A session is open for the mirror once CONFIRM arrived (RTT-37): not before, and cuts may begin then.
            await run_all(every, 1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut)
                await run_all(every, 3334, count)
                nursery.cancel_scope.cancel()
            assert session.reconnects >= 5
            assert session.stats()["resent"] > 0


@pytest.mark.parametrize("weather", [{"pieces": [1, 400]}, {"pieces": [200, 3000], "delay": 0.001}])
async def test_cuts_of_a_slow_path(weather: dict[str, Any]) -> None:
    """RTT-23: the bytes come in other pieces than they were written in, and late, when they are cut off."""
    seed = a_seed()
    print(f"seed {seed}")
    choose = random.Random(seed)
    with trio.fail_after(LIMIT):
        async with chaos(seed=seed) as net, net.session() as session:
            every = await lanes(session, choose)
            await run_all(every, 1)
            await net.proxy.ask("weather", **weather)
            for _ in range(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(run_all, every, 60)
                    await every[2].channel.flush()
                    await net.proxy.ask("cut", how=choose.choice(["rst", "fin"]))
            assert session.reconnects >= 5


async def test_what_was_held_back_comes_too_late() -> None:
    """RTT-31, RTT-44, RTT-50: the path holds everything back until both ends have given the carrier up; then it
    delivers it, to nobody. What was under way is sent again, and arrives once."""
    options = {"heartbeat": 0.1, "handshake_timeout": 0.3}
    with trio.fail_after(LIMIT):
        async with chaos(here=options, there=options) as net, net.session() as session:
            every = await lanes(session, random.Random(3))
            await run_all(every, 5)
            for round_ in range(1, 4):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(run_all, every, 100)
                    await net.proxy.ask("hold")
                    await net.events.wait("heartbeat_timeout", round_)
                    await net.proxy.ask("release")
            assert session.reconnects >= 3
            assert net.violations() == []
