"""Kills 1 000 sessions, and tells what they left: `python -m tests.chaos.leaks`. A process of its own, because an
allocator's leftovers of other tests would be measured, too."""

from __future__ import annotations

import gc
import json
from contextlib import suppress

import trio

from tests.chaos.lanes import OPEN, proxy_process
from tests.rtt.arrange import ALICE, BOB, LOOPBACK, anybody, next_session, until
from tests.rtt.processes import descriptors, memory
from web4 import rtt

BATCH = 20


async def main() -> None:
    here = rtt.Options(reconnect_base=60.0, reconnect_cap=60.0)
    there = rtt.Options(**{**OPEN, "resume_window": 30.0})
    async with (
        rtt.open_endpoint(ALICE, options=here) as alice,
        rtt.open_endpoint(BOB, options=there) as bob,
    ):
        direct = (await bob.listen(LOOPBACK, admit=anybody)).addresses[0]
        async with proxy_process(direct) as (proxy, url):

            async def pair() -> tuple[rtt.RttSession, rtt.RttSession]:
                session = await alice._dial(url, BOB.fingerprint)
                accepted = await next_session(bob)
                channel = await session.open_channel("knowledge")
                await channel.send(b"x" * 20_000)
                await (await accepted.accept_channel()).receive()
                await channel.send_many([b"y" * 5000] * 10)
                return session, accepted

            async def wait(session: rtt.RttSession) -> None:
                with suppress(rtt.RttError):
                    await session.control.receive()

            async def kill(batch: list[tuple[rtt.RttSession, rtt.RttSession]]) -> None:
                async with trio.open_nursery() as nursery:
                    for number, (session, accepted) in enumerate(batch):
                        nursery.start_soon(wait, session)
                        nursery.start_soon(wait, accepted)
                        if number % 2:
                            session.abort("killed")
                            accepted.abort("killed")
                    # The first attempt comes at once, or almost: nobody answers it.
                    await proxy.ask("plan", plans=[{"up": {"what": "rst", "at": 0}}] * len(batch))
                    await proxy.ask("cut")
                    await until(lambda: all(s.state != "open" and a.state != "open" for s, a in batch))
                    for number, (session, accepted) in enumerate(batch):
                        assert (number % 2 == 0) == (accepted.state == "suspended")
                        session.abort("killed while suspended")
                        accepted.lose("evicted")
                await proxy.ask("plan", plans=[])

            async def rounds(count: int) -> int:
                """Kill so many batches, and let everything come to rest; the memory that is held then."""
                for _ in range(count):
                    await kill([await pair() for _ in range(BATCH)])
                    # A session is a ring of objects: when its memory is let go must not depend on chance.
                    gc.collect()
                await until(lambda: alice.session_count == bob.session_count == 0)
                await until(lambda: held() == idle)
                gc.collect()
                assert not any(isinstance(thing, rtt.RttSession) for thing in gc.get_objects())
                return memory()

            idle = held()
            warm = await rounds(400 // BATCH)
            first = await rounds(300 // BATCH)
            second = await rounds(300 // BATCH)
            # A leak grows each time; what an allocator happens to keep does not.
            print(json.dumps({"warm": warm, "grown": min(first - warm, second - first)}))


def held() -> tuple[int, int]:
    return trio.lowlevel.current_statistics().tasks_living, descriptors()


if __name__ == "__main__":
    trio.run(main)
