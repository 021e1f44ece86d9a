"""One node in a process of its own: `python -m tests.e2e.cip_node SEED LISTEN [DIAL FINGERPRINT]`.

It prints one JSON object per line: where it listens, then every event, then how it holds its peer. It ends
when its standard input does.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

from web4 import rtt
from web4.foundation.identity import Identity
from web4.foundation.ids import SeededIds
from web4.protocols.cip import CipOptions, CipRuntime, Delivery, IntentAnswer, accept


def say(kind: str, /, **fields: Any) -> None:
    print(json.dumps({"kind": kind, **fields}), flush=True)


async def gladly(_delivery: Delivery) -> IntentAnswer:
    return accept()


async def main(seed: str, listen: str, dial: list[str]) -> None:
    identity = Identity.from_seed(seed.encode().ljust(32, b"."))
    options = CipOptions(agent_id=seed)
    async with (
        trio.open_nursery() as nursery,
        rtt.open_endpoint(identity) as endpoint,
        CipRuntime(identity, options=options, emit=say, ids=SeededIds(seed), accept_intent=gladly) as cip,
    ):
        listener = await endpoint.listen(listen, admit=cip.admit)
        say("listening", url=listener.addresses[0], fingerprint=identity.fingerprint)

        async def accept_sessions() -> None:
            async for session in endpoint.sessions():
                nursery.start_soon(serve, session)

        async def serve(session: rtt.RttSession) -> None:
            nursery.start_soon(cip.serve, session)
            agreement = await cip.established(session)
            trust = cip.trust.state(session.peer)
            say(
                "established",
                trust=trust,
                protocols=list(agreement.protocols),
                session=session.session_id.hex(),
            )

        async def work() -> None:
            async for delivery in cip.inbox:
                if delivery.message.type == "INTENT":
                    await cip.reply(delivery, "done", content={"by": seed})
                else:
                    say("answered", payload=delivery.message.payload.status)  # type: ignore[union-attr]

        nursery.start_soon(accept_sessions)
        nursery.start_soon(work)
        if dial:
            async with endpoint.dial(dial[0], expect=dial[1]) as session:
                nursery.start_soon(serve, session)
                await cip.established(session)
                await cip.send_intent(session.peer, goal="ask", topic="time")
                await until_told_to_end()
        else:
            await until_told_to_end()
        nursery.cancel_scope.cancel()


async def until_told_to_end() -> None:
    await trio.lowlevel.wait_readable(sys.stdin.fileno())


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3:])
