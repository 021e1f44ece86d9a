"""Two processes, and a proxy that cuts what joins them (RTT-23, RTT-30, RTT-49)."""

from __future__ import annotations

import random
import secrets

import pytest
import trio

from tests.chaos.lanes import chaos, lanes, run_all

LIMIT = 60.0
"""Seconds after which a test that hangs fails. Nothing is measured by it."""


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_rtt_kill_and_resume(how: str) -> None:
    """RTT-23: cuts at random points in 10 000 messages on three channels: nothing lost, twice or reordered, there
    and back. The seed is in the output of a failure."""
    seed = secrets.randbits(32)
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
