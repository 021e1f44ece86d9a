"""Dials a mirror and exchanges messages that check themselves: `python -m tests.chaos.crossing URL COUNT SEED`."""

from __future__ import annotations

import random
import sys

import trio

from tests.chaos.lanes import lanes, run_all
from tests.rtt.arrange import ALICE, BOB
from tests.rtt.peer import tell
from web4 import rtt


async def main(url: str, count: int, seed: int) -> None:
    options = rtt.Options(handshake_timeout=20.0)
    async with (
        rtt.open_endpoint(ALICE, options=options) as alice,
        alice.dial(url, expect=BOB.fingerprint) as session,
    ):
        every = await lanes(session, random.Random(seed))
        await run_all(every, count)
        returned = {lane.channel.kind: lane.returned for lane in every}
        tell("crossed", returned=returned, reconnects=session.reconnects)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
